"""The services are not installed here: their sources are imported from the checkout."""

import sys
from pathlib import Path

APPS = Path(__file__).parents[2] / "apps"
sys.path[:0] = [str(APPS / name / "src") for name in ("common", "ecom", "inventory", "mv_refresher")]
