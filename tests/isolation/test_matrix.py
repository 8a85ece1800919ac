"""Every URL and every actor, on two organisations full of canaries."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.test import Client

from tenants.context import PLATFORM, tenant_scope, viewer
from tenants.services import settings
from tests.isolation import matrix
from tests.isolation.conftest import ACTORS, TOKEN, Stage
from tests.isolation.planted import fingerprint
from tests.isolation.urls import Endpoint, walk
from tests.support.cast import Cast

ENDPOINTS = list(walk())
OF_ORGANISATIONS = [endpoint for endpoint in ENDPOINTS if "org" in endpoint.parameters]
WITH_THINGS = [endpoint for endpoint in OF_ORGANISATIONS if endpoint.parameters - {"org"}]
FILLERS = {
    "digest": "0123456789abcdef0123456789abcdef",
    "name": "nothing.eml",
    "pk": 1,
    "uidb36": "1",
    "key": "set-password",
    "object_id": "00000000-0000-7000-8000-000000000000",
    "content_type_id": 1,
    "url": "nothing",
    "app_label": "catalog",
}
UNSAFE = ("post", "put", "patch", "delete")
NOT_DONE = {401, 403, 404, 405}


def named(endpoints: list[Endpoint]):
    return pytest.mark.parametrize("endpoint", endpoints, ids=[f"{e.name} {e.route}" for e in endpoints])


def text_of(response) -> str:
    body = b"".join(response.streaming_content) if response.streaming else response.content
    return body.decode(errors="replace") + str(response.headers)


def send(browser: Client, method: str, path: str, data: dict[str, object]):
    """A request with the CSRF token, as a page of ours would send it."""
    return getattr(browser, method)(path, {**data, "csrfmiddlewaretoken": TOKEN}, headers={"X-CSRFToken": TOKEN})


class TestTable:
    def test_every_url_is_in_the_table(self):
        assert [endpoint.name for endpoint in ENDPOINTS if matrix.expected(endpoint.name) is None] == []

    def test_every_line_of_the_table_has_a_url(self):
        names = [endpoint.name for endpoint in ENDPOINTS]

        assert set(matrix.EXPECTED) - set(names) == set()
        assert [prefix for prefix in matrix.GROUPS if not any(name.startswith(prefix) for name in names)] == []

    def test_every_page_of_an_organisation_says_what_a_colleague_may_send(self):
        assert {endpoint.name for endpoint in OF_ORGANISATIONS} == set(matrix.BOB_POSTS)

    def test_every_parameter_of_a_url_is_planted(self, stage):
        known = set(FILLERS) | set(stage.acme.parameters)

        assert {parameter for endpoint in ENDPOINTS for parameter in endpoint.parameters} - known == set()

    def test_another_organisation_and_a_stranger_have_no_page_of_an_organisation(self):
        for endpoint in OF_ORGANISATIONS:
            row = matrix.expected(endpoint.name)
            assert (row.charlie, row.anonymous, row.olga) == (404, 302, 404)


class TestReading:
    @named(ENDPOINTS)
    def test_each_actor_gets_what_the_table_says_and_strangers_no_canary(self, stage: Stage, endpoint):
        path, row = endpoint.path(FILLERS | stage.acme.parameters), matrix.expected(endpoint.name)
        answers = {actor: stage.browsers[actor].get(path) for actor in ACTORS}

        found = {actor: answer.status_code for actor, answer in answers.items()}
        assert {actor: status for actor, status in found.items() if not row.allows(actor, status)} == {}
        if endpoint.name not in matrix.BY_LINK:
            leaks = [who for who in ("charlie", "anonymous") if stage.acme.word in text_of(answers[who])]
            assert leaks == []
        told = [who for who in ("bob", "charlie", "anonymous") if stage.acme.team_word in text_of(answers[who])]
        assert told == []

    @named(OF_ORGANISATIONS)
    def test_the_owner_sees_the_canary_where_others_do_not(self, stage, endpoint):
        """Guards the guard: a page that shows nothing to anybody would prove nothing."""
        shows = {
            "org:call",
            "org:keys",
            "org:access",
            "org:limits",
            "org:connections",
            "org:people",
            "org:audit",
            "org:notifications",
            "org:webhooks",
            "org:operators",
            "org:decisions",
            "org:audit-export",
            "org:webhook",
            "org:calls",
            "org:requests",
            "org:request",
            "org:request-by-mail",
            "org:request-rules",
            "org:reviews",
            "org:review",
            "org:provider-request",
            "org:earnings-payouts",
            "org:earnings-statement",
            "org:cards",
            "org:payments",
            "org:credit",
            "org:credit-receipt",
            "org:invoice",
            "org:invoice-line",
            "org:billing-profile",
        }
        if endpoint.name in shows:
            page = stage.browsers["alice"].get(endpoint.path(FILLERS | stage.acme.parameters))
            assert stage.acme.word in text_of(page)

    def test_the_team_s_server_shows_to_the_team(self, stage):
        assert stage.acme.team_word in text_of(stage.browsers["alice"].get("/"))

    @named(WITH_THINGS)
    def test_a_thing_of_acme_is_not_there_inside_globex(self, stage, endpoint):
        path = endpoint.path(FILLERS | stage.acme.parameters | {"org": "globex"})
        answer = stage.browsers["charlie"].get(path)

        assert answer.status_code in NOT_DONE - {403} | ({302} if endpoint.name == "org:member-change" else set())
        assert stage.acme.word not in text_of(answer)

    @named([endpoint for endpoint in ENDPOINTS if not endpoint.parameters - {"org"}])
    def test_naming_things_of_acme_in_a_query_shows_nothing_of_them(self, stage, endpoint):
        things = {name: str(value) for name, value in stage.acme.parameters.items() if name != "org"}
        # Names that bear the word would come back as what charlie asked for, which is no leak.
        things = {name: value for name, value in things.items() if stage.acme.word not in value}
        asked = {
            **things,
            "server": str(stage.acme.server.pk),
            "server_id": str(stage.acme.server.pk),
            "key": things["key_id"],
            "before": things["call_id"],
            "after": things["call_id"],
            "subject": f"key:{things['key_id']}",
            "page": "1",
        }
        for server in (str(stage.acme.server.pk), stage.acme.server.slug):
            path = endpoint.path(FILLERS | {"org": "globex"})
            answer = stage.browsers["charlie"].get(path, asked | {"server": server})

            assert answer.status_code < 500
            assert stage.acme.word not in text_of(answer)


class TestWriting:
    @named(ENDPOINTS)
    def test_nothing_is_done_without_the_csrf_token(self, stage, endpoint):
        path = endpoint.path(FILLERS | stage.acme.parameters)
        done = {
            f"{actor} {method}": answer.status_code
            for actor in ("alice", "olga")
            for method in UNSAFE
            if (answer := getattr(stage.browsers[actor], method)(path)).status_code not in NOT_DONE
            and not (answer.status_code == 400 and endpoint.name in matrix.PROGRAMS)
            # Records that no operator has opened lead to where they are opened, whatever was asked.
            and not (answer.status_code == 302 and answer.url == "/operations/records/" and actor == "olga")
        }

        assert done == {}

    @named(ENDPOINTS)
    def test_another_organisation_changes_nothing_of_acme(self, stage, before, endpoint):
        things = FILLERS | stage.acme.parameters
        data = _everything(stage)
        for method in UNSAFE:
            for values in (things, things | {"org": "globex"}) if "org" in endpoint.parameters else (things,):
                answer = send(stage.browsers["charlie"], method, endpoint.path(values), data)
                assert answer.status_code < 500
                assert stage.acme.word not in text_of(answer) or endpoint.name in matrix.BY_LINK
                if values.get("org") == "acme" and "org" in endpoint.parameters:
                    assert answer.status_code == 404
                elif endpoint in WITH_THINGS:
                    assert answer.status_code in NOT_DONE | {302}

        assert fingerprint(stage.cast.acme) == before

    @named([endpoint for endpoint in OF_ORGANISATIONS if endpoint.name.startswith("org:")])
    def test_a_colleague_without_the_right_changes_nothing(self, stage, before, endpoint):
        path = endpoint.path(FILLERS | stage.acme.parameters)
        data = _everything(stage)
        if endpoint.name == "org:settings":
            data["name"] = settings.list_settings(stage.cast.acme)[0][1][0].flag.name
        answer = send(stage.browsers["bob"], "post", path, data)

        assert answer.status_code == matrix.BOB_POSTS[endpoint.name]
        if endpoint.name not in matrix.BOB_MAY:
            assert fingerprint(stage.cast.acme) == before


class TestOperators:
    def test_an_operator_without_a_second_factor_sees_no_admin(self, stage):
        stage.cast.olga.authenticator_set.all().delete()

        for endpoint in ENDPOINTS:
            if endpoint.name.startswith(("admin:", "operations-")):
                answer = stage.browsers["olga"].get(endpoint.path(FILLERS | stage.acme.parameters))
                assert (endpoint.name, answer.status_code) == (endpoint.name, 302)

    @pytest.mark.parametrize("model", admin.site._registry, ids=lambda model: model._meta.label)
    def test_every_page_about_a_planted_thing_works_in_the_admin(self, stage, model):
        browser = stage.browsers["elevated"]
        label = f"{model._meta.app_label}_{model._meta.model_name}"
        thing = _first(model, stage)
        for endpoint in ENDPOINTS:
            if endpoint.name.startswith(f"admin:{label}_"):
                answer = browser.get(endpoint.path(FILLERS | {"object_id": thing.pk if thing else "0"}))
                assert (endpoint.name, answer.status_code < 500) == (endpoint.name, True)


@pytest.fixture(scope="module")
def before(whole_stage) -> dict[str, str]:
    return fingerprint(Cast.load().acme)


def _everything(stage: Stage) -> dict[str, object]:
    """Values for whatever a form may ask, about things of acme."""
    things = {name: str(value) for name, value in stage.acme.parameters.items() if name != "org"}
    return {
        **things,
        "name": "Stolen",
        "slug": "stolen",
        "email": "charlie@globex.example",
        "role": "owner",
        "membership": things["membership_id"],
        "member": things["membership_id"],
        "server": str(stage.acme.server.pk),
        "servers": str(stage.acme.server.pk),
        "subject": f"key:{things['key_id']}",
        "scopes": "admin",
        "max_trust": "high",
        "side_effects": "destructive",
        "expiry": "90",
        "value": "1",
        "action": "put",
        "notification": things["notification_id"],
    }


def _first(model, stage: Stage):
    with tenant_scope(stage.cast.acme), viewer(PLATFORM):
        return model._default_manager.first()
