"""Keeps the analytics views fresh and audits what arrived (SPEC 7.2, 7.3)."""
