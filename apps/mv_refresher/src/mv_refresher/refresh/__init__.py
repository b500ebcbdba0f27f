"""Keeps the materialized views fresh."""
