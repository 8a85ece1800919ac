"""What each process of a parallel run has to itself, set before the settings are read (pytest loads this with `-p`)."""

from __future__ import annotations

import os
from urllib.parse import urlsplit


def separate() -> None:
    """Give a worker a database of the shared Valkey: a test that empties its cache leaves the neighbour's alone."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and (url := os.environ.get("REDIS_URL")):
        # Valkey has 16 of them.
        os.environ["REDIS_URL"] = urlsplit(url)._replace(path=f"/{int(worker.removeprefix('gw')) % 16}").geturl()


separate()
