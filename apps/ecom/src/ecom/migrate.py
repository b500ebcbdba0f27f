"""``python -m ecom.migrate [upgrade|downgrade|current] [revision]``: what the init container runs."""

import sys
from pathlib import Path

from bookstore_common import migrations
from ecom.settings import EcomMigrationSettings


def migrations_folder() -> Path:
    """Inside the installed package, or beside ``src`` in a checkout."""
    return migrations.folder_of(__file__)


if __name__ == "__main__":
    sys.exit(migrations.main("ecom", migrations_folder(), EcomMigrationSettings))
