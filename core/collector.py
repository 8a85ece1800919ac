"""Work that makes many objects and no cycles: the search for cycles finds nothing among them, and takes a fifth of the time."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# New objects until the youngest are searched: some batches of a few ten thousand, and so some ten megabytes.
_RARELY = 100_000
_lock = threading.Lock()
_wishes = 0
_usual = gc.get_threshold()


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for cycles less often while the block runs, in all threads of the process."""
    global _wishes, _usual  # noqa: PLW0603 - the collector is one for the process
    with _lock:
        _wishes += 1
        if _wishes == 1:
            _usual = gc.get_threshold()
            gc.set_threshold(_RARELY, *_usual[1:])
    try:
        yield
    finally:
        with _lock:
            _wishes -= 1
            if _wishes == 0:
                gc.set_threshold(*_usual)
