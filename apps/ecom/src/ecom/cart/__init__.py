"""E-07 to E-12: the signed-in customer's cart."""
