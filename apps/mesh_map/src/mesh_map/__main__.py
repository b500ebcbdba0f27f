"""``python -m mesh_map``: serve. Exit codes: 0 stopped on request, 1 failed, 2 bad settings."""

import sys

from bookstore_common.process import run_process
from mesh_map.app import main
from mesh_map.settings import SERVICE, Settings

if __name__ == "__main__":
    sys.exit(run_process(SERVICE, Settings, main))
