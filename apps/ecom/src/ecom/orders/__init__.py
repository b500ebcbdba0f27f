"""E-14 to E-16: a customer's own orders."""
