"""``python -m inventory.migrate [upgrade|downgrade|current] [revision]``: what the init container runs."""

import sys
from pathlib import Path

from bookstore_common import migrations
from inventory.settings import InventoryMigrationSettings


def migrations_folder() -> Path:
    """Inside the installed package, or beside ``src`` in a checkout."""
    return migrations.folder_of(__file__)


if __name__ == "__main__":
    sys.exit(migrations.main("inventory", migrations_folder(), InventoryMigrationSettings))
