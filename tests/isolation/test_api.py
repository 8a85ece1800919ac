"""The REST API with keys of the right and of the wrong organisation."""

from __future__ import annotations

import pytest
from django.test import Client

from tenants.choices import Scope
from tenants.services import api_keys
from tests.isolation.conftest import Stage
from tests.isolation.planted import Planted, fingerprint
from tests.isolation.test_matrix import ENDPOINTS, NOT_DONE, UNSAFE, named, text_of
from tests.isolation.urls import Endpoint

API = [endpoint for endpoint in ENDPOINTS if endpoint.name.startswith("api:")]
WITH_THINGS = [endpoint for endpoint in API if endpoint.parameters]
LISTS = [endpoint for endpoint in API if not endpoint.parameters]
POSTED = {
    "api:access-apply",
    "api:access-plan",
    "api:access-simulations",
    "api:billing-card-setups",
    "api:billing-credit-refunds",
}
# What is asked about is named in the query; without it there is nothing to answer.
QUERIES = {
    "api:access-explain": ("server", "tool", "who"),
    "api:access-who-can": ("server", "tool"),
    "api:access-what-can": ("who",),
}
# Their answers hold no name that an organisation gave, but ids and short names of what it has.
RECOGNISED_BY = {"api:access-explain": "grant_id", "api:access-what-can": "grant_id"}
# They answer with numbers, compressed pages or words that everybody uses: nothing of an organisation is recognised in them.
NUMBERS = {
    "api:audit-checkpoint",
    "api:billing-credit",
    "api:billing-earnings",
    "api:billing-invoice-document",
    "api:billing-plans",
    "api:billing-preview",
    "api:billing-prices",
    "api:billing-statement-document",
    "api:billing-subscription",
    "api:facets",
}


def ask(key: str, path: str, method: str = "get", /, **query: object):
    client = Client(raise_request_exception=False, enforce_csrf_checks=True)
    return getattr(client, method)(path, query, headers={"Authorization": f"Bearer {key}"})


def query_of(endpoint: Endpoint, planted: Planted) -> dict[str, str]:
    """What an endpoint must be asked with, about things of one organisation."""
    known = {"server": planted.server.slug, "tool": "list_invoices", "who": f"key:{planted.parameters['key_id']}"}
    return {name: known[name] for name in QUERIES.get(endpoint.name, ())}


def mark_of(endpoint: Endpoint, planted: Planted) -> str:
    """What an answer about an organisation is recognised by."""
    return str(planted.parameters[RECOGNISED_BY[endpoint.name]]) if endpoint.name in RECOGNISED_BY else planted.word


def status_without_things(endpoint: Endpoint) -> int:
    return 405 if endpoint.name in POSTED else 404 if endpoint.name in QUERIES else 200


def with_scope(stage: Stage, scope: str) -> str:
    cast = stage.cast
    return api_keys.issue(tenant=cast.acme, name="narrow", scopes=[scope], actor=cast.alice).text


class TestOwnKey:
    @named(API)
    def test_it_shows_what_is_its_organisation_s(self, stage, endpoint):
        answer = ask(stage.acme.key, endpoint.path(stage.acme.parameters), **query_of(endpoint, stage.acme))

        assert answer.status_code == (405 if endpoint.name in POSTED else 200)
        assert endpoint.name in NUMBERS | POSTED or mark_of(endpoint, stage.acme) in text_of(answer)
        assert stage.globex.word not in text_of(answer)
        assert mark_of(endpoint, stage.globex) not in text_of(answer)

    @named(API)
    def test_a_key_that_may_only_call_reads_nothing(self, stage, endpoint):
        key, query = with_scope(stage, Scope.INVOKE), query_of(endpoint, stage.acme)
        answer = ask(key, endpoint.path(stage.acme.parameters), **query)

        assert answer.status_code == 403
        assert answer.json()["code"] == "tenants.scope_missing"
        assert stage.acme.word not in text_of(answer)


class TestForeignKey:
    @named(WITH_THINGS)
    def test_a_thing_of_another_organisation_is_not_there(self, stage, endpoint):
        answer = ask(stage.globex.key, endpoint.path(stage.acme.parameters))

        assert answer.status_code == 404
        assert stage.acme.word not in text_of(answer)

    @named(LISTS)
    def test_lists_hold_nothing_of_another_organisation_whatever_is_asked(self, stage, endpoint):
        things = {name: str(value) for name, value in stage.acme.parameters.items()}
        for name, value in {
            **things,
            "server": str(stage.acme.server.pk),
            "server_id": str(stage.acme.server.pk),
            "key": things["key_id"],
            "q": "server",
            "tenant": str(stage.cast.acme.pk),
            "organisation": "acme",
            "cursor": "cD0wMDAwMDAwMC0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDA=",
        }.items():
            answer = ask(stage.globex.key, endpoint.path({}), **{name: value})

            assert answer.status_code < 500
            assert stage.acme.word not in text_of(answer)

    @named([endpoint for endpoint in API if endpoint.name in QUERIES])
    def test_asking_about_a_thing_of_another_organisation_is_as_asking_about_nothing(self, stage, endpoint):
        own, foreign = query_of(endpoint, stage.globex), query_of(endpoint, stage.acme)
        answer = ask(stage.globex.key, endpoint.path({}), **own)
        assert answer.status_code == 200
        assert mark_of(endpoint, stage.globex) in text_of(answer)
        assert mark_of(endpoint, stage.acme) not in text_of(answer)

        for name in foreign.keys() - {"tool"}:  # both organisations' tools have the same name
            for query in (foreign, own | {name: foreign[name]}):
                answer = ask(stage.globex.key, endpoint.path({}), **query)

                assert answer.status_code == 404
                assert stage.acme.word not in text_of(answer)
                assert str(stage.acme.parameters["grant_id"]) not in text_of(answer)

    @named(API)
    def test_it_changes_nothing(self, stage, endpoint):
        before = fingerprint(stage.cast.acme)
        for method in UNSAFE:
            answer = ask(stage.globex.key, endpoint.path(stage.acme.parameters), method)
            assert answer.status_code in NOT_DONE | {415}  # what a form sends is no JSON

        assert fingerprint(stage.cast.acme) == before

    @named(API)
    def test_the_key_and_not_the_browser_s_session_says_whose_data_it_is(self, stage, endpoint):
        browser = stage.browsers["alice"]
        answer = browser.get(
            endpoint.path(stage.acme.parameters),
            query_of(endpoint, stage.acme),
            headers={"Authorization": f"Bearer {stage.globex.key}"},
        )

        assert answer.status_code == (404 if endpoint.parameters else status_without_things(endpoint))
        assert stage.acme.word not in text_of(answer)


class TestSavedSearches:
    """They are a person's: of one organisation's key, and of the one person who has made it."""

    def keep(self, key: str, name: str):
        headers = {"Authorization": f"Bearer {key}"}
        body = {"name": name, "query": "q=mail"}
        return Client().post("/api/v1/searches/", body, content_type="application/json", headers=headers)

    def test_another_organisation_s_key_neither_replaces_nor_removes_them(self, stage):
        mine = f"/api/v1/searches/{stage.acme.parameters['search_id']}/"
        before = fingerprint(stage.cast.acme)

        assert ask(stage.globex.key, mine, "delete").status_code == 404
        assert self.keep(stage.globex.key, f"{stage.acme.word} search").status_code == 201
        assert fingerprint(stage.cast.acme) == before

    def test_a_colleague_s_key_does_not_know_them(self, stage):
        mine = f"/api/v1/searches/{stage.acme.parameters['search_id']}/"
        cast = stage.cast
        key = api_keys.issue(tenant=cast.acme, name="bob's", scopes=[Scope.CATALOG_READ], actor=cast.bob).text

        assert stage.acme.word not in text_of(ask(key, "/api/v1/searches/"))
        for method in ("get", "delete"):
            assert ask(key, mine, method).status_code == 404
        assert ask(stage.acme.key, mine).status_code == 200

    def test_a_key_of_somebody_who_left_has_nobody_s(self, stage):
        stage.cast.acme.memberships.filter(user=stage.cast.alice).delete()

        answer = ask(stage.acme.key, "/api/v1/searches/")

        assert (answer.status_code, answer.json()["code"]) == (403, "catalog.searches_person")


class TestNoUsableKey:
    @named(API)
    def test_nothing_is_shown_and_every_refusal_looks_the_same(self, stage, endpoint):
        path, key = endpoint.path(stage.acme.parameters), stage.acme.key
        revoked = api_keys.issue(tenant=stage.cast.acme, name="gone", scopes=Scope.values, actor=stage.cast.alice)
        api_keys.revoke(tenant=stage.cast.acme, key_id=revoked.key.pk, actor=stage.cast.alice)
        bad = [revoked.text, key[:-1], key.swapcase(), "mk_test_x", "null", "undefined", key.replace("mk_", "")]
        answers = [ask(text, path) for text in bad]

        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.content for answer in answers}) == 1
        assert all(stage.acme.word not in text_of(answer) for answer in answers)

    @named(API)
    @pytest.mark.parametrize("actor", ["alice", "charlie", "olga"])
    def test_a_signed_in_browser_without_a_key_is_nobody(self, stage, endpoint, actor):
        answer = stage.browsers[actor].get(endpoint.path(stage.acme.parameters))

        assert answer.status_code == 401
        assert "Bearer" in answer.headers["WWW-Authenticate"]

    def test_two_different_keys_at_once_are_refused(self, stage):
        headers = {"Authorization": f"Bearer {stage.acme.key}", "X-API-Key": stage.globex.key}

        assert Client().get(API[0].path({}), headers=headers).status_code == 401


class TestRegistry:
    """The registry's API answers without a key too, with what is public."""

    ENDPOINTS = [endpoint for endpoint in ENDPOINTS if endpoint.name.startswith("registry:")]

    @named(ENDPOINTS)
    def test_an_own_key_shows_what_is_its_organisation_s(self, stage, endpoint):
        answer = ask(stage.acme.key, endpoint.path(stage.acme.parameters))

        assert answer.status_code == 200
        assert stage.acme.word in text_of(answer)
        assert stage.globex.word not in text_of(answer)
        assert stage.acme.team_word not in text_of(answer)  # the key belongs to no team

    @named(ENDPOINTS)
    def test_a_key_of_another_organisation_finds_nothing_of_it_whatever_is_asked(self, stage, endpoint):
        path = endpoint.path(stage.acme.parameters)
        for query in (
            {},
            {"include_deleted": "true"},
            {"updated_since": "2020-01-01T00:00:00Z"},
            {"search": stage.acme.word},
            {"search": str(stage.acme.parameters["registry_name"])},
            {"version": "latest"},
        ):
            for answer in (ask(stage.globex.key, path, **query), Client().get(path, query)):
                assert answer.status_code == (404 if endpoint.parameters else 405 if endpoint.name in POSTED else 200)
                assert stage.acme.word not in text_of(answer)
                assert stage.acme.team_word not in text_of(answer)

    @named(ENDPOINTS)
    def test_a_cursor_of_another_organisation_s_list_leads_to_nothing_of_it(self, stage, endpoint):
        if not endpoint.parameters:
            cursor = ask(stage.acme.key, endpoint.path({}), limit=1).json()["metadata"]["nextCursor"]
            answer = ask(stage.globex.key, endpoint.path({}), cursor=cursor)

            assert answer.status_code == 200
            assert stage.acme.word not in text_of(answer)

    @named(ENDPOINTS)
    def test_a_key_that_may_only_call_reads_nothing(self, stage, endpoint):
        answer = ask(with_scope(stage, Scope.INVOKE), endpoint.path(stage.acme.parameters))

        assert answer.status_code == 403
        assert stage.acme.word not in text_of(answer)
