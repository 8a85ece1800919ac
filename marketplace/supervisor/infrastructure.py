"""The database and the broker: ours, unless the environment names others.

`embedded()` is the door for tests and benchmarks: only the two servers, in a folder of the caller's.
"""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from marketplace.supervisor import postgres, valkey
from marketplace.supervisor.concurrency import settle
from marketplace.supervisor.datafolder import DataFolder
from marketplace.supervisor.errors import StartError
from marketplace.supervisor.group import ProcessGroup
from marketplace.supervisor.placement import choose_home, unprivileged_user
from marketplace.supervisor.postgres import Postgres
from marketplace.supervisor.valkey import Valkey

_EXTERNAL_TIMEOUT_S = 5


@dataclass(frozen=True, kw_only=True)
class Infrastructure:
    database_url: str
    redis_url: str

    def environment(self) -> dict[str, str]:
        return {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}


async def start_database(group: ProcessGroup, environ: Mapping[str, str], *, throwaway: bool = False) -> str:
    """The address of a database that answers."""
    external = environ.get("DATABASE_URL")
    if external:
        await _check_database(external)
        return external
    secrets, user = group.folder.secrets(), unprivileged_user()
    server = Postgres(
        home=choose_home(group.folder.path, user, secrets["INSTANCE"]),
        user=user,
        port=group.folder.port("postgres"),
        superuser_password=secrets["POSTGRES_SUPERUSER_PASSWORD"],
        password=secrets["POSTGRES_PASSWORD"],
        throwaway=throwaway,
    )
    return (await postgres.start(group, server)).url


async def start_broker(group: ProcessGroup, environ: Mapping[str, str], *, throwaway: bool = False) -> str:
    """The address of a Redis or Valkey that answers."""
    external = environ.get("REDIS_URL")
    if external:
        await _check_broker(external)
        return external
    secrets, user = group.folder.secrets(), unprivileged_user()
    server = Valkey(
        home=choose_home(group.folder.path, user, secrets["INSTANCE"]),
        user=user,
        port=group.folder.port("valkey"),
        password=secrets["VALKEY_PASSWORD"],
        throwaway=throwaway,
    )
    return (await valkey.start(group, server)).url


async def _check_database(url: str) -> None:
    try:
        connection = await psycopg.AsyncConnection.connect(url, connect_timeout=_EXTERNAL_TIMEOUT_S)
        await connection.close()
    except psycopg.Error as error:
        # The first line names host and cause and never the password.
        cause = str(error).strip().split("\n", 1)[0]
        message = f"DATABASE_URL is not reachable ({cause}): start that server, correct the address, or unset it."
        raise StartError(message) from error


async def _check_broker(url: str) -> None:
    # Half a second of start is saved when the embedded server makes the client library unnecessary.
    import redis.asyncio as redis  # noqa: PLC0415

    try:
        async with redis.Redis.from_url(url, socket_connect_timeout=_EXTERNAL_TIMEOUT_S) as client:
            await client.ping()
    except (redis.RedisError, OSError, ValueError) as error:
        message = f"REDIS_URL is not reachable ({error}): start that server, correct the address, or unset it."
        raise StartError(message) from error


async def broker_answers(url: str) -> bool:
    """Whether the broker, embedded or not, does what it is for at this moment."""
    try:
        async with asyncio.timeout(_EXTERNAL_TIMEOUT_S):
            await _check_broker(url)
    except (StartError, TimeoutError):
        return False
    return True


@contextmanager
def embedded(data: Path, *, throwaway: bool = True) -> Iterator[Infrastructure]:
    """Run both embedded servers on a folder as long as the block runs.

    `throwaway` trades durability for speed and lets the role create databases, as test runs need.
    Both servers are supervised: killed inside the block, they come back on the same address.
    """
    started: Future[Infrastructure] = Future()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def run() -> None:
        group = ProcessGroup(_claimed(data))
        try:
            started.set_result(await _start_both(group, throwaway=throwaway))
            await stop.wait()
        finally:
            await group.stop()
            group.folder.release()

    def serve() -> None:
        try:
            loop.run_until_complete(run())
        # Handed to the caller, who waits on the future.
        except BaseException as error:  # noqa: BLE001
            if not started.done():
                started.set_exception(error)
        finally:
            loop.close()

    thread = threading.Thread(target=serve, name="embedded servers")
    thread.start()
    try:
        yield started.result()
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        thread.join()


def _claimed(data: Path) -> DataFolder:
    folder = DataFolder(data.resolve())
    folder.prepare()
    folder.claim()
    ProcessGroup(folder).reap()
    return folder


async def _start_both(group: ProcessGroup, *, throwaway: bool) -> Infrastructure:
    starting = [
        asyncio.create_task(start_database(group, {}, throwaway=throwaway)),
        asyncio.create_task(start_broker(group, {}, throwaway=throwaway)),
    ]
    try:
        database, broker = await asyncio.gather(*starting)
    finally:
        await settle(*starting)
    return Infrastructure(database_url=database, redis_url=broker)
