"""What stands in the way of a start is said in one sentence that names the next step."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketplace.supervisor.ports import bound, free_port, port_of
from tests.support.stack import ROOT, clean_environment, data_folder


@pytest.fixture
def data() -> Iterator[Path]:
    with data_folder() as folder:
        yield folder


def up(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "marketplace.supervisor", "up", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=clean_environment() | environment, capture_output=True, text=True, check=False
    )


def test_an_old_python_is_named_with_the_version_that_is_needed(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.8.10 && exit 0\nexit 1\n', encoding="ascii")
    old.chmod(0o755)
    for minor in range(11, 15):
        (tmp_path / f"python3.{minor}").symlink_to(old)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / "scripts" / "up"], env={"PATH": path}, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Python 3.11 or newer is needed, but Python 3.8.10 was found: install")
    assert done.stderr.count("\n") == 1


def test_a_port_in_use_names_the_option_that_helps(data: Path) -> None:
    with bound(0) as holder:
        port = port_of(holder)
        done = up("--port", str(port), "--data", str(data))
    assert done.returncode == 1
    assert done.stderr.strip().endswith(f"scripts/up --port {port + 1}")


def test_a_database_that_does_not_answer_is_named_without_its_password(data: Path) -> None:
    address = "postgresql://me:hidden@127.0.0.1:1/marketplace"
    done = up("--port", str(free_port()), "--data", str(data), "--no-demo", DATABASE_URL=address)
    assert done.returncode == 1
    assert "DATABASE_URL is not reachable" in done.stderr
    assert "hidden" not in done.stdout + done.stderr


def test_a_broker_that_does_not_answer_is_named_without_its_password(data: Path) -> None:
    address = "redis://:hidden@127.0.0.1:1/0"
    done = up("--port", str(free_port()), "--data", str(data), "--no-demo", REDIS_URL=address)
    assert done.returncode == 1
    assert "REDIS_URL is not reachable" in done.stderr
    assert "hidden" not in done.stdout + done.stderr


def test_a_data_folder_that_cannot_be_made_is_named() -> None:
    done = up("--data", "/proc/nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith("The data folder /proc/nowhere cannot be used")
    assert done.stderr.count("\n") == 1


def test_a_number_that_is_no_port_is_refused() -> None:
    done = up("--port", "70000")
    assert done.returncode == 2
    assert "70000 is no port: give a number from 1 to 65535." in done.stderr
