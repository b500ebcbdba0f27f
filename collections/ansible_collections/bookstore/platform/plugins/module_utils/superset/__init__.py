"""Superset's assets as data, compared with the live ones."""
