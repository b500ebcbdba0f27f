"""Run by alembic; the connection comes from bookstore_common.migrations."""

from bookstore_common.db import Base
from bookstore_common.migrations import run_env

run_env(Base.metadata)
