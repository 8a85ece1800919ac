"""Who may look and not touch: an auditor of the organisation, and an operator who opened it for a reason.

Every page of an organisation is asked for and posted to with everything a form may want.
"""

from __future__ import annotations

import pytest
from django.test import Client

from tenants.choices import Role
from tenants.models import Membership
from tests.isolation import matrix
from tests.isolation.conftest import Stage
from tests.isolation.planted import fingerprint
from tests.isolation.test_matrix import FILLERS, NOT_DONE, OF_ORGANISATIONS, UNSAFE, _everything, named, send, text_of

# What an auditor posts that changes nothing of the organisation: the way to its first page, checking the log, and their own
# inbox. Leaving is everybody's right, of themselves.
AUDITORS_OWN = {"org:home": {302}, "org:audit": {200}, "org:notifications": {302}}
# Asking is every member's, an auditor's too, for themself: it gives nothing, and is written where asking is written alone.
ASKING = {
    "org:access-request",
    "org:access-simulate",
    "org:grant-renew",
    "org:request",
    "org:request-edit",
    "org:absence",
}
ASKED = ("request", "absence", "notifications_", "audit_")
# Logs of the organisation that keep who looked.
NOTED = "audit_"


@pytest.fixture
def auditor(stage: Stage) -> Client:
    """bob, as an auditor of acme."""
    Membership.objects.filter(tenant=stage.cast.acme, user=stage.cast.bob).update(role=Role.AUDITOR)
    return stage.browsers["bob"]


def others(prints: dict[str, str]) -> dict[str, str]:
    return {table: digest for table, digest in prints.items() if NOTED not in table}


@named(OF_ORGANISATIONS)
def test_an_auditor_sees_what_bob_sees_and_the_logs_and_changes_nothing(stage, auditor, endpoint):
    parameters = FILLERS | stage.acme.parameters | {"membership_id": _alice(stage)}
    path = endpoint.path(parameters)
    answer = auditor.get(path)
    page, before = text_of(answer), fingerprint(stage.cast.acme)
    for method in UNSAFE:
        sent = send(auditor, method, path, _everything(stage))
        allowed = {200, 302, 422} if endpoint.name in ASKING else AUDITORS_OWN.get(endpoint.name, set())
        assert sent.status_code in NOT_DONE | allowed, (method, sent.status_code)

    assert answer.status_code < 500
    assert stage.acme.team_word not in page
    after = fingerprint(stage.cast.acme)
    changed = {table for table in after if after[table] != before.get(table)}
    own = ASKED if endpoint.name in ASKING else ("notifications_notification",) if endpoint.name in AUDITORS_OWN else ()
    assert {table for table in changed if not any(word in table for word in own)} == set()


@named(OF_ORGANISATIONS)
def test_an_operator_who_opened_it_sees_what_an_auditor_sees_and_changes_nothing(stage, auditor, endpoint):
    path = endpoint.path(FILLERS | stage.acme.parameters | {"membership_id": _alice(stage)})
    operator, before = stage.browsers["elevated"], fingerprint(stage.cast.acme)
    # A request may be changed by who made it, and the auditor of the tests has made the one that is planted.
    if endpoint.name != "org:request-edit":
        assert operator.get(path).status_code == auditor.get(path).status_code
    for method in UNSAFE:
        answer = send(operator, method, path, _everything(stage))
        assert answer.status_code in {403, 405}

    assert others(fingerprint(stage.cast.acme)) == others(before)


@pytest.mark.parametrize("name", ["org:calls", "org:audit", "org:webhooks", "org:operators", "org:people"])
def test_the_auditor_s_pages_show_what_is_there(stage, auditor, name):
    """Guards the guard: somebody who is shown nothing could change nothing either."""
    endpoint = next(each for each in OF_ORGANISATIONS if each.name == name)
    assert stage.acme.word in text_of(auditor.get(endpoint.path(stage.acme.parameters)))


def test_the_posts_that_an_auditor_may_make_are_of_pages_that_exist():
    assert set(AUDITORS_OWN) <= set(matrix.BOB_POSTS)


def _alice(stage: Stage) -> object:
    return Membership.objects.get(tenant=stage.cast.acme, user=stage.cast.alice).pk
