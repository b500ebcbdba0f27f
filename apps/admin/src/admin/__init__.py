"""Admin API (SPEC 5.5)."""
