"""Makes the stand-ins that several test modules share importable: fakes, mesh_scene."""

from __future__ import annotations

import sys
from pathlib import Path

SUPPORT = str(Path(__file__).parent / "module_utils")
if SUPPORT not in sys.path:
    sys.path.insert(0, SUPPORT)
