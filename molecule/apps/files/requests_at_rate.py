"""Requests to several paths of one host at a constant rate; prints {path: summary} as JSON.

Usage: requests_at_rate.py HOST PORT CA-FILE SECONDS PATH...
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.perf.load import Connections, constant_rate  # the checkout is on the path only now

# Three paths together stay below the 1200 anonymous requests a minute that SPEC 5.1 allows.
RATE = 5.0


async def main(host: str, port: str, authority: str, seconds: str, *paths: str) -> None:
    """Send RATE requests/s to each path for ``seconds``; an answer that is not 200 counts as an error."""
    trust = ssl.create_default_context(cafile=authority)
    runs = [constant_rate(Connections(host, int(port), trust), path, RATE, float(seconds)) for path in paths]
    samples = await asyncio.gather(*runs)
    found = {path: {**s.summary(), "kinds": dict(s.errors)} for path, s in zip(paths, samples, strict=True)}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
