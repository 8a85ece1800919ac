"""Other gateways in the table."""

import json
from pathlib import Path

import pytest

from bench.gateway import _rivals_text
from bench.load import Measurement
from bench.report import Round
from bench.rivals import RIVALS, NotInstalledError, install
from bench.rivals.place import EXPECTED, call


def measured(per_second: int) -> Round:
    seen = Measurement(answers=per_second, seconds=1.0, p50_ms=1.0, p99_ms=2.0, max_ms=3.0, wrong=0, broken=0)
    return Round(seen, cpu_s=0.5)


def test_a_rival_that_cannot_be_installed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_FOLDER", tmp_path)
    with pytest.raises(NotInstalledError, match="Invalid requirement"):
        install.python_of("no such==requirement==at all")


def test_an_installed_one_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_FOLDER", tmp_path)
    python = tmp_path / "a-1.2" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    (tmp_path / "a-1.2.installed").touch()
    assert install.python_of("a==1.2") == python


def test_the_table_shows_the_measured_with_their_share_and_the_others_with_their_reason() -> None:
    title = RIVALS["fastmcp"].title
    shown = _rivals_text({"nginx": measured(1000), title: measured(20), "LiteLLM proxy": "no network"})
    assert f"{title} 0.0200" in shown
    assert "LiteLLM proxy: not measured: no network" in shown


def test_an_answer_is_right_only_when_it_holds_what_was_asked() -> None:
    body = json.loads(call("/mcp", "echo", "secret").body)
    assert EXPECTED.decode() in json.dumps(body["params"]["arguments"])
    assert "secret" not in json.dumps(body)
