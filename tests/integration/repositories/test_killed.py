"""A worker that is killed in the middle of a reading costs one batch: the next goes on at the cursor that was kept."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

from django.db import connection

from catalog.services import importing
from core import clock
from core.ids import uuid7
from repositories.choices import RunState
from repositories.models import SyncRun
from repositories.services import settling, sources, sync
from tenants.context import platform_scope
from tests.integration.repositories.conftest import OPERATOR, add
from tests.support.processes import wait_until
from tests.support.registries import make_row, running_registry

WORKER = """
import sys
import django
django.setup()
from repositories.services import sync
from tenants.context import platform_scope
with platform_scope():
    sync.work(sys.argv[1])
"""


def database_url() -> str:
    values = connection.settings_dict
    return f"postgresql://{values['USER']}:{values['PASSWORD']}@{values['HOST']}:{values['PORT']}/{values['NAME']}"


def test_a_killed_worker_costs_one_batch(durable_db, settings):
    word = f"killed{uuid7().hex[-12:]}"
    with running_registry([make_row(f"io.github.{word}/server-{n:02}") for n in range(12)]) as registry:
        registry.page_max, registry.faults = 3, {2: "stall"}
        allow = f"127.0.0.1:{registry.port}"
        settings.EGRESS_ALLOW = [allow]
        source = add("official", registry.url, name=word)
        with platform_scope():
            run = sync.begin(source, reason="asked")
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "marketplace.settings",
            "DATABASE_URL": database_url(),
            "MARKETPLACE_EGRESS_ALLOW": allow,
        }
        worker = subprocess.Popen([sys.executable, "-c", WORKER, str(run.pk)], env=environment)
        try:
            wait_until(lambda: registry.listed == 3 or worker.poll() is not None, "the third page to be asked for")
        finally:
            worker.kill()
            worker.wait()

        with platform_scope():
            try:
                left = SyncRun.objects.get(pk=run.pk)
                assert (left.state, left.batches, left.read) == (RunState.RUNNING, 2, 6)
                assert len(importing.names_of(source.pk)) == 6
                assert sync.work(run.pk) is False, "another worker has it, as far as anybody knows"
                registry.faults = {}
                asked = len(registry.asked)
                with clock.frozen(clock.now() + sync.LEASE + timedelta(seconds=1)):
                    assert run.pk in sync.resumable()
                    sync.work(run.pk)

                left.refresh_from_db()
                assert (left.state, left.batches, left.created) == (RunState.SUCCESS, 4, 12)
                assert registry.asked[asked][1]["cursor"] == f"io.github.{word}/server-05:1.0.0"
                assert len(importing.names_of(source.pk)) == 12
            finally:
                sources.remove(OPERATOR, source.pk)
                settling.settle(source.pk)
