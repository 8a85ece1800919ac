"""A part of the fault laboratory with every change; all of it runs by `scripts/faultlab`."""

from __future__ import annotations

import asyncio

from tests.faultlab.__main__ import run


def test_promises_hold_when_processes_die_and_replies_break_off(monkeypatch):
    # The laboratory has servers of its own.
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    results = asyncio.run(run(["F01", "F07", "F10"], tenants=3, rate=20))

    # Beside other tests the pass lines, which are times and shares, say little; the promises hold however busy the machine is.
    broken = {result.experiment.number: set(result.broken) - {"line"} for result in results}
    assert broken == {"F01": set(), "F07": set(), "F10": set()}
