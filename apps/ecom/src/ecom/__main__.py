"""``python -m ecom``: serve. Exit codes: 0 stopped on request, 1 failed, 2 bad settings."""

import sys

from bookstore_common.process import run_process
from ecom.app import main
from ecom.settings import SERVICE, Settings

if __name__ == "__main__":
    sys.exit(run_process(SERVICE, Settings, main))
