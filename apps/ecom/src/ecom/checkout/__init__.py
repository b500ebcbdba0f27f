"""E-13: from cart to order."""
