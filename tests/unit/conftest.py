"""Makes the collection of this checkout importable as ansible_collections.bookstore.platform."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

for folder in (ROOT / "collections", ROOT / "tools"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
