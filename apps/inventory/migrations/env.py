"""Run by alembic; the connection comes from bookstore_common.migrations."""

from bookstore_common.db import Base
from bookstore_common.migrations import run_env
from inventory import models as _models  # noqa: F401 # registers the tables

run_env(Base.metadata)
