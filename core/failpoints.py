"""Places at which a process kills itself, so that tests can prove what survives. Armed in tests only; free when not.

A point is armed as `name` or `name:number`: the process dies when it is reached for the so-manyth time, and nothing is closed.
"""

from __future__ import annotations

import os
import signal

# A call at a gateway passes these in this order.
CALL_POINTS = ("after_intent", "before_upstream", "after_upstream", "before_commit", "after_commit", "before_answer")
# The close of a month passes these.
CLOSE_POINTS = ("before_close_commit", "after_close")
POINTS = CALL_POINTS + CLOSE_POINTS

armed = ""
_left = 0


def arm(spec: str) -> None:
    """Raises ValueError for a point that does not exist. An empty text arms nothing."""
    global armed, _left
    name, _, number = spec.partition(":")
    if name and name not in POINTS:
        raise ValueError(f"{name!r} is no failpoint; there are {', '.join(POINTS)}")
    armed, _left = name, int(number or 1)


def reach(name: str) -> None:
    global _left  # noqa: PLW0603
    if armed == name:
        _left -= 1
        if _left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
