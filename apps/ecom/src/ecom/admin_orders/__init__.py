"""E-21 and E-22: everybody's orders."""
