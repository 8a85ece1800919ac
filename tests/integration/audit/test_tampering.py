"""What somebody who owns the database does to a log is named by the verifier: the row, and what was done to it."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.conf import settings as conf
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from audit import services as audit
from audit.chain import GENESIS, Kind, Point, digest, head_mark
from audit.models import AuditCheckpoint, AuditEvent, AuditHead
from audit.services import checkpoints
from audit.services.events import content_of
from audit.services.verification import verify
from audit.statements import NotAStatementError, Signer, StatementKind, read
from core import clock
from tenants.context import platform_scope, tenant_scope
from tests.support.cast import Cast


@pytest.fixture(params=["public", "acme"])
def home(request, cast, settings, tmp_path):
    """Each of the two kinds of schema with a log, checkpoints going to a folder of the test."""
    settings.AUDIT_ANCHOR_DIR = tmp_path
    with platform_scope() if request.param == "public" else tenant_scope(cast.acme):
        yield connection.schema_name


@pytest.fixture
def first(home) -> int:
    """The number of the first of ten events."""
    events = [audit.record("test:thing:done", actor=audit.SYSTEM, data={"n": n}) for n in range(10)]
    return events[0].sequence


def force(*statements: str) -> None:
    """Do what only the owner of the database can, behind the triggers."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE audit_auditevent DISABLE TRIGGER USER")
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("ALTER TABLE audit_auditevent ENABLE TRIGGER USER")


def found() -> tuple[int, Kind] | None:
    broken = verify()[1]
    return (broken.sequence, broken.kind) if broken else None


def rewrite_from(number: int, **changes: object) -> None:
    """Forge with the key of the chain: change a row and hash it and all after it anew, the mark of the end included."""
    rows = list(AuditEvent.objects.filter(sequence__gte=number).order_by("sequence"))
    previous = bytes(rows[0].previous_hash)
    force()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_auditevent DISABLE TRIGGER USER")
    for row in rows:
        if row.sequence == number:
            for name, value in changes.items():
                setattr(row, name, value)
        row.previous_hash = previous
        row.hash = previous = digest(conf.AUDIT_KEY, previous, content_of(row))
        row.save()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_auditevent ENABLE TRIGGER USER")
    set_head(Point(rows[-1].sequence, previous))


def set_head(end: Point) -> None:
    mark = head_mark(conf.AUDIT_KEY, connection.schema_name, end)
    AuditHead.objects.update(sequence=end.sequence, hash=end.hash, mark=mark)


class TestRows:
    def test_nothing_done_is_nothing_found(self, first):
        checkpoints.make()
        assert verify()[1] is None

    def test_an_edited_row(self, first):
        force(f"UPDATE audit_auditevent SET actor_label = 'somebody else' WHERE sequence = {first + 3}")
        assert found() == (first + 3, Kind.EDITED)

    def test_a_row_whose_hash_was_made_up_too(self, first):
        force(
            f"UPDATE audit_auditevent SET action = 'x', hash = decode(repeat('ab', 32), 'hex') WHERE sequence = {first}"
        )
        assert found() == (first, Kind.EDITED)

    def test_a_deleted_row(self, first):
        force(f"DELETE FROM audit_auditevent WHERE sequence = {first + 4}")
        assert found() == (first + 4, Kind.DELETED)

    def test_a_deleted_row_whose_gap_was_closed(self, first):
        force(
            f"DELETE FROM audit_auditevent WHERE sequence = {first + 4}",
            *(
                f"UPDATE audit_auditevent SET sequence = {n - 1} WHERE sequence = {n}"
                for n in range(first + 5, first + 10)
            ),
        )
        assert found() == (first + 4, Kind.DELETED)

    @pytest.mark.parametrize("apart", [1, 4])
    def test_two_swapped_rows(self, first, apart):
        one, other = first + 2, first + 2 + apart
        force(
            f"UPDATE audit_auditevent SET sequence = -1 WHERE sequence = {one}",
            f"UPDATE audit_auditevent SET sequence = {one} WHERE sequence = {other}",
            f"UPDATE audit_auditevent SET sequence = {other} WHERE sequence = -1",
        )
        assert found() == (one, Kind.MOVED)

    def test_an_inserted_row(self, first):
        columns = "occurred_at, actor_type, actor_id, actor_label, action, target_type, target_id, target_label, data, request_id"
        force(
            *(
                f"UPDATE audit_auditevent SET sequence = {n + 1} WHERE sequence = {n}"
                for n in range(first + 9, first + 4, -1)
            ),
            f"INSERT INTO audit_auditevent (id, sequence, {columns}, previous_hash, hash) SELECT gen_random_uuid(), {first + 5},"
            f" {columns}, hash, decode(repeat('cd', 32), 'hex') FROM audit_auditevent WHERE sequence = {first + 4}",
        )
        assert found() == (first + 5, Kind.INSERTED)

    @pytest.mark.parametrize("count", [1, 4])
    def test_rows_cut_off_at_the_end(self, first, count):
        force(f"DELETE FROM audit_auditevent WHERE sequence >= {first + 10 - count}")
        assert found() == (first + 10 - count, Kind.TRUNCATED)

    def test_everything_cut_off(self, first):
        force("DELETE FROM audit_auditevent")
        assert found() == (1, Kind.TRUNCATED)

    def test_the_oldest_rows_cut_off(self, first):
        force(f"DELETE FROM audit_auditevent WHERE sequence <= {first}")
        assert found() == (1, Kind.DELETED)

    def test_a_mark_of_the_end_that_was_set_back_with_the_rows(self, first):
        row = AuditEvent.objects.get(sequence=first + 5)
        force(f"DELETE FROM audit_auditevent WHERE sequence > {first + 5}")
        AuditHead.objects.update(sequence=row.sequence, hash=bytes(row.hash))
        assert found() == (first + 5, Kind.FORGED)

    def test_a_mark_of_the_end_that_was_taken_away(self, first):
        AuditHead.objects.all().delete()
        assert found() == (0, Kind.FORGED)

    def test_the_command_and_the_reason_name_the_row_and_the_kind(self, home, first):
        force(f"DELETE FROM audit_auditevent WHERE sequence >= {first + 8}")
        out = StringIO()
        with pytest.raises(CommandError):
            call_command("audit_verify", schema=home, stdout=out)

        assert f"{home}: broken at event {first + 8}: rows {first + 8} to {first + 9} are cut off" in out.getvalue()
        assert "(truncated)" in out.getvalue()


class TestAgainstTheKeyHolder:
    """Somebody with the database and the key of the chain is found by what was signed and kept outside."""

    def test_a_log_written_anew_is_found_by_a_checkpoint(self, first):
        checkpoints.make()
        rewrite_from(first + 2, actor_label="somebody else")
        assert found() == (first + 9, Kind.REWRITTEN)

    def test_without_a_checkpoint_it_would_not_be(self, first):
        """Guards the guard: the forgery above is as good as it can be."""
        rewrite_from(first + 2, actor_label="somebody else")
        assert found() is None

    def test_rows_cut_off_with_their_mark_and_their_checkpoints_are_found_by_the_file(
        self, first, django_capture_on_commit_callbacks
    ):
        with django_capture_on_commit_callbacks(execute=True):
            checkpoints.make()
        AuditCheckpoint.objects.all().delete()
        row = AuditEvent.objects.get(sequence=first + 5)
        force(f"DELETE FROM audit_auditevent WHERE sequence > {first + 5}")
        set_head(Point(row.sequence, bytes(row.hash)))

        assert found() == (first + 6, Kind.TRUNCATED)

    def test_and_by_a_checkpoint_that_somebody_else_kept(self, home, first, tmp_path):
        kept = tmp_path / "kept.jsonl"
        kept.write_text(checkpoints.make().line() + "\n")
        AuditCheckpoint.objects.all().delete()
        rewrite_from(first + 9, actor_label="somebody else")
        assert found() is None

        out = StringIO()
        with pytest.raises(CommandError):
            call_command("audit_verify", schema=home, checkpoints=[str(kept)], stdout=out)
        assert f"broken at event {first + 9}" in out.getvalue()
        assert "(rewritten)" in out.getvalue()


class TestCheckpoints:
    def test_one_is_made_only_when_the_log_grew(self, first):
        assert checkpoints.make().point.sequence == first + 9
        assert checkpoints.make() is None
        audit.record("test:thing:done", actor=audit.SYSTEM)
        assert checkpoints.make().point.sequence == first + 10
        assert checkpoints.newest().point.sequence == first + 10

    def test_they_are_lines_of_one_file_a_log(self, home, first, tmp_path, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks(execute=True):
            checkpoints.make()
            audit.record("test:thing:done", actor=audit.SYSTEM)
            checkpoints.make()
        lines = (tmp_path / f"{home}.jsonl").read_text().splitlines()

        assert [read(line, [checkpoints.signer().public]).point.sequence for line in lines] == [first + 9, first + 10]
        assert verify()[1] is None

    def test_a_line_that_a_crash_cut_short_is_no_alarm_and_a_changed_one_is(
        self, home, first, tmp_path, django_capture_on_commit_callbacks
    ):
        with django_capture_on_commit_callbacks(execute=True):
            checkpoints.make()
        path = tmp_path / f"{home}.jsonl"
        whole = path.read_text()
        path.write_text(whole + whole[:50])
        assert found() is None
        path.write_text(whole.replace('"kind":"head"', '"kind":"cut"'))
        assert found() == (0, Kind.FORGED)

    def test_one_of_another_key_or_changed_is_none_of_ours(self, first):
        line = checkpoints.make().line()
        other = Signer(b"o" * 32).sign(StatementKind.HEAD, "public", Point(1, GENESIS), clock.now())
        changed = {**json.loads(line), "sequence": 1}
        for text in (other.line(), json.dumps(changed), "", "{}", "[]", "null", '"x"', line[:-2]):
            with pytest.raises(NotAStatementError):
                read(text, [checkpoints.signer().public])

    def test_a_folder_that_cannot_be_written_to_stops_nobody(
        self, first, settings, tmp_path, caplog, django_capture_on_commit_callbacks
    ):
        (tmp_path / "file").touch()
        settings.AUDIT_ANCHOR_DIR = tmp_path / "file"
        with django_capture_on_commit_callbacks(execute=True):
            assert checkpoints.make() is not None

        assert "audit checkpoint not anchored" in caplog.text

    def test_old_ones_are_thinned_to_one_a_day(self, home, first):
        for days in (30, 30, 29, 1):
            audit.record("test:thing:done", actor=audit.SYSTEM)
            checkpoints.make()
            AuditCheckpoint.objects.filter(pk=AuditCheckpoint.objects.first().pk).update(
                at=clock.now() - timedelta(days=days)
            )
        before = AuditCheckpoint.objects.count()
        assert checkpoints.thin_out() == 1
        assert AuditCheckpoint.objects.count() == before - 1
        assert verify()[1] is None


class TestCuts:
    def test_rows_before_a_signed_cut_may_go_and_the_rest_verifies(self, first):
        row = AuditEvent.objects.get(sequence=first + 3)
        checkpoints.state(StatementKind.CUT, Point(row.sequence, bytes(row.hash)))
        AuditEvent.objects.filter(sequence__lte=first + 3).delete()

        assert verify()[1] is None
        audit.record("test:thing:done", actor=audit.SYSTEM)
        assert verify()[1] is None

    def test_rows_after_it_may_not(self, first):
        row = AuditEvent.objects.get(sequence=first + 3)
        checkpoints.state(StatementKind.CUT, Point(row.sequence, bytes(row.hash)))
        with pytest.raises(DatabaseError, match="never changed or removed"), transaction.atomic():
            AuditEvent.objects.filter(sequence__lte=first + 4).delete()

    def test_a_cut_that_nobody_signed_is_found(self, first):
        row = AuditEvent.objects.get(sequence=first + 3)
        forged = Signer(b"o" * 32).sign(
            StatementKind.CUT, connection.schema_name, Point(row.sequence, bytes(row.hash)), clock.now()
        )
        AuditCheckpoint.objects.create(kind="cut", sequence=row.sequence, statement=forged.line())
        AuditEvent.objects.filter(sequence__lte=first + 3).delete()

        assert found() == (1, Kind.DELETED)


def test_a_log_of_another_organisation_is_none_of_its_checkpoints(cast):
    with tenant_scope(cast.acme):
        audit.record("test:thing:done", actor=audit.SYSTEM)
        statement = checkpoints.make() or checkpoints.newest()
    with tenant_scope(Cast.load().globex):
        assert verify([statement])[1] is None
