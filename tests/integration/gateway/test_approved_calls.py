"""Calls that a person approves, through a gateway: whatever is asked, approved, rejected and repeated, in whatever order.

The model is a line: of each call as a person would tell it apart, an approval lets one pass, and nothing else does.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from uuid import UUID

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.integration.gateway.conftest import Stage
from tests.support.processes import wait_until

WORDS = ("one", "two")
STEPS = st.lists(
    st.tuples(st.sampled_from(["call", "call", "approve", "reject", "race"]), st.sampled_from(WORDS)), max_size=8
)
_names = iter(f"guarded{number}" for number in range(10_000))


class Guarded:
    """A server of its own, of whose tool each call needs a person."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.name = stage, next(_names)
        server = stage.world.server(self.name, stage.upstream.url("ok"), stage.globex)
        tools = {**server.policy.tools, "echo": replace(server.policy.tools["echo"], needs_approval=True)}
        self.server = stage.world.change_server(server.server_id, policy=replace(server.policy, tools=tools))
        stage.world.grant(stage.acme, self.server, stage.key)
        wait_until(lambda: self.call("first").json().get("reason") == "approval_required", "the server is known")

    def call(self, word: str):
        return self.stage.invoke(self.name, "echo", text=word)

    def held(self, word: str):
        found = [each for each in self._mine() if word.encode() in each.ask.arguments]
        return found[-1] if found else None

    def _mine(self):
        return [each for each in self.stage.world.loader.approvals.values() if each.ask.server_slug == self.name]

    def race(self, word: str) -> list[int]:
        found: list[int] = []
        callers = [threading.Thread(target=lambda: found.append(self.call(word).status_code)) for _ in range(3)]
        for each in callers:
            each.start()
        for each in callers:
            each.join()
        return found


@given(steps=STEPS)
@settings(
    max_examples=12, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_an_approval_lets_one_call_pass_and_nothing_else_does(stage: Stage, steps) -> None:
    guarded = Guarded(stage)
    state: dict[str, str] = {}
    passed: Counter[str] = Counter()
    approved: Counter[str] = Counter()
    for what, word in steps:
        if what in {"approve", "reject"}:
            held = guarded.held(word)
            if held is not None and held.state == "waiting":
                held.state = state[word] = "approved" if what == "approve" else "rejected"
                approved[word] += what == "approve"
            continue
        expected = state.get(word, "") == "approved"
        codes = guarded.race(word) if what == "race" else [guarded.call(word).status_code]
        assert Counter(codes) == Counter({200: expected, 403: len(codes) - expected}) - Counter(), (steps, word)
        passed[word] += codes.count(200)
        if expected or not state.get(word):
            # Used, or asked for; a further call of a race asks for the next one.
            state[word] = "waiting" if len(codes) > 1 or not expected else ""
    assert passed - approved == Counter(), "no more passed than were approved"


def test_the_row_of_a_call_that_passed_names_its_approval(stage: Stage) -> None:
    guarded = Guarded(stage)
    refused = guarded.call("named")
    held = guarded.held("named")
    assert UUID(refused.json()["approval_id"]) == held.approval_id
    held.state = "approved"
    row = stage.row(guarded.call("named"))

    assert (row["allowed"], row["approval_id"]) == (True, held.approval_id)
    assert stage.row(refused)["reason"] == "approval_required"


def test_nothing_passes_while_nobody_can_say_whether_it_was_approved(stage: Stage) -> None:
    guarded = Guarded(stage)
    guarded.call("away")
    guarded.held("away").state = "approved"
    stage.world.loader.fail = True
    try:
        assert guarded.call("away").status_code == 503
    finally:
        stage.world.loader.fail = False
    assert guarded.call("away").status_code == 200
