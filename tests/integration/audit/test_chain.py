from __future__ import annotations

import threading
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit import services as audit
from audit.models import AuditEvent
from tenants.context import platform_scope, tenant_scope
from tests.support.cast import Cast

HOMES = ["public", "acme"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(params=HOMES)
def home(request, cast):
    """Each of the two kinds of schema that hold audit events."""
    with platform_scope() if request.param == "public" else tenant_scope(cast.acme):
        yield connection.schema_name


def verify(schema: str) -> str:
    """What the command prints of one schema; it fails when the chain does not hold."""
    out = StringIO()
    call_command("audit_verify", schema=schema, stdout=out)
    return out.getvalue()


class TestAppendOnly:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE audit_auditevent SET action = 'x'",
            "DELETE FROM audit_auditevent",
            "TRUNCATE audit_auditevent",
            "INSERT INTO audit_auditevent SELECT * FROM audit_auditevent ON CONFLICT (id) DO UPDATE SET action = 'x'",
        ],
    )
    def test_events_are_never_changed_or_removed_not_even_by_the_owner(self, home, statement):
        audit.record("test:thing:done", actor=audit.SYSTEM)

        with pytest.raises(DatabaseError, match="never changed or removed"), transaction.atomic():
            connection.cursor().execute(statement)

    def test_events_of_an_organisation_do_not_show_in_another(self, cast):
        with tenant_scope(cast.acme):
            audit.record("test:thing:only_acme", actor=audit.SYSTEM)
        for scope in (platform_scope(), tenant_scope(cast.globex)):
            with scope:
                assert not AuditEvent.objects.filter(action="test:thing:only_acme").exists()


class TestRecord:
    @settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(JSON)
    def test_whatever_was_recorded_verifies(self, cast, value):
        with transaction.atomic():
            audit.record("test:thing:done", actor=audit.SYSTEM, data={"value": value})
            assert audit.verify()[1] is None
            transaction.set_rollback(True)

    def test_values_that_json_does_not_know_are_kept_as_text(self, cast):
        thing = uuid4()
        event = audit.record("test:thing:done", actor=audit.SYSTEM, data={"id": thing, "rate": 0.1, "bad": "a\x00b"})
        event.refresh_from_db()

        assert event.data == {"id": str(thing), "rate": "0.1", "bad": "ab"}

    def test_an_event_of_a_rolled_back_transaction_leaves_no_gap(self, home):
        with transaction.atomic():
            audit.record("test:thing:undone", actor=audit.SYSTEM)
            transaction.set_rollback(True)
        audit.record("test:thing:done", actor=audit.SYSTEM)

        assert audit.verify()[1] is None


class TestVerifyCommand:
    def test_it_counts_the_events_of_each_chain_that_holds(self, cast):
        out = StringIO()
        call_command("audit_verify", stdout=out)
        lines = out.getvalue().splitlines()

        assert {line.split(":")[0] for line in lines} >= {"public", cast.acme.schema_name, cast.globex.schema_name}
        assert all(line.endswith("chain holds") for line in lines)

    @pytest.mark.parametrize(
        ("statement", "why"),
        [
            ("UPDATE audit_auditevent SET actor_label = 'somebody else' WHERE sequence = %s", "was changed"),
            ("UPDATE audit_auditevent SET data = '{\"forged\": true}' WHERE sequence = %s", "was changed"),
            ("DELETE FROM audit_auditevent WHERE sequence = %s", "is missing"),
        ],
    )
    def test_it_finds_what_an_owner_changed_behind_the_triggers(self, home, statement, why):
        events = [audit.record("test:thing:done", actor=audit.SYSTEM, data={"n": n}) for n in range(3)]
        forced = events[1].sequence
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE audit_auditevent DISABLE TRIGGER USER")
            cursor.execute(statement, [forced])

        out = StringIO()
        with pytest.raises(CommandError, match=r"1 chain\(s\) do not verify"):
            call_command("audit_verify", stdout=out)

        assert f"{home}: broken at event {forced}" in out.getvalue()
        assert why in out.getvalue()


class TestParallelWriters:
    def test_eight_writers_make_one_chain_without_gaps_or_forks(self, durable_db):
        acme, mark, writers, each = Cast.load().acme, f"test:parallel:{uuid4().hex}", 8, 15
        failures: list[BaseException] = []

        def write() -> None:
            try:
                with tenant_scope(acme):
                    for number in range(each):
                        audit.record(mark, actor=audit.SYSTEM, data={"n": number})
            except BaseException as error:  # noqa: BLE001 - reported by the test
                failures.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=write) for _ in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert failures == []
        assert "chain holds" in verify(acme.schema_name)
        with tenant_scope(acme):
            assert AuditEvent.objects.filter(action=mark).count() == writers * each
