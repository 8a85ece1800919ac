"""A state continues one call once: sealed, bound, and gone after its time."""

from __future__ import annotations

import pytest

from gateway.mcp.errors import RefusedError
from gateway.peers import Ask
from gateway.peers.rounds import LIFETIME_S, MAX_HELD_BY_OWNER, Holds, Place, StateSeal

REQUEST = Ask(1, "tools/call", {"name": "t", "arguments": {"a": 1, "b": 2}})
PLACE = Place("process-one", "held-one")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_state_is_opened_by_whom_and_for_what_it_was_sealed() -> None:
    seal = StateSeal(b"k" * 32)
    state = seal.seal(PLACE, "me", REQUEST)
    reordered = Ask(2, "tools/call", {"name": "t", "arguments": {"b": 2, "a": 1}, "inputResponses": {}})
    assert seal.unseal(state, "me", reordered) == PLACE
    assert "held-one" not in state
    assert seal.seal(PLACE, "me", REQUEST) != state


@pytest.mark.parametrize(
    ("owner", "request_"),
    [
        ("you", REQUEST),
        ("me", Ask(1, "prompts/get", REQUEST.params)),
        ("me", Ask(1, "tools/call", {"name": "u", "arguments": {"a": 1, "b": 2}})),
        ("me", Ask(1, "tools/call", {"name": "t", "arguments": {"a": 1, "b": 3}})),
        ("me", Ask(1, "tools/call", {"name": "t"})),
    ],
)
def test_for_anybody_or_anything_else_it_is_invalid(owner: str, request_: Ask) -> None:
    seal = StateSeal(b"k" * 32)
    with pytest.raises(RefusedError) as caught:
        seal.unseal(seal.seal(PLACE, "me", REQUEST), owner, request_)
    assert caught.value.kind.rpc_code == -32602
    assert caught.value.data["reason"] == "invalid_request_state"


@pytest.mark.parametrize("state", [None, 7, "", "m1.", "m1.AAAA", "m1.!", "other", "m1." + "A" * 5000])
def test_what_is_no_state_is_invalid(state: object) -> None:
    with pytest.raises(RefusedError):
        StateSeal(b"k" * 32).unseal(state, "me", REQUEST)


def test_another_key_or_a_changed_byte_opens_nothing() -> None:
    state = StateSeal(b"k" * 32).seal(PLACE, "me", REQUEST)
    for key, text in ((b"x" * 32, state), (b"k" * 32, state[:-5] + ("A" if state[-5] != "A" else "B") + state[-4:])):
        with pytest.raises(RefusedError):
            StateSeal(key).unseal(text, "me", REQUEST)


def test_a_state_grows_old() -> None:
    clock = Clock()
    seal = StateSeal(b"k" * 32, clock)
    state = seal.seal(PLACE, "me", REQUEST)
    clock.now += LIFETIME_S
    with pytest.raises(RefusedError):
        seal.unseal(state, "me", REQUEST)


def test_what_is_held_is_taken_once_and_by_its_owner() -> None:
    dropped: list[str] = []
    holds: Holds[str] = Holds(dropped.append)
    held_id = holds.put("me", "call")
    assert holds.take("you", held_id) is None
    assert holds.take("me", held_id) == "call"
    assert holds.take("me", held_id) is None
    assert dropped == []


def test_what_nobody_comes_back_for_is_dropped() -> None:
    dropped: list[str] = []
    clock = Clock()
    holds: Holds[str] = Holds(dropped.append, clock)
    late = holds.put("me", "late")
    holds.put("me", "forgotten")
    clock.now += LIFETIME_S
    assert holds.take("me", late) is None
    holds.reap()
    assert sorted(dropped) == ["forgotten", "late"]
    holds.put("me", "last")
    holds.clear()
    assert dropped[-1] == "last"


def test_one_owner_does_not_hold_without_end() -> None:
    holds: Holds[str] = Holds(lambda _: None)
    for number in range(MAX_HELD_BY_OWNER):
        holds.put("me", str(number))
    with pytest.raises(RefusedError):
        holds.put("me", "one more")
    holds.put("you", "fine")
