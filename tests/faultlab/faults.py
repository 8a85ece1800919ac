"""The faults, by the numbers of the fault matrix: what is done, under load, and what must hold beyond the promises.

Each function injects its fault, lets calls go on, heals, and returns what it saw. A `Failed` names the pass line that was missed.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import psutil
import psycopg
import redis.asyncio as redis
from psycopg import sql

from core import failpoints
from tests.faultlab.lab import Lab
from tests.faultlab.load import Load, Sent
from tests.faultlab.proxy import Fault, Mode
from tests.faultlab.upstream import ODD_REPLIES

NOISE_S = 0.03  # what two shared cores add to a percentile


class MissedError(Exception):
    """A pass line was not met."""


class NotPossibleError(Exception):
    """This machine does not allow the fault; the message says why."""


@dataclass(frozen=True)
class Experiment:
    number: str
    words: str
    run: Callable[[Lab], Awaitable[str]]


EXPERIMENTS: dict[str, Experiment] = {}


def experiment(number: str, words: str) -> Callable[[Callable[[Lab], Awaitable[str]]], Callable[[Lab], Awaitable[str]]]:
    def register(run: Callable[[Lab], Awaitable[str]]) -> Callable[[Lab], Awaitable[str]]:
        EXPERIMENTS[number] = Experiment(number, words, run)
        return run

    return register


def demand(holds: bool, words: str) -> None:
    if not holds:
        raise MissedError(words)


def p99(sent: Sequence[Sent]) -> float:
    times = sorted(each.seconds for each in sent if each.seconds)
    return times[int(len(times) * 0.99)] if times else 0.0


def to(sent: Sequence[Sent], server: str) -> list[Sent]:
    return [each for each in sent if each.server == server]


def codes(sent: Sequence[Sent]) -> str:
    counted = Counter(each.code or ("left" if each.left else "no answer") for each in sent if not each.succeeded)
    return ", ".join(f"{number} {code}" for code, number in counted.most_common(4)) or "none"


def share(sent: Sequence[Sent]) -> float:
    return sum(each.succeeded for each in sent) / len(sent) if sent else 1.0


async def during(load: Load, seconds: float) -> list[Sent]:
    """The calls that begin in the coming seconds."""
    start = len(load.sent)
    await asyncio.sleep(seconds)
    return load.sent[start:]


async def finish(lab: Lab, load: Load) -> None:
    """The fault is over: wait until calls succeed again, then until none is under way."""
    lab.heal()
    await lab.recover(load)
    await load.stop()
    lab.sent = load.sent


@experiment("F01", "a gateway process is killed, again and again")
async def f01(lab: Lab) -> str:
    in_flight, respawns = 0, []
    async with lab.load() as load:
        await asyncio.sleep(1)
        for number in range(6):
            gateway, base = lab.gateways[number % 2], number % 2
            in_flight += sum(1 for index, each in enumerate(load.sent, 1) if not each.seconds and index % 2 == base)
            before, began = gateway.restarts, time.monotonic()
            gateway.send(signal.SIGKILL)
            while gateway.restarts == before:
                await asyncio.sleep(0.01)
            respawns.append(time.monotonic() - began)
            await lab.wait_ready()
        await finish(lab, load)
    broken = [each for each in load.sent if not each.succeeded]
    demand(len(broken) <= in_flight + 6, f"{len(broken)} calls failed, {in_flight} were in flight: {codes(broken)}")
    demand(max(respawns) < 2, f"started again after {max(respawns):.1f} s")
    return f"6 kills, {len(broken)} of {len(load.sent)} calls failed, {in_flight} had been in flight"


@experiment("F02", "killed at each point between intent and answer")
async def f02(lab: Lab) -> str:
    seen: Counter[str] = Counter()
    sent: list[Sent] = []
    for point in failpoints.CALL_POINTS:
        await lab.gateways[0].restart(FAILPOINT=point)
        before = lab.gateways[0].restarts
        async with lab.load(0.3) as load:
            while lab.gateways[0].restarts < before + 2:
                await asyncio.sleep(0.1)
            await lab.gateways[0].restart()
            await lab.wait_ready()
            await finish(lab, load)
        seen[point] = lab.gateways[0].restarts - before - 1
        sent += load.sent
    lab.sent = sent
    demand(all(seen.values()), f"not every point was reached: {dict(seen)}")
    return f"{sum(seen.values())} kills at {len(seen)} points, {len(sent)} calls"


@experiment("F05", "Valkey is killed, away for 8 s, and back with nothing in it")
async def f05(lab: Lab) -> str:
    async with lab.load() as load:
        await asyncio.sleep(1)
        lab.broker.set(Fault(Mode.REFUSE))
        await _flush(lab)
        revoked = lab.callers[-1]
        fault = asyncio.create_task(during(load, 8))
        await asyncio.to_thread(lab.manage, "-m", "tests.faultlab.control", "revoke", revoked.tenant)
        began = time.monotonic()
        sent = await fault
        load.callers = [each for each in load.callers if each != revoked]
        lab.retire(revoked)
        await finish(lab, load)
    late = [each for each in load.sent if each.caller == revoked and each.succeeded and each.began > began + 5]
    demand(not late, f"{len(late)} calls of a revoked key succeeded more than 5 s later")
    others = [each for each in sent if each.caller != revoked]
    demand(share(others) >= 0.99, f"{share(others):.1%} succeeded: {codes(others)}")
    return f"{share(others):.2%} of {len(others)} calls succeeded; a key revoked meanwhile was refused within 5 s"


@experiment("F06", "Valkey hangs for 8 s")
async def f06(lab: Lab) -> str:
    async with lab.load() as load:
        base = await during(load, 4)
        lab.broker.set(Fault(Mode.HANG))
        hung = await during(load, 8)
        await finish(lab, load)
    demand(share(hung) >= 0.99, f"{share(hung):.1%} succeeded: {codes(hung)}")
    demand(p99(hung) < max(2 * p99(base), 0.2), f"p99 {p99(hung) * 1e3:.0f} ms against {p99(base) * 1e3:.0f} ms before")
    return f"p99 {p99(base) * 1e3:.0f} ms before, {p99(hung) * 1e3:.0f} ms while it hung"


@experiment("F07", "PostgreSQL's postmaster is killed and away for 12 s")
async def f07(lab: Lab) -> str:
    async with lab.load() as load:
        await asyncio.sleep(1)
        pid = await asyncio.to_thread(lab.postmaster)
        lab.database.set(Fault(Mode.REFUSE))
        psutil.Process(pid).kill()
        sent = await during(load, 12)
        while not await asyncio.to_thread(_accepts, lab):
            await asyncio.sleep(0.2)
        await finish(lab, load)
    bare = [each for each in load.sent if each.status == 500 or each.code == "gateway.internal"]
    demand(not bare, f"{len(bare)} answers of 500")
    demand((lab.recovered_s or 0) < 10, f"recovery took {lab.recovered_s} s")
    answered = f"{share(sent):.1%} of {len(sent)} calls answered meanwhile, else {codes(sent)}"
    return f"{answered}; well after {lab.recovered_s:.1f} s"


@experiment("F08", "connections cut, a table locked for 3 s")
async def f08(lab: Lab) -> str:
    async with lab.load() as load:
        base = await during(load, 3)
        for _ in range(3):
            await asyncio.to_thread(_cut_connections, lab)
            await asyncio.sleep(1)
        victim = lab.callers[0]
        locked = asyncio.create_task(during(load, 3))
        await asyncio.to_thread(_lock, lab, victim.schema, 3)
        stalled = await locked
        await finish(lab, load)
    waits = [each.seconds for each in stalled if each.seconds]
    demand(share(load.sent) >= 0.99, f"{share(load.sent):.1%} succeeded: {codes(load.sent)}")
    demand(max(waits) <= 1.5, f"a call waited {max(waits):.1f} s")
    return f"{len(load.sent)} calls, longest wait {max(waits):.2f} s (p99 before {p99(base) * 1e3:.0f} ms)"


@experiment("F09", "a server hangs for 10 s")
async def f09(lab: Lab) -> str:
    async with lab.load() as load:
        base = await during(load, 4)
        lab.wire.set(Fault(Mode.HANG))
        hung = await during(load, 10)
        await finish(lab, load)
    before, other = to(base, "steady"), to(hung, "steady")
    demand(share(other) >= 0.999, f"calls of another server failed: {codes(other)}")
    demand(
        p99(other) <= 1.2 * p99(before) + NOISE_S,
        f"another server's p99 went from {p99(before):.3f} to {p99(other):.3f} s",
    )
    opened = [each for each in to(hung, "shaky") if each.code in {"upstream.unavailable", "upstream.busy"}]
    demand(bool(opened), f"the breaker did not open: {codes(to(hung, 'shaky'))}")
    return f"the other server's p99 {p99(before) * 1e3:.0f} → {p99(other) * 1e3:.0f} ms; {len(opened)} calls refused at once"


@experiment("F10", "a server resets in the middle of its replies")
async def f10(lab: Lab) -> str:
    async with lab.load() as load:
        await asyncio.sleep(1)
        lab.wire.set(Fault(Mode.HALF, after_bytes=120))
        broken = await during(load, 5)
        await finish(lab, load)
    shaky = to(broken, "shaky")
    demand(all(each.code.startswith(("upstream.", "admission.")) for each in shaky if not each.succeeded), codes(shaky))
    demand(share(to(broken, "steady")) >= 0.999, codes(to(broken, "steady")))
    return f"{len(shaky)} replies cut: {codes(shaky)}"


@experiment("F11", "a server drips its replies, a byte every 0.2 s")
async def f11(lab: Lab) -> str:
    async with lab.load(0.3) as load:
        await asyncio.sleep(1)
        lab.wire.set(Fault(Mode.DRIP))
        dripped = await during(load, 8)
        await finish(lab, load)
    demand(share(to(dripped, "steady")) >= 0.999, codes(to(dripped, "steady")))
    return f"{len(to(dripped, 'shaky'))} dripped calls: {codes(to(dripped, 'shaky'))}"


@experiment("F12", "replies that are no answers")
async def f12(lab: Lab) -> str:
    said: Counter[str] = Counter()
    async with lab.load(0.4) as load:
        await asyncio.sleep(1)
        for odd in ODD_REPLIES:
            lab.upstream.odd = odd
            sent = await during(load, 1)
            lab.upstream.odd = ""
            await asyncio.sleep(0.5)
            passed = [each for each in sent[5:-5] if each.succeeded]
            demand(not passed, f"{odd}: {len(passed)} passed as results")
            said.update(each.code for each in sent if each.code)
        await finish(lab, load)
    demand("gateway.internal" not in said, f"{said['gateway.internal']} internal errors")
    return f"{len(ODD_REPLIES)} kinds: {', '.join(f'{number} {code}' for code, number in said.most_common(3))}"


@experiment("F13", "immense replies: by length, compressed, without end")
async def f13(lab: Lab) -> str:
    before = {pid: memory for pid, _, memory in (gateway.measure() for gateway in lab.gateways)}
    worst = 0
    async with lab.load(0.075) as load:
        await asyncio.sleep(1)
        for giant in ("length", "gzip", "stream"):
            lab.upstream.giant = giant
            for _ in range(8):
                await asyncio.sleep(0.5)
                worst = max(
                    worst, *(memory - before.get(pid, memory) for pid, _, memory in (g.measure() for g in lab.gateways))
                )
            lab.upstream.giant = ""
            await asyncio.sleep(1)
        await finish(lab, load)
    # Several are under way at once, each within the limit of one reply.
    demand(worst < 150e6, f"memory grew by {worst / 1e6:.0f} MB")
    return f"memory at most {worst / 1e6:.0f} MB above rest; {codes(load.sent)}"


@experiment("F14", "half of the replies are 500, then half are 429")
async def f14(lab: Lab) -> str:
    words = []
    async with lab.load() as load:
        await asyncio.sleep(1)
        for name in ("failing_share", "too_many_share"):
            arrived = lab.upstream.requests
            setattr(lab.upstream, name, 0.5)
            sent = await during(load, 6)
            setattr(lab.upstream, name, 0.0)
            await asyncio.sleep(1)
            ratio = (lab.upstream.requests - arrived) / max(1, len(sent) + load.rate)
            demand(ratio <= 1.2, f"{name}: {ratio:.2f} requests per call")
            words.append(f"{ratio:.2f}")
        await finish(lab, load)
    return f"requests to the server per call: {' and '.join(words)}; {codes(load.sent)}"


@experiment("F15", "servers that refuse, whose name is unknown, whose certificate is wrong")
async def f15(lab: Lab) -> str:
    words = []
    for server in ("closed", "nowhere", "untrusted"):
        async with lab.load(0.3, servers=("steady", server)) as load:
            await asyncio.sleep(4)
            late = await during(load, 3)
            await load.stop()
        lab.sent += load.sent
        bad = to(late, server)
        demand(not any(each.succeeded for each in bad), f"{server}: a call succeeded")
        demand(share(to(late, "steady")) >= 0.999, codes(to(late, "steady")))
        median = statistics.median(each.seconds for each in bad)
        demand(median < 0.1, f"{server}: still {median:.2f} s after the breaker should be open")
        words.append(f"{server} {median * 1e3:.0f} ms ({codes(bad)})")
    return "; ".join(words)


@experiment("F16", "one gateway's clock is 10 minutes ahead, then behind")
async def f16(lab: Lab) -> str:
    if shutil.which("faketime") is None:
        raise NotPossibleError("faketime is not installed")
    gateway = lab.gateways[0]
    async with lab.load() as load:
        for offset in ("+600s", "-600s"):
            gateway.prefix = ("faketime", "-f", offset)
            await gateway.restart(FAKETIME_DONT_FAKE_MONOTONIC="1", DONT_FAKE_MONOTONIC="1")
            await lab.wait_ready()
            await asyncio.sleep(3)
        gateway.prefix = ()
        await gateway.restart()
        await lab.wait_ready()
        await finish(lab, load)
    broken = [each for each in load.sent if not each.succeeded]
    demand(share(load.sent) >= 0.995, f"{codes(broken)}")
    return f"{len(load.sent)} calls, {len(broken)} failed"


@experiment("F17", "the disk of one gateway is full while PostgreSQL is away")
async def f17(lab: Lab) -> str:
    full = lab.folder / "full"
    full.mkdir(exist_ok=True)
    mount = await asyncio.create_subprocess_exec("mount", "-t", "tmpfs", "-o", "size=4m", "none", str(full))
    if await mount.wait() != 0:
        raise NotPossibleError("no right to mount a small file system")
    try:
        await lab.gateways[0].restart(MARKETPLACE_DATA=str(full))
        await lab.wait_ready()
        with (full / "filler").open("wb") as filler:
            try:
                while filler.write(b"x" * 65536):
                    filler.flush()
            except OSError:
                pass
        async with lab.load() as load:
            served = await during(load, 3)
            lab.database.set(Fault(Mode.REFUSE))
            away = await during(load, 5)
            (full / "filler").unlink()
            await finish(lab, load)
    finally:
        await lab.gateways[0].restart()
        await lab.wait_ready()
        unmount = await asyncio.create_subprocess_exec("umount", "-l", str(full))
        await unmount.wait()
    demand(share(served) >= 0.99, f"a full disk alone stopped calls: {codes(served)}")
    bare = [each for each in load.sent if each.status == 500 or each.code == "gateway.internal"]
    demand(not bare, f"{len(bare)} answers of 500")
    return f"{share(served):.1%} with a full disk; without PostgreSQL too: {codes(away)}"


@experiment("F18", "one gateway may open 256 files, and 400 callers come")
async def f18(lab: Lab) -> str:
    gateway = lab.gateways[0]
    gateway.prefix = ("prlimit", "--nofile=256")
    await gateway.restart()
    await lab.wait_ready()
    lab.upstream.delay_s = 1.0
    restarts = gateway.restarts
    async with lab.load(2) as load:
        await asyncio.sleep(4)
        lab.upstream.heal()
        await finish(lab, load)
    demand(gateway.restarts == restarts, "the gateway died")
    gateway.prefix = ()
    await gateway.restart()
    await lab.wait_ready()
    return f"{len(load.sent)} calls, the gateway lived; {codes(load.sent)}"


@experiment("F19", "slow network, then everything behind the gateways cut off for 3 s")
async def f19(lab: Lab) -> str:
    async with lab.load(0.5) as load:
        await asyncio.sleep(1)
        for proxy in (lab.database, lab.wire):
            proxy.set(Fault(latency_s=0.03, jitter_s=0.03))
        slow = await during(load, 5)
        for proxy in (lab.database, lab.broker, lab.wire):
            proxy.set(Fault(Mode.HANG))
        cut = await during(load, 3)
        await finish(lab, load)
    demand(share(slow) >= 0.99, f"slow: {codes(slow)}")
    longest = max(each.seconds for each in cut)
    demand(longest < 22, f"a call took {longest:.0f} s")
    return f"slow: {share(slow):.1%}, p99 {p99(slow) * 1e3:.0f} ms; cut off: {codes(cut)}, longest {longest:.1f} s"


@experiment("F21", "a rolling restart, ten times")
async def f21(lab: Lab) -> str:
    async with lab.load() as load:
        for number in range(10):
            await lab.gateways[number % 2].restart()
            await lab.wait_ready()
        await finish(lab, load)
    broken = [each for each in load.sent if not each.succeeded and each.tool != "stream"]
    demand(not broken, f"{len(broken)} of {len(load.sent)} calls failed: {codes(broken)}")
    streams = [each for each in load.sent if not each.succeeded and each.tool == "stream"]
    return f"{len(load.sent)} calls, 0 failed, {len(streams)} streams ended early"


@experiment("F23", "half of the callers hang up at a random moment")
async def f23(lab: Lab) -> str:
    async with lab.load(1.5, leaving_share=0.5) as load:
        await asyncio.sleep(12)
        load.leaving_share = 0.0
        await finish(lab, load)
    left = sum(each.left for each in load.sent)
    broken = [each for each in load.sent if not each.succeeded and not each.left]
    demand(not broken, f"{len(broken)} calls of those who stayed failed: {codes(broken)}")
    return f"{left} of {len(load.sent)} hung up; 0 crossed answers"


@experiment("F24", "a cold start of everything under a burst")
async def f24(lab: Lab) -> str:
    async with lab.load(2) as load:
        await asyncio.sleep(1)
        steady = await _transactions_during(lab, 4)
        await _flush(lab)
        for gateway in lab.gateways:
            gateway.send(signal.SIGKILL)
        cold = await _transactions_during(lab, 6)
        await finish(lab, load)
    bare = [each for each in load.sent if each.status == 500 or each.code == "gateway.internal"]
    demand(not bare, f"{len(bare)} answers of 500")
    demand(cold < 3 * steady, f"the database had {cold:.0f} transactions a second against {steady:.0f} before")
    times = f"{steady:.0f} → {cold:.0f} transactions a second"
    return f"{times}; {share(load.sent):.1%} of {len(load.sent)} calls succeeded, else {codes(load.sent)}"


@experiment("F26", "an organisation is suspended under load")
async def f26(lab: Lab) -> str:
    victim = lab.callers[-1]
    async with lab.load() as load:
        await asyncio.sleep(1)
        await asyncio.to_thread(lab.manage, "-m", "tests.faultlab.control", "suspend", victim.tenant)
        suspended = time.monotonic()
        await asyncio.sleep(6)
        load.callers = [each for each in load.callers if each != victim]
        lab.retire(victim)
        await finish(lab, load)
    late = [each for each in load.sent if each.caller == victim and each.succeeded and each.began > suspended + 1]
    demand(not late, f"{len(late)} calls succeeded more than 1 s after the suspension")
    others = [each for each in load.sent if each.caller != victim]
    demand(share(others) >= 0.999, codes(others))
    return f"refused from the first second on; {len(others)} calls of others untouched"


@experiment("F27", "signing keys and vault keys are rotated under load")
async def f27(lab: Lab) -> str:
    async with lab.load() as load:
        await asyncio.sleep(1)
        for command in (("rotate_signing_keys", "--now"), ("rotate_vault_keys", "--data-keys")) * 2:
            await asyncio.to_thread(lab.manage, "manage.py", *command)
            await asyncio.sleep(1)
        await finish(lab, load)
    broken = [each for each in load.sent if not each.succeeded]
    demand(not broken, f"{len(broken)} calls failed: {codes(broken)}")
    return f"4 rotations, {len(load.sent)} calls, 0 failed"


async def _flush(lab: Lab) -> None:
    client = redis.from_url(lab.infrastructure.redis_url)
    try:
        await client.flushall()
    finally:
        await client.aclose()


def _accepts(lab: Lab) -> bool:
    try:
        psycopg.connect(lab.direct_database_url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


async def _transactions_during(lab: Lab, seconds: float) -> float:
    """Transactions a second in the product's database."""
    before = await asyncio.to_thread(_transactions, lab)
    await asyncio.sleep(seconds)
    return (await asyncio.to_thread(_transactions, lab) - before) / seconds


def _transactions(lab: Lab) -> int:
    query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    with psycopg.connect(lab.direct_database_url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _cut_connections(lab: Lab) -> None:
    with psycopg.connect(lab.direct_database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = current_user"
        )


def _lock(lab: Lab, schema: str, seconds: float) -> None:
    with psycopg.connect(lab.direct_database_url) as connection:
        connection.execute(
            sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(schema, "calls_call"))
        )
        time.sleep(seconds)
