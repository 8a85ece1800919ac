"""A set of compiled modules is used when it was made of exactly this source, and otherwise the interpreted modules are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from core import compiled


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small source tree, of which no module was imported; what the finders were comes back afterwards."""
    for name in ("access", "calls", "core", "gateway", "requirements"):
        (tmp_path / name).mkdir()
    (tmp_path / "requirements" / "run.txt").write_text("uvloop==1\n")
    (tmp_path / "gateway" / "pipeline.py").write_text("STEPS = 1\n")
    monkeypatch.setattr(compiled, "ROOT", tmp_path)
    monkeypatch.setattr(compiled, "MODULES", ("gateway.never_imported",))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setenv(compiled.SETTING, "auto")
    return tmp_path


def make_set(source: Path) -> Path:
    made = source / "var" / "compiled" / compiled.digest()
    made.mkdir(parents=True)
    return made


def test_a_set_of_this_source_is_used(source: Path) -> None:
    make_set(source)
    assert compiled.install()
    assert compiled.is_installed()


def test_without_a_set_nothing_changes(source: Path) -> None:
    assert not compiled.install()
    assert not compiled.is_installed()


@pytest.mark.parametrize("changed", ["gateway/pipeline.py", "gateway/another.py", "requirements/run.txt"])
def test_a_set_of_another_source_is_never_used(source: Path, changed: str) -> None:
    make_set(source)
    (source / changed).write_text("STEPS = 2\n")
    assert not compiled.install()


def test_migrations_are_no_source_of_it(source: Path) -> None:
    make_set(source)
    (source / "access" / "migrations").mkdir()
    (source / "access" / "migrations" / "0001_first.py").write_text("x = 1\n")
    assert compiled.install()


def test_all_modules_are_compiled_or_none(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_set(source)
    monkeypatch.setattr(compiled, "MODULES", ("gateway.never_imported", "pytest"))
    assert not compiled.install()


def test_it_can_be_switched_off_and_sets_may_be_elsewhere(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_set(source)
    monkeypatch.setenv(compiled.SETTING, "off")
    assert not compiled.install()
    elsewhere = source / "elsewhere"
    made.parent.rename(elsewhere)
    monkeypatch.setenv(compiled.SETTING, str(elsewhere))
    assert compiled.install()


def test_tests_run_interpreted(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_set(source)
    monkeypatch.setenv("MARKETPLACE_ENV", "test")
    monkeypatch.delenv(compiled.SETTING)
    assert not compiled.install()


def test_only_modules_of_the_set_are_found_in_it(source: Path) -> None:
    suffix = compiled._suffix()
    made = make_set(source)
    (made / "gateway").mkdir()
    (made / "gateway" / f"pipeline{suffix}").write_bytes(b"")
    assert compiled.install()
    finder = sys.meta_path[0]
    spec = finder.find_spec("gateway.pipeline", None)
    assert spec is not None
    assert spec.origin == str(made / "gateway" / f"pipeline{suffix}")
    assert finder.find_spec("gateway.context", None) is None


def test_every_module_that_is_compiled_exists() -> None:
    root = Path(__file__).resolve().parents[3]
    assert [name for name in compiled.MODULES if not (root / f"{name.replace('.', '/')}.py").exists()] == []
