"""The promises of the product as questions to its database, asked after each fault."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from bench.harness import ROOT

if TYPE_CHECKING:
    from tests.faultlab.lab import Lab

SETTLE_S = 40.0


@dataclass
class Verdict:
    """Broken promises by name; empty is good."""

    broken: dict[str, str] = field(default_factory=dict)

    def demand(self, promise: str, holds: bool, words: str) -> None:
        if not holds:
            self.broken.setdefault(promise, words)


@dataclass(frozen=True)
class Row:
    call_id: str
    schema: str
    allowed: bool
    outcome: str
    billable: bool


def rows(lab: Lab) -> list[Row]:
    found: list[Row] = []
    with psycopg.connect(lab.direct_database_url) as connection:
        for schema in lab.schemas:
            query = sql.SQL("SELECT call_id::text, allowed, outcome, billable FROM {}").format(
                sql.Identifier(schema, "calls_call")
            )
            found += [Row(call_id, schema, *rest) for call_id, *rest in connection.execute(query)]
    return found


async def settled(lab: Lab) -> list[Row]:
    """The rows once every answered call has one, or when waiting longer would not help."""
    answered = {sent.call_id for sent in lab.sent if sent.succeeded}
    deadline = time.monotonic() + SETTLE_S
    while True:
        found = await asyncio.to_thread(rows, lab)
        if answered <= {row.call_id for row in found} or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.5)


async def check(lab: Lab) -> Verdict:
    verdict = Verdict()
    found = await settled(lab)
    by_id = Counter(row.call_id for row in found)
    of_schema = {row.call_id: row.schema for row in found}
    answered = [sent for sent in lab.sent if sent.succeeded]

    missing = [sent.call_id for sent in answered if by_id[sent.call_id] != 1]
    verdict.demand("P1", not missing, f"{len(missing)} of {len(answered)} answered calls without exactly one row")
    strangers = [sent for sent in answered if of_schema.get(sent.call_id, sent.caller.schema) != sent.caller.schema]
    verdict.demand("P4", not strangers, f"{len(strangers)} rows in another organisation's schema")
    crossed = [sent for sent in answered if sent.echoed is not None and sent.echoed != sent.nonce]
    verdict.demand("P4", not crossed, f"{len(crossed)} callers got somebody else's answer")

    twice = [nonce for nonce, times in lab.upstream.writes.items() if times > 1]
    verdict.demand("P2", not twice, f"{len(twice)} writes were executed more than once")
    wrong = [row for row in found if row.billable and (row.outcome != "ok" or not row.allowed)]
    verdict.demand("P2", not wrong, f"{len(wrong)} calls are billed that may not be")
    failed = {sent.call_id for sent in lab.sent if sent.code and sent.call_id}
    billed = [row for row in found if row.billable and row.call_id in failed]
    verdict.demand("P3", not billed, f"{len(billed)} calls are billed whose caller was told that they failed")

    allowed = {row.call_id for row in found if row.allowed}
    stray = lab.upstream.call_ids - allowed - {""}
    verdict.demand("P5", not stray, f"{len(stray)} requests reached the server without an allowing row")
    verdict.demand("P6", await asyncio.to_thread(_chain_verifies, lab), "the audit chain does not verify")
    verdict.demand("P7", lab.recovered_s is None or lab.recovered_s <= 30, f"recovery took {lab.recovered_s} s")
    leak = await lab.leak()
    verdict.demand("P8", not leak, leak)
    return verdict


def _chain_verifies(lab: Lab) -> bool:
    command = (sys.executable, "manage.py", "audit_verify")
    done = subprocess.run(command, cwd=ROOT, env=lab.manage_environment, capture_output=True, check=False)
    return done.returncode == 0
