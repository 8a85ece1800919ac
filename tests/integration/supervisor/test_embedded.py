"""The embedded servers, for real."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from marketplace.supervisor.datafolder import DataFolder, read_json
from marketplace.supervisor.infrastructure import Infrastructure, embedded
from tests.support.processes import wait_until, wait_until_gone
from tests.support.stack import ROOT, clean_environment, data_folder


@pytest.fixture
def data() -> Iterator[Path]:
    with data_folder() as folder:
        yield folder


def pids(data: Path) -> dict[str, int]:
    report = json.loads((data / "run" / "processes.json").read_text(encoding="utf-8"))
    return {entry["name"]: entry["pid"] for entry in report["processes"] if entry["pid"]}


def query(servers: Infrastructure, statement: str) -> object:
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
    return row and row[0]


def answers(servers: Infrastructure) -> bool:
    try:
        query(servers, "SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def test_the_product_is_no_superuser_and_has_its_extensions(data: Path) -> None:
    with embedded(data) as servers:
        assert query(servers, "SELECT current_setting('is_superuser')") == "off"
        assert query(servers, "SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user") is True
        assert query(servers, "SELECT similarity('grant', 'grants') > 0.5") is True
        assert query(servers, "SHOW jit") == "off"
        with redis.Redis.from_url(servers.redis_url) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_strangers_without_a_password_are_refused(data: Path) -> None:
    with embedded(data) as servers:
        port = urlsplit(servers.redis_url).port or 0
        with redis.Redis(port=port) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(servers.database_url, password="guessed")


def test_both_servers_come_back_on_the_same_address_with_their_data(data: Path) -> None:
    with embedded(data, throwaway=False) as servers:
        query(servers, "CREATE TABLE kept AS SELECT 41 AS answer")
        with redis.Redis.from_url(servers.redis_url) as client:
            client.set("kept", "41")
        for name, pid in pids(data).items():
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda name=name, pid=pid: pids(data).get(name) not in {None, pid}, f"{name} is back")
        wait_until(lambda: answers(servers), "PostgreSQL answers")
        assert query(servers, "SELECT answer FROM kept") == 41
        with redis.Redis.from_url(servers.redis_url, retry_on_error=[redis.ConnectionError]) as client:
            assert client.get("kept") == b"41"


def test_a_killed_supervisor_leaves_no_server_and_the_next_start_heals(data: Path) -> None:
    command = [sys.executable, "-m", "marketplace.supervisor", "infra", "--data", str(data)]
    with subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        lines = [supervisor.stdout.readline().strip() for _ in range(2)]
        address = dict(line.split("=", 1) for line in lines)
        with psycopg.connect(address["DATABASE_URL"], autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        left = pids(data)
        supervisor.kill()
        supervisor.wait()
    wait_until_gone(left.values())
    # What a power cut leaves: the lock file of a postmaster whose pid went to somebody else.
    (data / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n", encoding="ascii")
    with embedded(data, throwaway=False) as servers:
        assert servers.database_url == address["DATABASE_URL"]
        assert query(servers, "SELECT answer FROM kept") == 42


def test_a_command_runs_beside_the_servers_and_its_exit_code_is_kept() -> None:
    script = "import os; print(os.environ['DATABASE_URL'], os.environ['REDIS_URL']); raise SystemExit(7)"
    command = [sys.executable, "-m", "marketplace.supervisor", "infra", sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=clean_environment(), check=False)
    assert done.returncode == 7
    assert done.stdout.startswith("postgresql://marketplace:")
    assert not done.stderr


def test_nothing_runs_after_the_block(data: Path) -> None:
    with embedded(data):
        running = pids(data)
    assert set(running) == {"postgres", "valkey"}
    wait_until_gone(running.values())
    assert read_json(DataFolder(data).run / "processes.json")["processes"] == []
