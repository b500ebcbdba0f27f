"""What runs left behind that were killed: their books and their users. A later run counts books, and removes these first."""

from __future__ import annotations

from .goods import Sql, remove
from .people import People

# Longer than any test lives.
MINUTES = 10
BOOKS = f"""
    SELECT id FROM books WHERE (genre = 'Live' OR genre LIKE 'E2e%') AND created_at < now() - interval '{MINUTES} minutes'
"""


def sweep(ecom_sql: Sql, inventory_sql: Sql, people: People) -> None:
    """Remove what is older than any running test."""
    for sub in people.leftovers(MINUTES):
        people.adopt(sub)
    remove(ecom_sql, inventory_sql, ecom_sql(BOOKS).split())
