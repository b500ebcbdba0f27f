"""``python -m inventory``: serve. Exit codes: 0 stopped on request, 1 failed, 2 bad settings."""

import sys

from bookstore_common.process import run_process
from inventory.app import main
from inventory.settings import SERVICE, Settings

if __name__ == "__main__":
    sys.exit(run_process(SERVICE, Settings, main))
