"""The authorization server by hand: what it agrees to, what it refuses, and what ends what."""

from __future__ import annotations

import base64
import json
import re
import threading
from typing import Any

import httpx
import pytest
from allauth.idp.oidc.models import Client, Token
from django.test import override_settings

from core import clock
from tenants.models import Consent, Membership
from tenants.oauth import grants
from tenants.services import api_keys, consents, memberships
from tests.integration.oauth.conftest import Browser, Product, query_of
from tests.support.processes import wait_until


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


class TestMetadata:
    @pytest.mark.parametrize("name", ["oauth-authorization-server", "openid-configuration"])
    def test_it_says_what_is_there(self, product: Product, name: str) -> None:
        document = httpx.get(f"{product.base}/.well-known/{name}").json()
        assert document["issuer"] == product.base
        assert document["code_challenge_methods_supported"] == ["S256"]
        assert document["authorization_response_iss_parameter_supported"] is True
        assert document["client_id_metadata_document_supported"] is True
        assert set(document["grant_types_supported"]) == {
            "authorization_code",
            "refresh_token",
            "client_credentials",
        }
        for endpoint in ("authorization", "token", "registration", "revocation"):
            assert httpx.get(document[f"{endpoint}_endpoint"]).status_code in {302, 405}
        keys = httpx.get(document["jwks_uri"]).json()["keys"]
        assert all(key["alg"] == "ES256" for key in keys)


class TestConsentPage:
    def test_it_names_the_client_where_the_answer_goes_the_scopes_and_the_server(self, product: Product) -> None:
        url = product.authorize_url(product.client_id(client_name="Nice app"))
        page = product.browser().get(url)
        for text in ("Nice app", "127.0.0.1:7777", "Call the tools", product.server.slug, product.tenant.name):
            assert text in page.text
        assert product.other.name in page.text  # the person picks one of theirs
        assert page.headers["x-frame-options"] == "DENY"
        policy = page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "form-action 'self' http://127.0.0.1:7777" in policy
        assert page.headers["cache-control"] == "no-store"

    def test_a_stranger_signs_in_first(self, product: Product) -> None:
        answer = httpx.get(product.authorize_url(product.client_id()))
        assert answer.status_code == 302
        assert answer.headers["location"].startswith("/accounts/login/?next=/oauth/authorize")

    def test_no_is_told_to_the_client(self, product: Product) -> None:
        before = Consent.objects.count()
        answer = query_of(product.browser().answer(product.authorize_url(product.client_id()), "deny"))
        assert answer == {"error": "access_denied", "state": "s t&te", "iss": product.base}
        assert Consent.objects.count() == before

    def test_without_the_page_s_token_nothing_is_agreed_to(self, product: Product) -> None:
        url, browser = product.authorize_url(product.client_id()), product.browser()
        before = Consent.objects.count()
        assert browser.post(url, {"action": "allow"}).status_code == 403
        assert Consent.objects.count() == before

    def test_the_person_chooses_the_organisation_among_theirs(self, product: Product) -> None:
        client_id, browser = product.client_id(), product.browser()
        mine = Membership.objects.get(tenant=product.other, user=product.person)
        query_of(browser.answer(product.authorize_url(client_id), organisation=str(mine.pk)))
        assert Consent.objects.get(client_id=client_id).tenant_id == product.other.pk
        foreign = Membership.objects.exclude(user=product.person).first()
        answer = browser.answer(product.authorize_url(client_id), organisation=str(foreign.pk))
        assert answer.status_code == 422

    @pytest.mark.parametrize(
        "uri",
        [
            "http://127.0.0.1:7777/callback/",
            "http://127.0.0.1:7777/callback?x=1",
            "http://127.0.0.1:7777/callback/../callback",
            "http://127.0.0.1:7777/CALLBACK",
            "https://127.0.0.1:7777/callback",
            "http://127.0.0.1.evil.example:7777/callback",
            "http://127.0.0.1@evil.example/callback",
            "http://localhost:7777/callback",
            "http://127.0.0.1:7777/callback#x",
            "https://evil.example/callback",
            "javascript:alert(1)",
            None,
        ],
    )
    def test_a_redirect_address_that_is_not_registered_leads_nowhere(self, product: Product, uri: str | None) -> None:
        answer = product.browser().get(product.authorize_url(product.client_id(), redirect_uri=uri))
        assert answer.status_code == 400
        assert "location" not in answer.headers

    def test_a_loopback_address_may_have_any_port(self, product: Product) -> None:
        uri = "http://127.0.0.1:50123/callback"
        answer = product.browser().answer(product.authorize_url(product.client_id(), redirect_uri=uri))
        assert answer.headers["location"].startswith(uri + "?")

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"code_challenge": None}, "invalid_request"),
            ({"code_challenge_method": "plain"}, "invalid_request"),
            ({"code_challenge_method": None}, "invalid_request"),
            ({"code_challenge": "short"}, "invalid_target"),
            ({"response_type": "token"}, "unsupported_response_type"),
            ({"response_type": "code id_token"}, "unauthorized_client"),
            ({"scope": "admin"}, "invalid_scope"),
            ({"scope": "openid"}, "invalid_scope"),
            ({"resource": "https://evil.example/mcp"}, "invalid_target"),
            ({"resource": "BASE.evil.example/mcp/x"}, "invalid_target"),
            ({"resource": "BASE/mcp/x#y"}, "invalid_target"),
            ({"resource": "BASE/admin"}, "invalid_target"),
        ],
    )
    def test_what_cannot_be_is_told_to_the_client(self, product: Product, changes: Any, error: str) -> None:
        named = {k: v.replace("BASE", product.base) if isinstance(v, str) else v for k, v in changes.items()}
        answer = product.browser().get(product.authorize_url(product.client_id(), **named))
        told = query_of(answer) if answer.status_code == 303 else {}
        assert (told.get("error"), told.get("iss"), told.get("state")) == (error, product.base, "s t&te")
        assert "code" not in told

    def test_an_unknown_client_leads_nowhere(self, product: Product) -> None:
        assert product.browser().get(product.authorize_url("nobody")).status_code == 400

    def test_a_name_cannot_be_markup(self, product: Product) -> None:
        assert product.register(client_name="<script>alert(1)</script>").status_code == 400


class TestCodes:
    def code(self, product: Product, client_id: str, **changes: Any) -> str:
        return query_of(product.browser().answer(product.authorize_url(client_id, **changes)))["code"]

    def test_a_code_becomes_tokens_bound_to_the_resource(self, product: Product) -> None:
        client_id, answer = product.signed_in_client()
        claims = claims_of(answer["access_token"])
        consent = Consent.objects.get(client_id=client_id)
        assert answer["expires_in"] == claims["exp"] - claims["iat"] <= 900
        assert claims["aud"] == f"{product.base}/mcp/{product.server.slug}"
        assert (claims["iss"], claims["client_id"], claims["key"]) == (product.base, client_id, consent.key_id)
        assert (claims["sub"], claims["tenant"]) == (str(product.person.pk), str(product.tenant.pk))
        assert product.call(answer["access_token"]).status_code == 200
        assert product.call(answer["access_token"], product.second).status_code == 401

    def test_a_token_for_everything_works_on_every_server(self, product: Product) -> None:
        _, answer = product.signed_in_client(resource=None)
        assert claims_of(answer["access_token"])["aud"] == product.base
        assert product.call(answer["access_token"], product.second).status_code == 200

    def test_the_second_use_of_a_code_ends_what_the_first_gave(self, product: Product) -> None:
        client_id = product.client_id()
        code = self.code(product, client_id)
        first = product.redeem(client_id, code).json()
        assert product.call(first["access_token"]).status_code == 200
        again = product.redeem(client_id, code)
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
        wait_until(lambda: product.call(first["access_token"]).status_code == 401, "the stolen code's token to end")
        assert product.refresh(client_id, first["refresh_token"]).status_code == 400

    @pytest.mark.parametrize(
        "changes",
        [
            {"code_verifier": "w" * 50},
            {"code_verifier": None},
            {"redirect_uri": "http://127.0.0.1:7777/other"},
            {"redirect_uri": None},
            {"client_id": "nobody"},
            {"code": "nonsense"},
            {"resource": "https://evil.example/"},
            {"resource": "BASE/mcp/another"},
            {"grant_type": "password"},
            {"grant_type": "urn:ietf:params:oauth:grant-type:device_code"},
        ],
    )
    def test_a_code_alone_is_worth_nothing(self, product: Product, changes: Any) -> None:
        client_id = product.client_id()
        code = self.code(product, client_id)
        named = {k: v.replace("BASE", product.base) if isinstance(v, str) else v for k, v in changes.items()}
        answer = product.redeem(client_id, code, **named)
        assert answer.status_code in {400, 401}
        assert "access_token" not in answer.text

    def test_another_client_cannot_use_a_code(self, product: Product) -> None:
        code = self.code(product, product.client_id())
        assert product.redeem(product.client_id(), code).status_code == 400

    def test_a_confidential_client_needs_its_secret(self, product: Product) -> None:
        registered = product.register(token_endpoint_auth_method="client_secret_basic").json()
        client_id, secret = registered["client_id"], registered["client_secret"]
        code = self.code(product, client_id)
        assert product.redeem(client_id, code).status_code == 401
        assert product.redeem(client_id, code, auth=(client_id, "wrong")).status_code == 401
        assert product.redeem(client_id, code, auth=(client_id, secret)).status_code == 200

    def test_codes_and_tokens_are_not_in_the_database(self, product: Product) -> None:
        _, answer = product.signed_in_client()
        assert not Token.objects.filter(hash=answer["refresh_token"]).exists()
        assert answer["refresh_token"] not in str(list(Token.objects.values("hash", "data")))


class TestRefreshing:
    def test_a_refresh_token_is_used_once(self, product: Product) -> None:
        client_id, first = product.signed_in_client()
        second = product.refresh(client_id, first["refresh_token"])
        assert second.status_code == 200
        assert second.headers["cache-control"] == "no-store"
        assert product.call(second.json()["access_token"]).status_code == 200

    def test_a_retry_at_once_is_refused_and_ends_nothing(self, product: Product) -> None:
        client_id, first = product.signed_in_client()
        second = product.refresh(client_id, first["refresh_token"]).json()
        assert product.refresh(client_id, first["refresh_token"]).status_code == 400
        assert product.refresh(client_id, second["refresh_token"]).status_code == 200

    def test_a_used_one_that_turns_up_later_ends_the_consent(self, product: Product) -> None:
        client_id, first = product.signed_in_client()
        second = product.refresh(client_id, first["refresh_token"]).json()
        spent = Token.objects.by_value(first["refresh_token"]).get()
        spent.data["spent_at"] = (clock.now() - 2 * grants._RETRY).isoformat()
        spent.save()
        assert product.refresh(client_id, first["refresh_token"]).status_code == 400
        assert Consent.objects.get(client_id=client_id).state == "revoked"
        assert product.refresh(client_id, second["refresh_token"]).status_code == 400
        wait_until(lambda: product.call(second["access_token"]).status_code == 401, "the tokens of the thief to end")

    def test_of_two_at_the_same_time_one_wins(self, product: Product) -> None:
        client_id, first = product.signed_in_client()
        statuses: list[int] = []
        threads = [
            threading.Thread(
                target=lambda: statuses.append(product.refresh(client_id, first["refresh_token"]).status_code)
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200, 400, 400, 400]

    def test_scopes_and_resources_only_shrink(self, product: Product) -> None:
        client_id, first = product.signed_in_client(scope="invoke catalog:read", resource=None)
        assert first["scope"] == "catalog:read invoke"
        narrow = product.refresh(client_id, first["refresh_token"], scope="catalog:read offline_access").json()
        assert narrow["scope"] == "catalog:read"
        assert product.call(narrow["access_token"]).status_code == 403
        wide = product.refresh(client_id, narrow["refresh_token"]).json()
        assert wide["scope"] == "catalog:read invoke"
        assert product.refresh(client_id, wide["refresh_token"], scope="admin").status_code == 400

    def test_another_client_cannot_use_it(self, product: Product) -> None:
        _, first = product.signed_in_client()
        assert product.refresh(product.client_id(), first["refresh_token"]).status_code == 400


class TestEnding:
    def ended(self, product: Product, client_id: str, answer: dict[str, Any]) -> None:
        wait_until(lambda: product.call(answer["access_token"]).status_code == 401, "the consent's token to be refused")
        assert product.refresh(client_id, answer["refresh_token"]).status_code == 400

    @pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
    def test_a_client_that_signs_out_ends_its_consent(self, product: Product, kind: str) -> None:
        client_id, answer = product.signed_in_client()
        assert product.call(answer["access_token"]).status_code == 200
        other = httpx.post(
            f"{product.base}/oauth/revoke", data={"token": answer[kind], "client_id": product.client_id()}
        )
        assert other.status_code == 200  # says nothing, does nothing
        assert product.call(answer["access_token"]).status_code == 200
        done = httpx.post(f"{product.base}/oauth/revoke", data={"token": answer[kind], "client_id": client_id})
        assert done.status_code == 200
        self.ended(product, client_id, answer)

    def test_the_person_ends_it_on_the_account_page(self, product: Product) -> None:
        client_id, answer = product.signed_in_client()
        browser, consent = product.browser(), Consent.objects.get(client_id=client_id)
        page = browser.get("/accounts/applications/")
        assert "Test client" in page.text
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[1]
        colleague = Browser(product.base).sign_in(product.colleague.email)
        assert colleague.get(f"/accounts/applications/{consent.pk}/").status_code == 404
        assert browser.post(f"/accounts/applications/{consent.pk}/", {"csrfmiddlewaretoken": token}).status_code == 302
        self.ended(product, client_id, answer)

    def test_leaving_the_organisation_ends_it_and_coming_back_does_not_revive_it(self, product: Product) -> None:
        client_id = product.client_id()
        browser = product.browser()
        mine = Membership.objects.get(tenant=product.other, user=product.person)
        code = query_of(browser.answer(product.authorize_url(client_id), organisation=str(mine.pk)))["code"]
        answer = product.redeem(client_id, code).json()
        assert product.call(answer["access_token"]).status_code == 403  # known there, and granted nothing
        memberships.remove(actor=mine, membership_id=mine.pk)
        self.ended(product, client_id, answer)
        memberships.join(tenant=product.other, user=product.person, role="member")
        assert product.refresh(client_id, answer["refresh_token"]).status_code == 400


class TestMachines:
    def test_a_machine_gets_tokens_with_its_secret_until_an_admin_ends_it(self, product: Product) -> None:
        made = consents.make_machine(
            tenant=product.tenant, name="Robot", scopes=["invoke"], actor=product.person, agent="robot"
        )
        auth = (made.consent.client_id, made.secret)
        answer = product.token(grant_type="client_credentials", auth=auth)
        assert answer.status_code == 200
        assert "refresh_token" not in answer.json()
        assert claims_of(answer.json()["access_token"])["sub"] == made.consent.client_id
        assert product.call(answer.json()["access_token"]).status_code == 200
        assert product.token(grant_type="client_credentials", auth=(auth[0], "wrong")).status_code == 401
        assert product.token(grant_type="client_credentials", scope="admin", auth=auth).status_code == 400
        foreign = product.token(grant_type="client_credentials", resource="https://evil.example/", auth=auth)
        assert foreign.json()["error"] == "invalid_target"
        consents.revoke(made.consent.pk, tenant=product.tenant, actor=product.person)
        assert product.token(grant_type="client_credentials", auth=auth).status_code == 400
        wait_until(lambda: product.call(answer.json()["access_token"]).status_code == 401, "the machine to be refused")

    def test_a_registered_client_cannot_be_a_machine(self, product: Product) -> None:
        answer = product.register(grant_types=["client_credentials"], token_endpoint_auth_method="client_secret_basic")
        assert answer.status_code == 400

    def test_its_secret_is_stored_as_a_hash(self, product: Product) -> None:
        made = consents.make_machine(tenant=product.tenant, name="R", scopes=["invoke"], actor=product.person)
        assert made.secret not in str(Client.objects.filter(pk=made.consent.client_id).values())


class TestRegistration:
    @pytest.mark.parametrize(
        "changes",
        [
            {"redirect_uris": []},
            {"redirect_uris": "http://127.0.0.1/"},
            {"redirect_uris": ["javascript:alert(1)"]},
            {"redirect_uris": ["data:text/html,x"]},
            {"redirect_uris": ["http://evil.example/callback"]},
            {"redirect_uris": ["https://*.example/callback"]},
            {"redirect_uris": ["https://user@evil.example/callback"]},
            {"redirect_uris": ["https://good.example/#fragment"]},
            {"redirect_uris": ["//evil.example"]},
            {"redirect_uris": [f"https://good.example/{number}" for number in range(30)]},
            {"application_type": "web"},
            {"application_type": "toaster"},
            {"grant_types": ["implicit"]},
            {"response_types": ["token"]},
            {"client_name": "x" * 20_000},
        ],
    )
    def test_what_would_be_dangerous_is_not_registered(self, product: Product, changes: dict[str, Any]) -> None:
        before = Client.objects.count()
        answer = product.register(**changes)
        assert answer.status_code == 400
        assert answer.json()["error"] in {"invalid_redirect_uri", "invalid_client_metadata"}
        assert Client.objects.count() == before

    @pytest.mark.parametrize(
        ("uri", "kind"),
        [("https://good.example/cb", "web"), ("cursor://anysphere.cursor/cb", "native"), ("http://localhost/cb", None)],
    )
    def test_the_usual_clients_register(self, product: Product, uri: str, kind: str | None) -> None:
        answer = product.register(redirect_uris=[uri], **({"application_type": kind} if kind else {}))
        assert answer.status_code == 201
        assert answer.json().get("application_type") == kind
        assert "client_secret" not in answer.json()

    def test_registering_is_paced(self, product: Product) -> None:
        with override_settings(IDP_OIDC_RATE_LIMITS={"client_registration": "2/m/ip"}):
            statuses = [product.register().status_code for _ in range(4)]
        assert statuses[-1] == 429


def test_a_key_limited_to_addresses_is_limited_on_the_api_as_well(product: Product) -> None:
    for ranges, status in ((["203.0.113.0/24"], 401), (["127.0.0.0/8"], 200)):
        issued = api_keys.issue(
            tenant=product.tenant, name="K", scopes=["catalog:read"], actor=product.person, networks=ranges
        )
        headers = {"authorization": f"Bearer {issued.text}", "x-forwarded-for": "203.0.113.9"}
        assert httpx.get(f"{product.base}/api/v1/servers/", headers=headers).status_code == status


def test_tokens_open_the_api_as_far_as_they_go(product: Product) -> None:
    _, reader = product.signed_in_client(scope="catalog:read", resource=None)
    _, caller = product.signed_in_client(scope="invoke", resource=None)
    _, narrow = product.signed_in_client(scope="catalog:read")
    statuses = [
        httpx.get(
            f"{product.base}/api/v1/servers/", headers={"authorization": f"Bearer {one['access_token']}"}
        ).status_code
        for one in (reader, caller, narrow)
    ]
    assert statuses == [200, 403, 401]
