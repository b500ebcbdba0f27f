"""Shared library of the bookstore's Python services (SPEC 5.1)."""
