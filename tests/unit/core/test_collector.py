from __future__ import annotations

import gc
import sys

import pytest

from core.collector import rare_collections, short_turns


def test_the_collector_looks_less_often_in_the_block_and_as_before_after_it():
    usual = gc.get_threshold()

    with rare_collections():
        with rare_collections():
            inside = gc.get_threshold()
        assert gc.get_threshold() == inside

    assert inside[0] > usual[0]
    assert inside[1:] == usual[1:]
    assert gc.get_threshold() == usual


def test_also_when_the_block_fails():
    usual = gc.get_threshold()

    with pytest.raises(ValueError, match="planned"), rare_collections():
        raise ValueError("planned")

    assert gc.get_threshold() == usual


def test_threads_have_their_turn_sooner_in_the_block_and_as_before_after_it():
    usual = sys.getswitchinterval()

    with short_turns(), short_turns():
        inside = sys.getswitchinterval()

    assert inside < usual
    assert sys.getswitchinterval() == usual
