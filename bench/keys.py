"""Whether the time that a wrong API key takes to be refused tells how wrong it is.

Wrong keys of several kinds are refused by the gateway's own authentication, in this process and in random order, without a
network in between: what cannot be told apart here is told apart by nobody further away. Each pair of kinds is compared by Welch's
t-test, without the slowest tenth, which says more about the machine. With so many samples |t| above 4.5 tells two kinds apart.
That an id exists may show, because an id that is not held is looked up first; ids are no secret. Nothing may show of the secret.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import random
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from statistics import fmean, variance
from typing import Any, cast
from uuid import UUID, uuid4

from core import keys
from gateway.audience import Audiences
from gateway.context import CallContext
from gateway.entries import KeyEntry, TenantEntry
from gateway.mcp.errors import RefusedError
from gateway.paths import Paths
from gateway.stages.authenticate import Authenticator
from gateway.store import EntryStore
from gateway.watch import Watch

LEAK = 4.5
KEPT = 0.9
UNKNOWN = "of an unknown key"
_PEPPER = b"bench"
_ORIGIN = "http://localhost"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench keys", description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=20_000, help="refusals of each kind")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    try:
        samples = asyncio.run(measure(options.samples))
    finally:
        logging.disable(logging.NOTSET)
    sys.stdout.write(report(samples))
    return 0


def welch(one: Sequence[float], other: Sequence[float]) -> float:
    """The t statistic of two samples that may differ in spread; 0 where nothing varies."""
    spread = variance(one) / len(one) + variance(other) / len(other)
    return (fmean(one) - fmean(other)) / math.sqrt(spread) if spread else 0.0


def report(samples: Mapping[str, Sequence[int]]) -> str:
    kept = {kind: sorted(times)[: max(2, int(len(times) * KEPT))] for kind, times in samples.items()}
    lines = [f"{'wrong key':<34}{'mean':>10}"]
    lines += [f"{kind:<34}{fmean(times) / 1000:>7.2f} us" for kind, times in kept.items()]
    lines += ["", f"{'told apart?':<62}{'t':>8}"]
    for one, other in combinations(kept, 2):
        t = welch(kept[one], kept[other])
        verdict = "no" if abs(t) <= LEAK else "that the id exists" if UNKNOWN in {one, other} else "LEAK"
        lines.append(f"{f'{one} / {other}':<62}{t:>8.2f}  {verdict}")
    return "\n".join(lines) + "\n"


async def measure(count: int) -> dict[str, list[int]]:
    """Nanoseconds of each refusal, by kind of wrong key."""
    text, unknown = keys.mint("test"), keys.mint("test")
    kinds = {
        "wrong from the first character": _with_secret(text, _other(text.secret[0]) + text.secret[1:]),
        "wrong in the last character": _with_secret(text, text.secret[:-1] + _other(text.secret[-1])),
        "wrong altogether": _with_secret(text, unknown.secret),
        UNKNOWN: str(unknown),
    }
    with ThreadPoolExecutor(1) as executor:
        store = EntryStore(cast("Any", _Nobody()), executor)
        store.apply_tenant(_tenant(text))
        authenticator = Authenticator(
            store,
            _PEPPER,
            find_key=lambda _: None,
            audiences=Audiences(_ORIGIN, Paths()),
            issuer=_ORIGIN,
        )
        watch = Watch()
        samples: dict[str, list[int]] = {kind: [] for kind in kinds}
        order = [kind for kind in kinds for _ in range(count)]
        random.shuffle(order)
        for kind in order:
            call = CallContext("", "mcp", watch.request())
            call.headers = {b"authorization": b"Bearer " + kinds[kind].encode()}
            samples[kind].append(await _refused_within(authenticator, call))
    return samples


async def _refused_within(authenticator: Authenticator, call: CallContext) -> int:
    began = time.perf_counter_ns()
    try:
        await authenticator.authenticate(call)
    except RefusedError:
        return time.perf_counter_ns() - began
    raise AssertionError("a wrong key was accepted")


class _Nobody:
    """Knows no key but the one that is held already."""

    def tenants_of_keys(self, key_ids: Collection[str]) -> dict[str, UUID]:
        return {}


def _tenant(text: keys.KeyText) -> TenantEntry:
    entry = KeyEntry(
        key_id=text.key_id,
        api_key_id=uuid4(),
        secret_digest=keys.digest(text.secret, _PEPPER),
        scopes=frozenset({"invoke"}),
        server_ids=frozenset(),
        user_id=None,
        agent="bench",
        team_id=None,
        expires_at=None,
    )
    return TenantEntry(uuid4(), "bench", "bench", 1, suspended=False, keys={text.key_id: entry}, grants={})


def _with_secret(text: keys.KeyText, secret: str) -> str:
    return str(keys.KeyText(text.env, text.key_id, secret))


def _other(character: str) -> str:
    return "a" if character != "a" else "b"
