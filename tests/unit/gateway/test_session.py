"""Sealed session ids: only the one who opened a session gets back in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.mcp.session import SessionSeal

SEAL = SessionSeal(b"k" * 32)
IDS = st.binary(min_size=1, max_size=80)


@given(IDS, st.text(st.characters(codec="utf-8")))
def test_a_seal_opens_for_its_owner(upstream_id: bytes, owner: str) -> None:
    sealed = SEAL.seal(upstream_id, owner)
    assert sealed.isascii()
    assert SEAL.unseal(sealed, owner) == upstream_id
    assert SessionSeal(b"k" * 32).unseal(sealed, owner) == upstream_id


@given(IDS)
def test_a_seal_opens_for_nobody_else(upstream_id: bytes) -> None:
    sealed = SEAL.seal(upstream_id, "tenant|key|server")
    assert SEAL.unseal(sealed, "tenant|key|other") is None
    assert SEAL.unseal(sealed, "other|key|server") is None
    assert SessionSeal(b"x" * 32).unseal(sealed, "tenant|key|server") is None


@given(IDS, st.integers(0, 200), st.integers(1, 255))
def test_an_altered_seal_does_not_open(upstream_id: bytes, position: int, change: int) -> None:
    sealed = bytearray(SEAL.seal(upstream_id, "owner"))
    sealed[position % len(sealed)] ^= change
    assert SEAL.unseal(bytes(sealed), "owner") is None


@given(st.binary(max_size=100))
def test_anything_else_is_unknown(text: bytes) -> None:
    assert SEAL.unseal(text, "owner") is None
