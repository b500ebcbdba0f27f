"""Run by alembic; the connection comes from bookstore_common.migrations."""

from bookstore_common.db import Base
from bookstore_common.migrations import run_env
from inventory.events import models as _events  # noqa: F401 # registers its tables
from inventory.reservations import models as _reservations  # noqa: F401 # registers its table
from inventory.stock import models as _stock  # noqa: F401 # registers its tables

run_env(Base.metadata)
