"""A gateway of compiled modules answers, refuses, fails and records like the interpreted one.

Compiling all of it takes a while, and is what shows that every module can be: the C compiler is told not to optimise.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core import compiled
from marketplace.supervisor import compiling
from marketplace.supervisor.errors import StartError
from tests.integration.gateway.conftest import Alone, body_of

CALL = body_of("tools/call", {"name": "echo", "arguments": {"text": "héllo"}})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("setuptools", reason="What compiles is not installed: scripts/compile installs it.")
    try:
        compiling.require_compiler()
    except StartError as error:
        pytest.skip(str(error))
    return compiling.ensure(tmp_path_factory.mktemp("compiled"), optimise=0)


@pytest.fixture(autouse=True)
def _of_this_set(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiled.SETTING, str(made.parent))


def is_compiled(alone: Alone) -> bool:
    process = alone.process._process
    assert process is not None
    return "__mypyc" in Path(f"/proc/{process.pid}/maps").read_text()


@pytest.fixture
def client(alone: Alone) -> Iterator[httpx.Client]:
    alone.process.app = "tests.support.compiled_gateways:process_app"
    alone.process.start()
    with httpx.Client(base_url=alone.process.base, headers=alone.headers, timeout=30) as client:
        yield client


def test_calls_are_answered_and_recorded(alone: Alone, client: httpx.Client) -> None:
    answers = [client.post("/mcp/ok", content=CALL) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert is_compiled(alone)
    alone.process.stop()
    recorded = alone.recorded()
    assert [recorded[answer.headers["x-marketplace-call-id"]] for answer in answers] == [1] * 5


def test_what_is_refused_is_refused_in_the_same_words(alone: Alone, client: httpx.Client) -> None:
    assert client.post("/mcp/ok", content=b"{").status_code == 400
    assert client.post("/mcp/nowhere", content=CALL).status_code == 404
    stranger = client.post("/mcp/ok", content=CALL, headers={"authorization": "Bearer mcp_nobody"})
    assert stranger.status_code == 401
    assert is_compiled(alone)


def test_a_set_is_made_once(made: Path) -> None:
    stamp = made.stat().st_mtime_ns
    assert compiling.ensure(made.parent, optimise=0) == made
    assert made.stat().st_mtime_ns == stamp
