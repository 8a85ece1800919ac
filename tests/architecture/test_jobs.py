from __future__ import annotations

import ast

import pytest

import celery_app
from tests.architecture.source import Module, called_name, outside


def enqueued() -> list[tuple[Module, ast.Call]]:
    return [
        (module, node)
        for module in outside("core/jobs.py")
        for node in module.nodes()
        if isinstance(node, ast.Call) and called_name(node) == "enqueue"
    ]


@pytest.fixture(scope="module")
def registered() -> set[str]:
    celery_app.app.loader.import_default_modules()
    return {name for name in celery_app.app.tasks if not name.startswith("celery.")}


class TestEnqueuedJobs:
    def test_each_is_named_by_a_constant(self):
        assert [m.at(c) for m, c in enqueued() if not (c.args and isinstance(c.args[0], ast.Constant))] == []

    def test_each_exists(self, registered):
        named = {call.args[0].value for _, call in enqueued()}

        assert named - registered == set()

    def test_each_belongs_to_the_app_that_enqueues_it(self):
        assert [m.at(c) for m, c in enqueued() if not str(c.args[0].value).startswith(f"{m.app}.")] == []


class TestSchedule:
    def test_each_scheduled_job_exists(self, registered):
        scheduled = {entry["task"] for entry in celery_app.app.conf.beat_schedule.values()}

        assert scheduled - registered == set()


class TestRegisteredJobs:
    def test_each_is_named_by_its_app_and_a_verb(self, registered):
        named = {celery_app.app.tasks[name].__module__.partition(".")[0]: name for name in registered}

        assert {app: name for app, name in named.items() if app != "tests" and not name.startswith(f"{app}.")} == {}

    def test_each_has_a_limit_of_time_and_of_retries(self, registered):
        jobs = [celery_app.app.tasks[name] for name in registered]

        assert [job.name for job in jobs if not job.time_limit or job.max_retries is None] == []
