from __future__ import annotations

import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core import signing


class TestTokens:
    def test_another_library_verifies_them_with_the_published_key(self):
        kid, private, public = signing.mint()
        token = signing.Signer(kid, private).sign(json.dumps({"aud": "x", "sub": "y"}).encode())
        key = jwt.PyJWK(signing.jwk(kid, public))

        assert jwt.decode(token, key, algorithms=["ES256"], audience="x")["sub"] == "y"
        assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": kid, "typ": "JWT"}

    def test_every_length_of_signature_numbers_is_written_right(self):
        # About one signature in 128 has a number that is shorter or longer than usual in DER.
        kid, private, public = signing.mint()
        signer, key = signing.Signer(kid, private), jwt.PyJWK(signing.jwk(kid, public))

        for number in range(1500):
            jwt.decode(signer.sign(b'{"n":%d}' % number), key, algorithms=["ES256"])

    def test_the_kind_of_token_is_said_in_the_header(self):
        kid, private, _ = signing.mint()

        assert jwt.get_unverified_header(signing.Signer(kid, private).sign(b"{}", "at+jwt"))["typ"] == "at+jwt"


class TestKeys:
    def test_the_key_id_is_the_thumbprint_of_the_public_key(self):
        kid, _, public = signing.mint()
        key = signing.jwk(kid, public)

        assert signing.thumbprint(public) == kid == key["kid"]
        assert set(key) == {"crv", "kty", "x", "y", "kid", "alg", "use"}

    def test_a_key_of_another_curve_is_refused(self):
        other = ec.generate_private_key(ec.SECP384R1())
        private = other.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

        with pytest.raises(ValueError, match="P-256"):
            signing.Signer("x", private)
