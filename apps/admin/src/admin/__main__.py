"""``python -m admin``: serve. Exit codes: 0 stopped on request, 1 failed, 2 bad settings."""

import sys

from admin.app import main
from admin.settings import SERVICE, Settings
from bookstore_common.process import run_process

if __name__ == "__main__":
    sys.exit(run_process(SERVICE, Settings, main))
