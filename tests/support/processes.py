"""Waiting for what processes do. Deadlines are generous: they end a broken run, they measure nothing."""

import time
from collections.abc import Callable, Iterable

from marketplace.supervisor.identity import start_mark

DEADLINE_S = 60.0


def wait_until(condition: Callable[[], bool], what: str, *, deadline_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            message = f"waited {deadline_s:.0f} s for: {what}"
            raise AssertionError(message)
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Zombies do not count: in a container nobody may reap them."""
    return start_mark(pid) is not None


def wait_until_gone(pids: Iterable[int]) -> None:
    pids = list(pids)
    wait_until(lambda: not any(map(is_running, pids)), f"the end of {pids}")
