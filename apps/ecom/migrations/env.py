"""Run by alembic; the connection comes from bookstore_common.migrations."""

from bookstore_common.db import Base
from bookstore_common.migrations import run_env
from ecom.books import models as _books  # noqa: F401 # registers its table

run_env(Base.metadata)
