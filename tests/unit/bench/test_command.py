"""`scripts/bench` as a person types it."""

import pytest

from bench.__main__ import main


def test_without_a_name_it_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "gateway" in capsys.readouterr().out


def test_an_unknown_name_is_answered_with_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed"]) == 2
    said = capsys.readouterr().err
    assert "choose one of" in said
    assert "gateway" in said
