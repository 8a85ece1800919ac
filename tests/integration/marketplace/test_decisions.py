"""The history of decisions, and the logs of an organisation as files."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from audit import services as audit
from audit.models import AuditEvent
from audit.services import checkpoints
from calls.models import Call
from core import clock
from core.ids import lowest_at, uuid7
from marketplace.exports import reading
from tenants.choices import Role, Scope
from tenants.context import tenant_scope
from tenants.services import api_keys
from tests.integration.catalog.test_home import make_call
from tests.integration.tenants.test_memberships import join_as
from tests.support.cast import Cast

PAGE, FILE, LOG = "/o/acme/audit/decisions/", "/o/acme/audit/export/", "/api/v1/audit/export/"


def decided(cast, *, ago: timedelta = timedelta(minutes=30), **fields) -> Call:
    """A decision of a while ago."""
    moment = clock.now() - ago
    low, own = lowest_at(moment), uuid7()
    call_id = type(own)(bytes=low.bytes[:6] + own.bytes[6:])
    fields = {"agent": "bot", "server_name": "payments", "tool": "list_invoices", "reason": "allowed"} | fields
    return make_call(cast.acme, call_id=call_id, occurred_at=moment, **fields)


def refused(cast, **fields) -> Call:
    return decided(cast, **{"allowed": False, "outcome": "denied", "reason": "trust_too_low"} | fields)


@pytest.fixture
def alice(cast, signed_in):
    return signed_in(cast.alice)


@pytest.fixture
def program(cast, client):
    """`program(path, **query)` asks with a key that administers acme."""
    key = api_keys.issue(tenant=cast.acme, name="t", scopes=[Scope.ADMIN], actor=cast.alice).text

    def ask(path: str, **query):
        return client.get(path, query, headers={"Authorization": f"Bearer {key}"})

    return ask


def text_of(answer) -> str:
    return b"".join(answer.streaming_content).decode()


def rows_of(answer) -> list[dict]:
    return [json.loads(line) for line in text_of(answer).splitlines()]


def table(page) -> str:
    return page.content.decode().split("<tbody>")[-1].split("</tbody>")[0]


class TestPage:
    def test_it_shows_what_was_decided_and_why(self, cast, alice):
        decided(cast)
        refused(cast, tool="refund_invoice")
        page = alice.get(PAGE).content.decode()

        assert "refund_invoice" in page
        assert "Trust too low" in page
        assert "list_invoices" in page

    @pytest.mark.parametrize(
        ("query", "shown"),
        [
            ({"decision": "deny"}, {"refused_tool"}),
            ({"decision": "allow"}, {"allowed_tool", "old_tool"}),
            ({"tool": "allowed_tool"}, {"allowed_tool"}),
            ({"agent": "other"}, {"refused_tool"}),
            ({"reason": "trust_too_low"}, {"refused_tool"}),
            ({"period": "1h"}, {"allowed_tool", "refused_tool"}),
            (
                {"decision": "x", "server": "x", "before": "x", "from": "x"},
                {"allowed_tool", "refused_tool", "old_tool"},
            ),
        ],
    )
    def test_filters_narrow_and_what_cannot_be_read_is_left_out(self, cast, alice, query, shown):
        decided(cast, tool="allowed_tool")
        decided(cast, tool="old_tool", ago=timedelta(days=2))
        refused(cast, tool="refused_tool", agent="other")
        rows = table(alice.get(PAGE, query))

        assert {name for name in ("allowed_tool", "refused_tool", "old_tool") if name in rows} == shown

    def test_days_are_whole_days_in_utc(self, cast, alice):
        decided(cast, tool="old_tool", ago=timedelta(days=40))
        decided(cast, tool="new_tool")
        day = (clock.now() - timedelta(days=40)).date().isoformat()
        rows = table(alice.get(PAGE, {"from": day, "to": day}))

        assert "old_tool" in rows
        assert "new_tool" not in rows

    @pytest.mark.parametrize(
        "query",
        [
            {"from": "9999-12-31"}, {"to": "0001-01-01"}, {"from": "2026-01-02", "to": "2026-01-01"},
            {"from": "0001-01-01", "to": "9999-12-31"}, {"tool": "x" * 500}, {"agent": "a\x00b"},
        ],
    )  # fmt: skip
    def test_odd_times_and_words_harm_nothing(self, cast, alice, query):
        assert alice.get(PAGE, query).status_code == 200

    def test_the_chart_counts_both(self, cast, alice):
        decided(cast)
        refused(cast)
        points = alice.get(PAGE, {"period": "24h"}).context["points"]

        assert sum(allowed for _, (allowed, _) in points) == 1
        assert sum(denied for _, (_, denied) in points) == 1

    def test_pages_lead_to_older_ones(self, cast, alice):
        for number in range(51):
            decided(cast, tool=f"tool{number}")
        page = alice.get(PAGE)
        older = alice.get(PAGE + page.context["older"])

        assert len(page.context["rows"]) == 50
        assert len(older.context["rows"]) == 1

    def test_an_auditor_reads_it_and_a_member_does_not(self, cast, signed_in):
        assert signed_in(cast.bob).get(PAGE).status_code == 403
        assert signed_in(cast.bob).get(FILE).status_code == 403
        auditor = signed_in(join_as(Role.AUDITOR, cast.acme).user)
        assert auditor.get(PAGE).status_code == 200
        assert auditor.get(FILE).status_code == 200


class TestFiles:
    def test_what_the_page_filters_is_what_the_file_has_the_last_minute_too(self, cast, alice):
        decided(cast, ago=timedelta(seconds=1), tool="just_now")
        refused(cast)
        answer = alice.get(FILE, {"what": "decisions", "format": "csv", "decision": "allow"})
        [row] = csv.DictReader(io.StringIO(text_of(answer)))

        assert row["tool"] == "just_now"
        assert 'filename="acme-decisions-' in answer["Content-Disposition"]
        assert answer["Content-Type"] == "text/csv; charset=utf-8"

    def test_that_a_log_was_exported_is_in_the_log(self, cast, alice):
        alice.get(FILE, {"format": "ocsf"})
        with tenant_scope(cast.acme):
            event = AuditEvent.objects.latest("sequence")

        assert (event.action, event.actor_label) == ("audit:log:exported", cast.alice.email)
        assert event.data["format"] == "ocsf"

    def test_the_audit_log_is_whole_and_in_order_over_many_pieces(self, cast, alice, monkeypatch):
        monkeypatch.setattr(reading, "_PIECE", 3)
        with tenant_scope(cast.acme):
            for number in range(10):
                audit.record("test:thing:done", actor=audit.SYSTEM, data={"n": number})
            size = AuditEvent.objects.count()
        found = [row["sequence"] for row in rows_of(alice.get(FILE))]

        assert found == list(range(1, size + 2))  # the export's own event included

    def test_a_formula_stays_text(self, cast, alice):
        decided(cast, agent='=HYPERLINK("http://evil.example")')
        [row] = csv.DictReader(io.StringIO(text_of(alice.get(FILE, {"what": "decisions", "format": "csv"}))))

        assert row["agent"].startswith("'=")


class TestAPI:
    def test_an_export_goes_on_after_the_last_row_and_loses_and_repeats_nothing(self, cast, program):
        made = [str(decided(cast, ago=timedelta(minutes=50 - number)).pk) for number in range(7)]
        seen: list[str] = []
        while True:
            rows = rows_of(program(LOG, what="decisions", limit=3, after=seen[-1] if seen else ""))
            if not rows:
                break
            seen += [row["call_id"] for row in rows]

        assert seen == made

    def test_calls_of_which_older_ones_may_still_come_wait(self, cast, program):
        decided(cast, ago=timedelta(seconds=10), tool="young")
        decided(cast, tool="settled")

        assert [row["tool"] for row in rows_of(program(LOG, what="decisions"))] == ["settled"]

    def test_the_audit_log_as_ocsf(self, cast, program):
        with tenant_scope(cast.acme):
            event = audit.record("access:grant:given", actor=audit.SYSTEM)
        rows = rows_of(program(LOG, format="ocsf", after=event.sequence - 1, limit=1))

        assert [row["metadata"]["event_code"] for row in rows] == ["access:grant:given"]
        assert rows[0]["metadata"]["tenant_uid"] == str(cast.acme.pk)

    @pytest.mark.parametrize(
        "query",
        [
            {"what": "x"}, {"format": "xml"}, {"after": "x"}, {"after": "1" * 30}, {"limit": "0"}, {"limit": "1e9"},
            {"what": "decisions", "after": "5"}, {"limit": "100001"}, {"after": "²"},
        ],
    )  # fmt: skip
    def test_what_is_not_understood_is_refused_by_its_name(self, cast, program, query):
        answer = program(LOG, **query)

        assert answer.status_code == 400
        assert answer.json()["field"] in query

    def test_the_newest_checkpoint(self, cast, program):
        with tenant_scope(cast.acme):
            audit.record("test:thing:done", actor=audit.SYSTEM)
            made = checkpoints.make()
        answer = program("/api/v1/audit/checkpoint/")

        assert checkpoints.read_ours(answer.content.decode()) == made


def test_a_file_streams_under_asgi_too(durable_db, monkeypatch):
    monkeypatch.setattr(reading, "_PIECE", 2)
    cast = Cast.load()
    with tenant_scope(cast.acme):
        for number in range(5):
            audit.record("test:thing:done", actor=audit.SYSTEM, data={"n": number})
        size = AuditEvent.objects.count()
    cookie = Client()
    cookie.force_login(cast.alice)

    async def fetch() -> bytes:
        browser = AsyncClient()
        browser.cookies = cookie.cookies
        answer = await browser.get(FILE, {"after": str(size - 5)})
        assert answer.is_async
        return b"".join([part async for part in answer.streaming_content])

    assert async_to_sync(fetch)().count(b"\n") == 5 + 1
