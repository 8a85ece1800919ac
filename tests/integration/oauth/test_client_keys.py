"""Clients that prove themselves by signing: what proves them, and everything that does not."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import jwt
import pytest
from allauth.idp.oidc.models import Client
from django.conf import settings
from django.test import override_settings

from core import clock
from tenants.models import ClientKeys, Consent, UsedAssertion
from tenants.oauth import client_keys, clients, documents, grants
from tenants.oauth.client_keys import KeysRefusedError
from tenants.services import consents
from tests.integration.oauth.conftest import Product, query_of
from tests.support.gateways import serving
from tests.support.signing import SIGNERS, KeyPair, assertion, claims_for, ec_pair, form_of, rsa_pair

PAIR = SIGNERS["ES256"]
STRANGER = ec_pair()


def machine(product: Product, keys: str) -> str:
    made = consents.make_machine(
        tenant=product.tenant,
        name="Signing robot",
        scopes=["invoke"],
        actor=product.person,
        agent="robot",
        keys=client_keys.of_text(keys),
    )
    return made.consent.client_id


@pytest.fixture(scope="module")
def robot(product: Product) -> str:
    return machine(product, PAIR.jwks_text(kid="one"))


def ask(product: Product, text: str, **more: Any) -> httpx.Response:
    return product.token(**{"grant_type": "client_credentials", **form_of(text), **more})


def good(product: Product, client_id: str, pair: KeyPair = PAIR, **headers: Any) -> str:
    return assertion(pair, claims_for(client_id, product.base), **headers)


def refused(answer: httpx.Response) -> str:
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json().get("error_description", "")


class TestProof:
    @pytest.mark.parametrize("audience", ["{base}", "{base}/", "{base}/oauth/token", ["{base}"]])
    def test_an_assertion_for_this_server_gets_a_token_that_calls(
        self, product: Product, robot: str, audience: Any
    ) -> None:
        named = json.loads(json.dumps(audience).replace("{base}", product.base))
        answer = ask(product, assertion(PAIR, claims_for(robot, named)))
        assert answer.status_code == 200, answer.text
        assert product.call(answer.json()["access_token"]).status_code == 200

    @pytest.mark.parametrize(
        "changes",
        [
            {"aud": "https://other.example"},
            {"aud": ["{base}", "https://other.example"]},
            {"aud": []},
            {"aud": None},
            {"aud": 7},
            {"iss": "somebody"},
            {"iss": None},
            {"sub": "somebody"},
            {"sub": None},
            {"sub": "nul\x00", "iss": "nul\x00"},
            {"jti": None},
            {"jti": ""},
            {"jti": "x" * 201},
            {"jti": 7},
            {"exp": None},
            {"exp": "soon"},
            {"exp": True},
            {"exp": 1e300},
            {"exp": -60},
            {"iat": 60},
            {"nbf": 60},
            {"exp": 400},
            {"exp": 400, "iat": None},
            {"exp": 200, "iat": -200},
        ],
    )
    def test_any_other_claim_is_refused(self, product: Product, robot: str, changes: dict[str, Any]) -> None:
        claims = claims_for(robot, product.base)
        now = claims["iat"]
        for name, value in changes.items():
            is_time = name in {"exp", "iat", "nbf"} and type(value) is int
            claims[name] = now + value if is_time else value
            if name == "aud" and value:
                claims[name] = json.loads(json.dumps(value).replace("{base}", product.base))
        assert refused(ask(product, _signed({name: value for name, value in claims.items() if value is not None})))

    def test_the_key_is_the_client_s_own_and_the_algorithm_the_key_s(self, product: Product, robot: str) -> None:
        claims = claims_for(robot, product.base)
        public = PAIR.public_pem
        for text in (
            assertion(STRANGER, claims),
            assertion(STRANGER, claims, kid="one"),
            assertion(PAIR, claims, kid="two"),
            assertion(PAIR, claims, kid="one", crit=["exp"]),
            assertion(SIGNERS["RS256"], claims, kid="one"),
            jwt.encode(claims, "", algorithm="none"),
            _by_shared_secret(claims, public),
            assertion(PAIR, claims)[:-4] + "AAAA",
            assertion(PAIR, claims).rsplit(".", 1)[0] + ".",
            # A key in the header is not looked at.
            assertion(STRANGER, claims, jwk=STRANGER.jwk(), jku="http://127.0.0.1:1/", x5u="http://127.0.0.1:1/"),
        ):
            assert refused(ask(product, text))
        assert ask(product, assertion(PAIR, claims)).status_code == 200  # none of them used it up

    @pytest.mark.parametrize("text", ["", "x", "a.b.c", "." * 9, "{", "\u00e9.x.y", "A" * 9000])
    def test_what_is_no_jwt_is_refused(self, product: Product, text: str) -> None:
        assert refused(ask(product, text))

    def test_deep_json_is_refused(self, product: Product) -> None:
        def part(text: str) -> str:
            return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()

        nested = part("[" * 3000)
        assert refused(ask(product, f"{part('{}')}.{nested}.x"))
        assert refused(ask(product, f"{nested}.{part('{}')}.x"))

    def test_a_proof_is_taken_once(self, product: Product, robot: str) -> None:
        text = good(product, robot)
        assert ask(product, text).status_code == 200
        refused(ask(product, text))

    def test_of_many_at_the_same_time_one_is_taken(self, product: Product, robot: str) -> None:
        text, statuses = good(product, robot), []
        threads = [threading.Thread(target=lambda: statuses.append(ask(product, text).status_code)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200, 401, 401, 401, 401]

    def test_the_id_of_another_client_s_proof_is_free(self, product: Product, robot: str) -> None:
        other = machine(product, PAIR.public_pem)
        for client_id in (robot, other):
            claims = claims_for(client_id, product.base, jti="shared-name")
            assert ask(product, assertion(PAIR, claims)).status_code == 200

    def test_one_way_of_proving_is_enough_and_two_are_refused(self, product: Product, robot: str) -> None:
        assert refused(ask(product, good(product, robot), client_secret="x"))
        assert refused(ask(product, good(product, robot), auth=(robot, "x")))
        assert refused(ask(product, good(product, robot), client_id="somebody"))
        assert refused(ask(product, good(product, robot), client_assertion_type="x"))
        assert refused(product.token(grant_type="client_credentials", client_assertion=good(product, robot)))
        assert ask(product, good(product, robot), client_id=robot).status_code == 200

    def test_a_client_with_keys_has_no_secret(self, product: Product, robot: str) -> None:
        for secret in ("", "!", Client.objects.get(pk=robot).secret):
            refused(product.token(grant_type="client_credentials", auth=(robot, secret)))
        client = Client.objects.get(pk=machine(product, PAIR.public_pem))
        client.set_secret("known")
        client.save()
        refused(product.token(grant_type="client_credentials", auth=(client.pk, "known")))

    def test_a_client_with_a_secret_cannot_sign(self, product: Product) -> None:
        made = consents.make_machine(tenant=product.tenant, name="Plain", scopes=["invoke"], actor=product.person)
        refused(ask(product, good(product, made.consent.client_id)))
        refused(ask(product, _by_shared_secret(claims_for(made.consent.client_id, product.base), made.secret * 2)))

    def test_a_revoked_one_gets_nothing(self, product: Product) -> None:
        client_id = machine(product, PAIR.public_pem)
        consents.revoke(Consent.objects.get(client_id=client_id).pk, actor=product.person)
        refused(ask(product, good(product, client_id)))

    def test_what_is_over_is_cleared(self, product: Product, robot: str) -> None:
        assert ask(product, good(product, robot)).status_code == 200
        row = UsedAssertion.objects.filter(client_id=robot).latest("pk")
        grants.clear()
        assert UsedAssertion.objects.filter(pk=row.pk).exists()
        UsedAssertion.objects.filter(pk=row.pk).update(expires_at=clock.now() - timedelta(seconds=1))
        grants.clear()
        assert not UsedAssertion.objects.filter(pk=row.pk).exists()


class TestSets:
    def test_only_what_checks_signatures_is_kept_and_nothing_else_of_it(self) -> None:
        signs = PAIR.jwk(kid="a", use="sig", x5c=["x"], note="\x00")
        others = [PAIR.jwk(use="enc"), PAIR.jwk(alg="ES512"), {"kty": "unknown"}, PAIR.jwk(kid="\x00"), PAIR.jwk(kid=7)]
        assert client_keys.checked({"keys": [*others, signs]}) == {"keys": [PAIR.jwk(alg="ES256", kid="a")]}

    @pytest.mark.parametrize(
        "document",
        [
            None,
            [],
            {},
            {"keys": {}},
            {"keys": []},
            {"keys": ["x"]},
            {"keys": [PAIR.jwk()] * 21},
            {"keys": [PAIR.jwk(), PAIR.jwk(d="secret")]},
            {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]},
            {"keys": [PAIR.jwk(x="AAAA")]},
            {"keys": [PAIR.jwk(crv="secp256k1")]},
            {"keys": [rsa_pair(1024).jwk()]},
            {"keys": [SIGNERS["RS256"].jwk(e="AQAAAAAAAAAB")]},
        ],
    )
    def test_a_set_that_proves_nothing_is_refused(self, document: Any) -> None:
        with pytest.raises(KeysRefusedError):
            client_keys.checked(document)

    @pytest.mark.parametrize(
        "text", ["x", "{", "{}", "-----BEGIN PUBLIC KEY-----", PAIR.private_pem, "http://a.example/"]
    )
    def test_a_text_without_public_keys_is_refused(self, text: str) -> None:
        with pytest.raises(KeysRefusedError):
            client_keys.of_text(text)


@dataclass
class Published:
    """An address where a client's keys stand."""

    document: Any = None
    status: int = 200
    asked: int = 0
    port: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/jwks.json"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                kind = (await receive())["type"]
                await send({"type": f"{kind}.complete"})
            return
        self.asked += 1
        headers = [(b"content-type", b"application/jwk-set+json"), *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(self.document).encode()})


@pytest.fixture
def published(product: Product) -> Iterator[Published]:
    app = Published(document=PAIR.jwks(kid="one"))
    with serving(app) as app.port, override_settings(EGRESS_ALLOW=[*settings.EGRESS_ALLOW, f"127.0.0.1:{app.port}"]):
        yield app


def let_time_pass(client_id: str, **changes: timedelta) -> None:
    ClientKeys.objects.filter(pk=client_id).update(**{name: clock.now() - past for name, past in changes.items()})


class TestAddresses:
    def test_keys_are_read_once_and_kept(self, product: Product, published: Published) -> None:
        client_id = machine(product, published.address)
        assert published.asked == 1
        for _ in range(3):
            assert ask(product, good(product, client_id, kid="one")).status_code == 200
        assert published.asked == 1

    def test_a_renewed_key_is_found_and_strangers_make_nobody_ask_again(
        self, product: Product, published: Published
    ) -> None:
        client_id = machine(product, published.address)
        published.document = STRANGER.jwks(kid="two")
        assert ask(product, good(product, client_id, STRANGER, kid="two")).status_code == 200
        assert published.asked == 2
        refused(ask(product, good(product, client_id, kid="one")))
        for number in range(5):
            refused(ask(product, good(product, client_id, kid=f"forged-{number}")))
        assert published.asked == 2
        let_time_pass(client_id, asked_at=client_keys.ASK_AGAIN)
        refused(ask(product, good(product, client_id, kid="one")))
        assert published.asked == 3

    def test_a_copy_is_believed_for_a_while_when_the_address_is_away(
        self, product: Product, published: Published
    ) -> None:
        client_id = machine(product, published.address)
        published.status = 503
        let_time_pass(client_id, fresh_until=timedelta(seconds=1))
        assert ask(product, good(product, client_id)).status_code == 200
        assert published.asked == 2
        let_time_pass(client_id, fresh_until=client_keys.GRACE, asked_at=client_keys.ASK_AGAIN)
        refused(ask(product, good(product, client_id)))
        assert published.asked == 3

    def test_a_key_that_was_taken_down_is_refused_within_the_hour(self, product: Product, published: Published) -> None:
        published.headers = [(b"cache-control", b"max-age=86400")]
        client_id = machine(product, published.address)
        kept = ClientKeys.objects.get(pk=client_id)
        assert kept.fresh_until - clock.now() <= client_keys.KEEP_MOST
        published.document = STRANGER.jwks()
        let_time_pass(client_id, fresh_until=timedelta(seconds=1))
        refused(ask(product, good(product, client_id)))

    @pytest.mark.parametrize("document", [None, {"keys": []}, PAIR.jwks(d="x")])
    def test_a_bad_set_at_the_address_is_told_at_once(
        self, product: Product, published: Published, document: Any
    ) -> None:
        published.document = document
        with pytest.raises(KeysRefusedError):
            machine(product, published.address)

    @pytest.mark.parametrize(
        "address", ["http://127.0.0.1:1/", "https://10.0.0.1/", "https://u:p@a.example/", "ftp://a.example/", ""]
    )
    def test_an_address_inside_is_not_asked(self, product: Product, address: str) -> None:
        with pytest.raises(KeysRefusedError):
            machine(product, address)

    def test_nobody_is_asked_for_a_client_that_nobody_allowed_anything(
        self, product: Product, published: Published
    ) -> None:
        client_id = product.client_id(token_endpoint_auth_method="private_key_jwt", jwks_uri=published.address)
        refused(ask(product, good(product, client_id, kid="one")))
        assert published.asked == 0


class TestRegistration:
    @pytest.mark.parametrize("how", ["jwks", "jwks_uri"])
    def test_a_registered_client_redeems_and_refreshes_by_signing(
        self, product: Product, published: Published, how: str
    ) -> None:
        named = {"jwks": PAIR.jwks(kid="one"), "jwks_uri": published.address}
        answer = product.register(token_endpoint_auth_method="private_key_jwt", **{how: named[how]})
        registered = answer.json()
        assert answer.status_code == 201, answer.text
        assert registered["token_endpoint_auth_method"] == "private_key_jwt"
        assert "client_secret" not in registered
        assert how in registered
        client_id = registered["client_id"]
        code = query_of(product.browser().answer(product.authorize_url(client_id)))["code"]
        refused(product.redeem(client_id, code))
        answer = product.redeem(client_id, code, **form_of(good(product, client_id, kid="one")))
        assert answer.status_code == 200, answer.text
        tokens = answer.json()
        assert product.call(tokens["access_token"]).status_code == 200
        refused(product.refresh(client_id, tokens["refresh_token"]))
        again = product.refresh(client_id, tokens["refresh_token"], **form_of(good(product, client_id)))
        assert again.status_code == 200
        ended = {"token": again.json()["refresh_token"], **form_of(good(product, client_id))}
        assert httpx.post(f"{product.base}/oauth/revoke", data=ended).status_code == 200
        assert Consent.objects.get(client_id=client_id).state == "revoked"
        assert httpx.post(f"{product.base}/oauth/revoke", data=ended).status_code == 401  # the proof was used

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"jwks": PAIR.jwks(), "jwks_uri": "https://client.example/jwks.json"},
            {"jwks": {"keys": []}},
            {"jwks": "x"},
            {"jwks_uri": 7},
            {"jwks_uri": "http://client.example/jwks.json"},
            {"jwks_uri": "https://127.0.0.1:1/jwks.json"},
            {"jwks": PAIR.jwks(d="x")},
        ],
    )
    def test_a_registration_without_usable_keys_is_refused(self, product: Product, changes: dict[str, Any]) -> None:
        answer = product.register(token_endpoint_auth_method="private_key_jwt", **changes)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")
        assert answer.json()["error_description"]

    def test_metadata_says_so(self, product: Product) -> None:
        document = httpx.get(f"{product.base}/.well-known/oauth-authorization-server").json()
        for endpoint in ("token", "revocation"):
            assert "private_key_jwt" in document[f"{endpoint}_endpoint_auth_methods_supported"]
            algorithms = document[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]
            assert {"ES256", "RS256"} <= set(algorithms)
            assert not {"none", "HS256"} & set(algorithms)

    def test_a_description_may_name_keys_and_take_them_back(self, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
        address = "https://signing.example/oauth.json"
        document: dict[str, Any] = {
            "client_id": address,
            "client_name": "Signing client",
            "redirect_uris": ["http://127.0.0.1/callback"],
        }
        signing = document | {"token_endpoint_auth_method": "private_key_jwt", "jwks": PAIR.jwks()}
        monkeypatch.setattr(documents, "fetch", lambda url: (signing, 60))
        client = clients.find(address, may_fetch=True)
        assert client is not None
        assert (client.type, client.keys.jwks) == (Client.Type.CONFIDENTIAL, {"keys": [PAIR.jwk(alg="ES256")]})
        client.data["fresh_until"] = 0
        client.save()
        monkeypatch.setattr(documents, "fetch", lambda url: (document, 60))
        client = clients.find(address, may_fetch=True)
        assert client is not None
        assert client.type == Client.Type.PUBLIC
        assert not client_keys.has_any(client.pk)


def _signed(claims: dict[str, Any]) -> str:
    """Also claims that the library for tokens does not want to write."""
    return jwt.PyJWS().encode(json.dumps(claims).encode(), PAIR.private, algorithm=PAIR.algorithm)


def _by_shared_secret(claims: dict[str, Any], secret: str) -> str:
    """Signed with what is public as if it were a secret, by hand: the library refuses to."""
    import hashlib
    import hmac

    def part(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    head = part(b'{"alg":"HS256","typ":"JWT","kid":"one"}')
    text = head + b"." + part(json.dumps(claims).encode())
    return (text + b"." + part(hmac.new(secret.encode(), text, hashlib.sha256).digest())).decode()
