from __future__ import annotations

from datetime import timedelta

import pytest

from catalog.choices import Status
from catalog.models import Server
from catalog.services import importing
from core import clock
from repositories.choices import RunState, SyncStatus
from repositories.errors import SourceBusyError, SourceInvalidError
from repositories.services import sync
from tests.integration.repositories.conftest import add, go_on, read
from tests.support.registries import START, make_row

HOUR = timedelta(hours=1, seconds=1)


def later(source, passed=HOUR):
    """Pretend that the last reading was longer ago."""
    source.last_sync = source.last_sync - passed
    source.save()


def names(source) -> set[str]:
    return importing.names_of(source.pk)


def shown() -> set[str]:
    return set(
        Server.objects.filter(registry_name__startswith="io.github.sample/")
        .exclude(status=Status.REMOVED)
        .values_list("registry_name", flat=True)
    )


@pytest.mark.usefixtures("platform")
class TestOfficialRegistry:
    def test_a_first_reading_takes_every_version_page_by_page(self, official):
        official.page_max = 4

        run = read(source := add("official", official.url))

        assert (run.state, run.read, run.created, run.batches) == (RunState.SUCCESS, 14, 14, 4)
        assert run.problems == []
        assert names(source) == shown() == {f"io.github.sample/server-{n:03}" for n in range(7)}
        assert (run.repository.sync_status, run.repository.server_count) == (SyncStatus.SUCCESS, 7)

    def test_a_registry_of_the_older_api_is_read_too(self, official):
        run = read(add("official", f"{official.url}/v0"))

        assert run.state == RunState.SUCCESS
        assert {path for path, _, _ in official.asked} == {"/v0/servers"}

    def test_the_next_reading_asks_for_changes_only(self, official):
        read(source := add("official", official.url))
        source.refresh_from_db()
        later(source)
        official.put(make_row("io.github.sample/server-100", at=START + timedelta(hours=1)))
        official.asked.clear()

        run = read(source)

        assert not run.full
        assert official.asked[0][1]["updated_since"].startswith("2026-03-01T09:08")
        assert run.created == 1
        assert "io.github.sample/server-100" in shown()

    def test_what_is_deleted_upstream_is_hidden_and_what_is_deprecated_is_marked(self, official):
        read(source := add("official", official.url))
        source.refresh_from_db()
        later(source)
        at = START + timedelta(hours=1)
        official.change_status("io.github.sample/server-001", "deleted", at=at)
        official.change_status("io.github.sample/server-002", "deprecated", at=at)

        read(source)

        assert "io.github.sample/server-001" not in shown()
        assert Server.objects.get(registry_name="io.github.sample/server-002").upstream_status == "deprecated"

    def test_a_full_reading_withdraws_what_is_no_longer_listed(self, official):
        read(source := add("official", official.url))
        source.refresh_from_db()
        later(source)
        official.rows = [row for row in official.rows if not row["server"]["name"].endswith("003")]

        run = read(source, full=True)

        assert "io.github.sample/server-003" not in names(source)
        assert "io.github.sample/server-003" not in shown()
        assert run.removed == 1
        assert "io.github.sample/server-003" not in shown()
        assert run.repository.server_count == 6

    def test_a_source_that_lists_nothing_any_more_is_not_believed(self, official):
        read(source := add("official", official.url))
        source.refresh_from_db()
        later(source)
        official.rows = []

        run = read(source, full=True)

        assert run.state == RunState.FAILED
        assert "Nothing was withdrawn" in run.repository.sync_error
        assert len(shown()) == 7

    def test_it_is_asked_at_most_once_an_hour(self, official):
        read(source := add("official", official.url))

        with pytest.raises(SourceBusyError, match="once an hour"):
            read(source)

    def test_pages_that_go_in_circles_end_the_reading_and_withdraw_nothing(self, official):
        official.page_max = 4
        read(source := add("official", official.url))
        source.refresh_from_db()
        later(source)
        official.faults = {official.listed + 1: "repeat"}

        run = read(source, full=True)

        assert run.state == RunState.SUCCESS
        assert "go in circles" in run.problems[0]["reason"]
        assert "stay listed" in run.note
        assert len(shown()) == 7

    def test_a_page_that_fails_pauses_the_run_which_goes_on_at_its_cursor(self, official):
        official.page_max = 4
        official.faults = dict.fromkeys((2, 3, 4), "fail")
        source = add("official", official.url)

        run = read(source)
        assert (run.state, run.batches) == (RunState.PAUSED, 2)
        official.faults = {}
        asked = len(official.asked)
        with clock.frozen(run.resume_at + timedelta(seconds=1)):
            run = go_on(run)

        assert run.state == RunState.SUCCESS
        assert len(official.asked) - asked == 2
        assert official.asked[asked][1]["cursor"]
        assert len(shown()) == 7

    def test_a_registry_that_asks_for_patience_gets_it(self, official):
        official.faults = {0: "limit"}

        run = read(add("official", official.url))

        assert run.state == RunState.SUCCESS
        assert official.listed == 2

    @pytest.mark.parametrize("fault", ["garbage", "truncate", "refuse_cursor", "fail"])
    def test_a_registry_that_never_answers_well_fails_with_a_reason(self, official, fault):
        official.always = fault
        run = read(source := add("official", official.url))

        for _ in range(10):
            if run.state != RunState.PAUSED:
                break
            with clock.frozen(run.resume_at + timedelta(seconds=1)):
                run = go_on(run)

        source.refresh_from_db()
        assert run.state == RunState.FAILED
        assert source.sync_status == SyncStatus.FAILED
        assert "127.0.0.1" in source.sync_error
        assert source.next_sync > clock.now()

    def test_poisoned_entries_cost_only_themselves(self, official):
        good = make_row("io.github.sample/good")
        official.rows = [
            make_row("io.github.sample/nul", description="a\x00b"),
            make_row("io.github.sample/half", description="\ud800"),
            {"server": {"name": 7}, "_meta": {}},
            {"server": "nothing"},
            make_row("io.github.sample/huge", description="x" * 400_000),
            make_row("io.github.sample/" + "n" * 300),
            make_row("io.github.sample/deep", extra=_deep(60)),
            good,
        ]
        for row in official.rows:
            row.setdefault("_meta", good["_meta"])
            row["_meta"] = row["_meta"] or good["_meta"]
        official.answer = lambda path, query: (200, {"servers": official.rows, "metadata": {"count": 8}})

        run = read(source := add("official", official.url))

        assert run.state == RunState.SUCCESS
        assert "io.github.sample/good" in names(source)
        assert run.problem_count >= 3
        assert all(problem["reason"] for problem in run.problems)

    def test_a_worker_that_lost_its_run_keeps_nothing(self, official):
        official.page_max = 4
        source = add("official", official.url)
        run = sync.begin(source, reason="asked")
        taken = sync._claim(run.pk)
        assert taken is not None
        with clock.frozen(clock.now() + sync.LEASE + timedelta(seconds=1)):
            again = sync._claim(run.pk)
        assert again is not None

        with pytest.raises(sync.LeaseLostError):
            sync._step(taken, taken.lease, 60)

        assert names(source) == set()

    def test_a_step_ends_in_time_and_the_next_goes_on(self, official):
        official.page_max = 4
        source = add("official", official.url)
        run = sync.begin(source, reason="asked")

        assert sync.work(run.pk, step_s=0) is True
        run.refresh_from_db()
        assert (run.state, run.batches) == (RunState.WAITING, 1)
        run = go_on(run)

        assert (run.state, run.batches) == (RunState.SUCCESS, 4)
        assert official.listed == 4

    def test_a_stopped_reading_keeps_what_it_had(self, official):
        official.page_max = 4
        run = sync.begin(source := add("official", official.url), reason="asked")
        sync.work(run.pk, step_s=0)

        assert sync.cancel(source) is True
        assert sync.work(run.pk) is False
        assert len(names(source)) == 2

    def test_one_reading_at_a_time(self, official):
        source = add("official", official.url)
        sync.begin(source, reason="asked")

        with pytest.raises(SourceBusyError):
            sync.begin(source, reason="scheduled")

    def test_a_source_that_is_turned_off_is_not_read(self, official):
        with pytest.raises(SourceInvalidError, match="turned off"):
            read(add("official", official.url, enabled=False))


@pytest.mark.usefixtures("platform")
class TestSchedule:
    def test_what_is_due_begins_and_a_source_that_cannot_begin_keeps_no_other_waiting(self, official, settings):
        bad = add("http", "http://127.0.0.1:1/none.json", name="Bad")
        good = add("official", official.url, name="Good")
        for source in (bad, good):
            source.auto_sync = True
            source.save()

        assert sync.begin_due() == 2
        for run_id in sync.resumable():
            sync.work(run_id)

        bad.refresh_from_db()
        good.refresh_from_db()
        assert (bad.runs.get().state, good.runs.get().state) == (RunState.FAILED, RunState.SUCCESS)
        assert bad.sync_status == SyncStatus.FAILED
        assert sync.begin_due() == 0

    def test_a_success_is_fresh_for_the_interval(self, official):
        read(source := add("official", official.url, sync_interval_hours=5))
        source.refresh_from_db()

        assert abs(source.next_sync - source.last_sync - timedelta(hours=5)) < timedelta(seconds=5)


def _deep(levels):
    value = {}
    for _ in range(levels):
        value = {"down": value}
    return value
