"""E-17 to E-20: the catalogue as administrators see and change it."""
