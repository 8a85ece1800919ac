"""Health checks against servers that hang, break off, lie, flood or have expired: each is found out and costs no neighbour."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from catalog import digests, inventory
from catalog.health.checks import Finding, Limits, Subject, ask_all
from catalog.health.passes import Pass
from tests.support import bad_servers as bad
from tests.support.cast import PAYMENTS_TOOLS

APPROVED = {tool["name"]: digests.of_tool(tool) for tool in PAYMENTS_TOOLS}
BOUNDS = inventory.Bounds(seconds=1.5, counts=False)


def ask(*subjects: Subject, allow=frozenset(), tls=None, parallel: int = 100) -> dict[UUID, Finding]:
    return ask_all(subjects, Limits(parallel=parallel, starts_per_second=0, allow=allow, tls=tls, bounds=BOUNDS))


def found_of(talk: bad.Talk, **subject) -> Finding:
    with bad.serving(talk) as server:
        one = Subject(uuid4(), server.url, subject.pop("definitions", APPROVED), **subject)
        return ask(one, allow=server.allow)[one.server_id]


FAULTS = {
    "hangs": (bad.hang, "timeout"),
    "drips": (bad.drip, "timeout"),
    "talks of other things": (bad.chatter, "timeout"),
    "resets": (bad.reset, "unreachable"),
    "leaves": (bad.leave, "unreachable"),
    "speaks mail": (bad.garble, "unreachable"),
    "floods": (bad.flood, "answer"),
    "is a web page": (bad.says("200 OK", b"<html>Welcome!</html>", "text/html"), "answer"),
    "is a web page that claims to be JSON": (bad.says("200 OK", b"<html>Welcome!</html>"), "answer"),
    "fails": (bad.says("500 Oops", b"{}"), "answer"),
    "answers another question": (bad.says("200 OK", b'{"jsonrpc": "2.0", "id": 99, "method": "x"}'), "answer"),
    "answers with a list": (bad.says("200 OK", b"[]"), "answer"),
    "lists no tools": (bad.says("200 OK", b'{"id": 1, "result": {"capabilities": {"tools": {}}}}'), "answer"),
    "compresses": (bad.says("200 OK", b"\x1f\x8b", content_encoding="gzip"), "answer"),
    "sends on to the metadata of a cloud": (
        bad.says("307 Over there", b"", location="http://169.254.169.254/latest/meta-data/"),
        "answer",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_does_not_do_what_it_should_is_down_and_the_cause_is_known(fault):
    talk, cause = FAULTS[fault]
    found = found_of(talk)

    assert (found.outcome, found.cause) == ("down", cause)
    assert found.detail
    assert found.tools == ()


def test_none_of_them_costs_a_neighbour_even_when_few_are_asked_at_once():
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(bad.serving(talk)) for talk, _ in FAULTS.values()]
        well = stack.enter_context(bad.serving(bad.good(PAYMENTS_TOOLS)))
        subjects = [Subject(uuid4(), server.url, APPROVED) for server in servers]
        fine = [Subject(uuid4(), well.url, APPROVED) for _ in range(10)]
        allow = frozenset().union(*(server.allow for server in (*servers, well)))
        found = ask(*subjects, *fine, allow=allow, parallel=6)

    assert [found[each.server_id].outcome for each in subjects] == ["down"] * len(FAULTS)
    assert [found[each.server_id].outcome for each in fine] == ["ready"] * 10


def test_an_address_that_is_not_public_is_never_asked():
    asked = []

    def note(peer, message, over):
        asked.append(message)

    with bad.serving(note) as server:
        literal = Subject(uuid4(), server.url)
        named = Subject(uuid4(), f"http://localhost:{server.port}/mcp")
        usual = Subject(uuid4(), "http://localhost:8080/mcp")
        found = ask(literal, named, usual)

    assert [each.cause for each in found.values()] == ["address"] * 3
    assert asked == []


def test_a_name_that_nobody_knows_is_its_own_cause():
    one = Subject(uuid4(), "https://no-such-name.invalid/mcp")

    assert ask(one)[one.server_id].cause == "name"


class TestSignIn:
    talk = staticmethod(bad.says("401 Who?", b""))

    def test_of_one_that_is_declared_nothing_is_known_without_a_credential(self):
        found = found_of(self.talk, signs_in=True)

        assert (found.outcome, found.cause) == ("unknown", "sign_in")
        assert "stored none" in found.detail

    def test_one_that_refuses_the_stored_credential_is_degraded(self):
        found = found_of(self.talk, signs_in=True, goes_as=Pass("", ("authorization", "Bearer stale")))

        assert (found.outcome, found.cause) == ("degraded", "sign_in")
        assert "stale" not in found.detail

    def test_one_that_is_not_declared_is_a_degradation(self):
        assert (found_of(self.talk).outcome, found_of(self.talk).cause) == ("degraded", "sign_in")


def test_where_nothing_was_approved_nothing_is_compared():
    found = found_of(bad.good([]), definitions=None)

    assert (found.outcome, found.detail) == ("ready", "")


def test_what_quarantine_has_nothing_to_learn_from_is_not_kept():
    assert found_of(bad.good(PAYMENTS_TOOLS)).tools == ()
    assert len(found_of(bad.good(PAYMENTS_TOOLS), in_quarantine=True).tools) == 2
    assert len(found_of(bad.good(PAYMENTS_TOOLS[:1])).tools) == 1


def test_a_server_may_describe_itself_at_the_length_that_was_approved_and_not_much_more():
    tool = {**PAYMENTS_TOOLS[0], "description": "x" * 2_000_000}
    approved = {f"tool{number}": "" for number in range(100)}
    body = len(json.dumps(tool))

    assert body > Subject(uuid4(), "", APPROVED).bytes_max
    assert found_of(bad.good([tool])).cause == "answer"
    assert found_of(bad.good([tool]), definitions=approved).cause == "changed"


class TestAddresses:
    def found(self, *talks: bad.Talk) -> Finding:
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(bad.serving(talk)) for talk in talks]
            one = Subject(uuid4(), servers[0].url, APPROVED, further=tuple(each.url for each in servers[1:]))
            return ask(one, allow=frozenset().union(*(each.allow for each in servers)))[one.server_id]

    def test_all_that_answer_are_ready(self):
        found = self.found(*[bad.good(PAYMENTS_TOOLS)] * 3)

        assert (found.outcome, found.detail) == ("ready", "")
        assert found.took_ms is not None

    def test_one_that_does_not_degrades_the_server_and_is_told_by_number(self):
        found = self.found(bad.good(PAYMENTS_TOOLS), bad.reset, bad.good(PAYMENTS_TOOLS))

        assert (found.outcome, found.cause) == ("degraded", "unreachable")
        assert found.detail.startswith("Address 2 of 3: ")
        assert "127.0.0.1" not in found.detail

    def test_only_all_of_them_are_down(self):
        assert self.found(bad.reset, bad.leave).outcome == "down"

    def test_another_definition_at_one_address_is_a_change(self):
        found = self.found(bad.good(PAYMENTS_TOOLS), bad.good(PAYMENTS_TOOLS[:1]))

        assert (found.outcome, found.cause) == ("degraded", "changed")
        assert len(found.tools) == 1


class TestCertificates:
    @pytest.fixture
    def authority(self, tmp_path):
        return bad.Authority(tmp_path)

    def check(self, authority, *, begins: int = -100, ends: int, trusts: bool = True) -> Finding:
        times = {"begins": timedelta(days=begins), "ends": timedelta(days=ends)}
        with bad.serving(bad.good(PAYMENTS_TOOLS), authority.certificate("server", **times)) as server:
            one = Subject(uuid4(), server.url, APPROVED)
            return ask(one, allow=server.allow, tls=authority.trusting if trusts else None)[one.server_id]

    def test_a_good_one_is_ready_and_its_end_is_known(self, authority):
        found = self.check(authority, ends=90)

        assert found.outcome == "ready"
        assert 89 <= (found.tls_expires_at - found.checked_at).days <= 90

    def test_one_that_ends_within_two_weeks_is_warned_of(self, authority):
        found = self.check(authority, ends=10)

        assert (found.outcome, found.cause) == ("degraded", "certificate")
        assert "Its certificate ends on" in found.detail

    def test_an_expired_one_is_down_and_the_words_say_why(self, authority):
        found = self.check(authority, ends=-1)

        assert (found.outcome, found.cause) == ("down", "tls")
        assert "expired" in found.detail

    def test_one_that_nobody_vouches_for_is_down(self, authority):
        assert self.check(authority, ends=90, trusts=False).cause == "tls"


def test_more_servers_than_time_for_them_leaves_some_for_the_next_round_and_asks_the_others():
    with bad.serving(bad.hang) as slow:
        subjects = [Subject(uuid4(), slow.url) for _ in range(12)]
        limits = Limits(parallel=2, seconds=0.5, starts_per_second=0, allow=slow.allow, bounds=BOUNDS)
        found = ask_all(subjects, limits)

    assert len(found) == 2
    assert {each.cause for each in found.values()} == {"timeout"}
