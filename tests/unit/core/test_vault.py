from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from core import vault
from core.vault import Keychain, MasterKeys, Place, SealBrokenError

OLD, NEW = b"o" * 32, b"n" * 32
ACME, GLOBEX = str(uuid4()), str(uuid4())
PLACE = Place(ACME, "access.credential", "secret", str(uuid4()))


def chain(owner: str = ACME, masters: MasterKeys | None = None):
    masters, key_id = masters or MasterKeys([OLD]), uuid4()
    return Keychain(masters, owner, {key_id: masters.wrap(vault.mint(), owner, key_id)}), key_id


class TestSecrets:
    def test_what_was_sealed_opens_at_its_place(self):
        keys, key_id = chain()

        assert keys.open(PLACE, keys.seal(key_id, PLACE, b"hunter2")) == b"hunter2"

    def test_equal_secrets_do_not_look_equal(self):
        keys, key_id = chain()

        assert keys.seal(key_id, PLACE, b"hunter2") != keys.seal(key_id, PLACE, b"hunter2")

    @pytest.mark.parametrize(
        "change", [{"row": str(uuid4())}, {"field": "other"}, {"model": "x.y"}, {"tenant": GLOBEX}]
    )
    def test_moved_to_another_place_it_does_not_open(self, change):
        keys, key_id = chain()
        sealed = keys.seal(key_id, PLACE, b"hunter2")

        with pytest.raises(SealBrokenError):
            keys.open(replace(PLACE, **change), sealed)

    def test_another_organisation_s_keys_do_not_open_it(self):
        keys, key_id = chain()
        sealed = keys.seal(key_id, PLACE, b"hunter2")

        with pytest.raises(SealBrokenError):
            chain(GLOBEX)[0].open(PLACE, sealed)

    def test_a_flipped_bit_anywhere_does_not_open(self):
        keys, key_id = chain()
        sealed = keys.seal(key_id, PLACE, b"hunter2")

        for position in range(len(sealed)):
            changed = bytearray(sealed)
            changed[position] ^= 1
            with pytest.raises(SealBrokenError):
                keys.open(PLACE, bytes(changed))

    @pytest.mark.parametrize("length", [0, 1, 16, 17, 28, 29])
    def test_a_cut_ciphertext_does_not_open(self, length):
        keys, key_id = chain()

        with pytest.raises(SealBrokenError):
            keys.open(PLACE, keys.seal(key_id, PLACE, b"hunter2")[:length])


class TestMasterKeys:
    def test_a_key_that_an_older_master_wrapped_still_unwraps(self):
        key_id = uuid4()
        wrapped = MasterKeys([OLD]).wrap(b"d" * 32, ACME, key_id)

        assert MasterKeys([NEW, OLD]).unwrap(wrapped, ACME, key_id) == b"d" * 32
        assert not MasterKeys([NEW, OLD]).is_current(wrapped)

    def test_without_the_master_that_wrapped_it_nothing_opens(self):
        key_id = uuid4()
        wrapped = MasterKeys([OLD]).wrap(b"d" * 32, ACME, key_id)

        with pytest.raises(SealBrokenError):
            MasterKeys([NEW]).unwrap(wrapped, ACME, key_id)

    def test_a_wrapped_key_moved_to_another_organisation_does_not_unwrap(self):
        masters, key_id = MasterKeys([OLD]), uuid4()

        with pytest.raises(SealBrokenError):
            masters.unwrap(masters.wrap(b"d" * 32, ACME, key_id), GLOBEX, key_id)

    def test_the_first_wraps(self):
        assert MasterKeys([NEW, OLD]).is_current(MasterKeys([NEW]).wrap(b"d" * 32, ACME, uuid4()))
