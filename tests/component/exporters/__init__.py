"""Exporters beside PostgreSQL and Redis."""
