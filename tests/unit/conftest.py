"""Makes the stand-ins that several test modules share importable: fakes, mesh_scene."""

from __future__ import annotations

import sys
from pathlib import Path

STAND_INS = str(Path(__file__).parent / "stand_ins")
if STAND_INS not in sys.path:
    sys.path.insert(0, STAND_INS)
