"""E-Commerce API (SPEC 5.3)."""
