"""Long work of several threads that makes many objects: two things that the interpreter does for other programs slow it down.

Such work makes no cycles, so the search for them finds nothing and takes a fifth of the time. And a thread that the database
has answered waits for its turn while another one computes, by default five milliseconds, in which the database has nothing to do.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# New objects until the youngest are searched: some batches of a few ten thousand, and so some ten megabytes.
_RARELY = 100_000
_TURN_S = 0.0005


class _Wish:
    """A setting of the process that is another one as long as somebody wishes it."""

    def __init__(self, wish: Callable[[], Callable[[], None]]) -> None:
        self._wish = wish  # sets it, and gives back what sets it as it was
        self._lock = threading.Lock()
        self._wishes = 0
        self._undo: Callable[[], None] = lambda: None

    @contextmanager
    def granted(self) -> Iterator[None]:
        with self._lock:
            self._wishes += 1
            if self._wishes == 1:
                self._undo = self._wish()
        try:
            yield
        finally:
            with self._lock:
                self._wishes -= 1
                if self._wishes == 0:
                    self._undo()


def _collect_rarely() -> Callable[[], None]:
    usual = gc.get_threshold()
    gc.set_threshold(_RARELY, *usual[1:])
    return lambda: gc.set_threshold(*usual)


def _take_short_turns() -> Callable[[], None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_S)
    return lambda: sys.setswitchinterval(usual)


_rare, _short = _Wish(_collect_rarely), _Wish(_take_short_turns)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for cycles less often while the block runs, in all threads of the process."""
    with _rare.granted():
        yield


@contextmanager
def short_turns() -> Iterator[None]:
    """Let threads that wait for their turn have it soon while the block runs, in the whole process."""
    with _short.granted():
        yield
