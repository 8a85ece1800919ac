"""Requests, jobs and coroutines of three organisations at the same time: none ever sees another's row.

The last tests plant the patterns that are known to leak, and the harness catches them.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from contextlib import suppress

import httpx
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.asgi import get_asgi_application
from django.db import DatabaseError, connection, connections, transaction
from django.test import Client

from notifications.models import Notification
from tenants.context import run_in_tenant
from tenants.jobs import tenant_task
from tenants.models import Tenant
from tests.isolation.canaries import Flock, flock
from tests.support.cast import Cast
from tests.support.probe_urls import place, titles

pytestmark = pytest.mark.urls("tests.support.probe_urls")

AT_ONCE = 8
HOWS = ("ok", "exception", "savepoint", "rollback", "slow", "cancel", "inbox")


@pytest.fixture
def birds(durable_db):
    cast = Cast.load()
    with flock([cast.acme, cast.globex, cast.initech]) as made:
        yield made


@pytest.fixture
def cookies(birds) -> dict[str, str]:
    """Signed-in browsers of one member of each organisation."""
    cast, found = Cast.load(), {}
    for slug, person in {"acme": cast.alice, "globex": cast.charlie, "initech": cast.diana}.items():
        browser = Client()
        browser.force_login(person)
        found[slug] = f"session={browser.cookies['session'].value}"
    return found


class TestRequests:
    def test_concurrent_requests_of_three_organisations_see_their_own_rows_only(self, birds, cookies):
        """Sound, failing, rolled back and abandoned requests, mixed, through the ASGI application."""
        application = get_asgi_application()
        jobs = [(tenant, how) for _ in range(8) for tenant in birds.tenants for how in HOWS]
        random.Random(7).shuffle(jobs)

        async def main() -> None:
            limit = asyncio.Semaphore(AT_ONCE)
            transport = httpx.ASGITransport(application, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
                await asyncio.gather(*(one(client, limit, *job) for job in jobs))

        async def one(client: httpx.AsyncClient, limit: asyncio.Semaphore, tenant: Tenant, how: str) -> None:
            path = f"/o/{tenant.slug}/canaries/{how}/"
            headers = {"cookie": cookies[tenant.slug]}
            async with limit:
                if how == "cancel":
                    await abandon(application, path.replace("cancel", "slow"), headers["cookie"])
                elif how == "exception":
                    assert (await client.get(path, headers=headers)).status_code == 500
                elif how == "inbox":
                    answer = await client.get(f"/o/{tenant.slug}/notifications/", headers=headers)
                    assert answer.status_code == 200
                    assert not any(word in answer.text for slug, word in birds.words.items() if slug != tenant.slug)
                else:
                    birds.note(tenant, (await client.get(path, headers=headers)).json()["titles"])

        asyncio.run(main())

        assert birds.report.clean(least=96)
        assert place() == {"schema": "public", "viewer": ""}


async def abandon(application, path: str, cookie: str) -> None:
    """A request whose client goes away while it is served."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"cookie", cookie.encode())],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, object]:
        message = next(messages)
        if message["type"] == "http.disconnect":
            await asyncio.sleep(0.02)
        return message

    async def send(message: dict[str, object]) -> None:
        return None

    await application(scope, receive, send)


class TestJobs:
    def test_jobs_on_reused_threads_see_their_own_rows_only(self, birds):
        """A worker's threads keep their connections from job to job, also when a job fails or Postgres refuses."""

        @tenant_task("tenants.look_for_canaries", max_retries=0)
        def look(tenant: Tenant, how: str) -> None:
            with transaction.atomic():
                birds.note(tenant, titles())
            if how == "fail":
                raise RuntimeError
            if how == "refused":
                connection.cursor().execute("SELECT 1 / 0")
            if how == "rollback":
                with transaction.atomic():
                    titles()
                    transaction.set_rollback(True)
            birds.note(tenant, titles())

        hows = ["ok", "fail", "refused", "rollback"]

        def work(seed: int) -> None:
            choose = random.Random(seed)
            try:
                for _ in range(40):
                    with suppress(RuntimeError, DatabaseError):
                        look.run(tenant_id=str(choose.choice(birds.tenants).pk), how=choose.choice(hows))
            finally:
                connections.close_all()

        in_threads(work, range(6))

        assert birds.report.clean(least=240)


class TestCoroutines:
    def test_concurrent_coroutines_see_their_own_rows_only(self, birds):
        async def main() -> None:
            tenants = list(itertools.islice(itertools.cycle(birds.tenants), 150))
            await asyncio.gather(*(one(number, tenant) for number, tenant in enumerate(tenants)))

        async def one(number: int, tenant: Tenant) -> None:
            await asyncio.sleep(number % 7 / 1000)
            reading = asyncio.create_task(run_in_tenant(tenant, lambda t: titles()))
            if number % 5 == 0:
                await asyncio.sleep(0)
                reading.cancel()
                with suppress(asyncio.CancelledError):
                    await reading
                return
            birds.note(tenant, await reading)

        async_to_sync(main)()

        assert birds.report.clean(least=120)


class TestTheHarness:
    """What it must catch. These patterns are wrong on purpose."""

    def test_it_catches_a_schema_set_in_one_step_and_used_in_the_next(self, birds: Flock):
        async def leaky(tenant: Tenant) -> None:
            await sync_to_async(lambda: connection.set_schema(tenant.schema_name))()
            await asyncio.sleep(0.01)
            birds.note(tenant, [row.title async for row in Notification.objects.all()])

        self.run(leaky, birds)

        assert birds.report.foreign > 0

    def test_it_catches_a_schema_set_on_the_connection_of_another_thread(self, birds: Flock):
        async def lost(tenant: Tenant) -> None:
            await sync_to_async(connection.set_schema)(tenant.schema_name)
            await asyncio.sleep(0.01)
            birds.note(tenant, [row.title async for row in Notification.objects.all()])

        self.run(lost, birds)

        assert birds.report.foreign + birds.report.missing > 0

    def test_it_catches_a_thread_that_is_reused_without_a_scope(self, birds: Flock):
        def forgetful(_: int) -> None:
            try:
                for tenant in birds.tenants:
                    birds.note(tenant, titles())  # the row of whoever was here before
                    connection.set_schema(tenant.schema_name)
            finally:
                connections.close_all()

        in_threads(forgetful, range(1))

        assert birds.report.foreign > 0

    @staticmethod
    def run(reader, birds: Flock) -> None:
        async def main() -> None:
            await asyncio.gather(*(reader(tenant) for tenant in birds.tenants * 5))

        try:
            async_to_sync(main)()
        finally:
            connection.set_schema_to_public()


def in_threads(work, arguments) -> None:
    failures: list[BaseException] = []

    def guarded(argument: int) -> None:
        try:
            work(argument)
        except BaseException as error:  # noqa: BLE001 - reported by the test
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
