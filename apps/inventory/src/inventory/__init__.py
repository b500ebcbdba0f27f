"""Inventory API (SPEC 5.4)."""
