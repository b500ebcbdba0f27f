"""The ten views computed from all rows, as 0002 and 0008 define them: what the views over summaries must equal."""

from typing import Any

from bookstore_common.migrations import Migrations
from mv_refresher.migrate import migrations_folder

_SCRIPT = Migrations(migrations_folder()).script


def _views(revision: str) -> dict[str, str]:
    found = _SCRIPT.get_revision(revision)
    assert found is not None
    return {name: definition for name, _key, definition in found.module.VIEWS}


DEFINITIONS = _views("0002") | _views("0008")
# Their columns with types, type modifiers and collations.
_SHAPE = (
    "SELECT attname, format_type(atttypid, atttypmod), attcollation::regcollation::text FROM pg_attribute"
    " WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum"
)


def take(rows: Any, batch: int = 5000) -> int:
    """Apply all that waits in batches; returns how many it took."""
    batches = 0
    while True:
        batches += 1
        assert batches < 10_000
        if rows.execute("SELECT mv_apply(%s)", (batch,)).fetchone()[0] < batch:
            return batches


def differences(rows: Any) -> dict[str, list[Any]]:
    """View to rows that it has too many (1) or too few (-1); the views must have been refreshed."""
    found = {}
    for name, definition in DEFINITIONS.items():
        differing = rows.execute(
            f"WITH expected AS MATERIALIZED ({definition})"
            f" (SELECT 1, * FROM (SELECT * FROM {name} EXCEPT ALL SELECT * FROM expected) AS more)"
            f" UNION ALL (SELECT -1, * FROM (SELECT * FROM expected EXCEPT ALL SELECT * FROM {name}) AS less)"
        ).fetchall()
        if differing:
            found[name] = differing
    return found


def shapes(owner: Any) -> dict[str, tuple[Any, Any]]:
    """View to its columns and to those of its definition."""
    found = {}
    for name, definition in DEFINITIONS.items():
        owner.execute(f"CREATE TEMP VIEW expected AS {definition}")
        found[name] = tuple(owner.execute(_SHAPE, (view,)).fetchall() for view in (name, "expected"))
        owner.execute("DROP VIEW expected")
    return found
