from __future__ import annotations

import re

import pytest
from django.test import override_settings

from notifications.models import WebhookDelivery, WebhookEndpoint
from notifications.services import webhooks as queue
from tenants.choices import Role, Scope
from tenants.context import tenant_scope
from tenants.models import Membership
from tenants.services import api_keys, webhook_delivery, webhooks
from tests.support.gateways import serving
from tests.support.webhook_receivers import Receiver

PAGES = "/o/acme/settings/webhooks/"
API = "/api/v1/webhooks/"


@pytest.fixture(autouse=True)
def receiver():
    found = Receiver(body=b"<script>alert(1)</script>")
    with serving(found) as found.port, override_settings(EGRESS_ALLOW=[f"127.0.0.1:{found.port}"]):
        yield found


@pytest.fixture
def hook(cast, receiver) -> WebhookEndpoint:
    return webhooks.create(tenant=cast.acme, name="Ops", url=receiver.url, events=["*"], actor=cast.alice).endpoint


@pytest.fixture
def auditor(cast):
    Membership.objects.filter(tenant=cast.acme, user=cast.bob).update(role=Role.AUDITOR)
    return cast.bob


class TestPages:
    def test_a_webhook_is_added_and_its_secret_shown_once(self, cast, signed_in, receiver):
        alice = signed_in(cast.alice)
        answer = alice.post(
            f"{PAGES}new/", {"name": "Ops", "url": receiver.url, "form": "slack", "events": ["access.grant.given"]}
        )
        secret = re.search(r"whsec_[A-Za-z0-9+/=]+", answer.content.decode())[0]

        assert answer["Cache-Control"] == "no-store"
        with tenant_scope(cast.acme):
            endpoint = WebhookEndpoint.objects.get()
        assert webhooks.secrets_in_use(cast.acme, endpoint) == [secret]
        page = alice.get(f"{PAGES}{endpoint.pk}/").content.decode()
        assert receiver.url in page
        assert secret not in page

    def test_a_refused_address_is_said_at_its_field(self, cast, signed_in):
        answer = signed_in(cast.alice).post(
            f"{PAGES}new/", {"name": "Ops", "url": "https://10.0.0.1/x", "form": "slack", "events": ["*"]}
        )

        assert answer.status_code == 422
        assert "not public" in answer.content.decode()

    def test_the_log_shows_each_attempt_and_what_a_receiver_wrote_is_only_text(self, cast, signed_in, hook, receiver):
        receiver.statuses = [500]
        with tenant_scope(cast.acme):
            queue.emit(cast.acme.pk, "access.grant.given", {"server": "payments"})
        webhook_delivery.deliver_due(cast.acme)
        page = signed_in(cast.alice).get(f"{PAGES}{hook.pk}/").content.decode()

        assert "500 after" in page
        assert "&lt;script&gt;" in page
        assert "<script>alert" not in page

    def test_an_auditor_sees_all_but_the_path_of_the_address_and_changes_nothing(self, cast, signed_in, hook, auditor):
        bob = signed_in(auditor)
        page = bob.get(f"{PAGES}{hook.pk}/").content.decode()

        assert "Ops" in page
        assert "/hook" not in page
        for action in ("change", "secret", "remove", "switch", "test"):
            assert bob.post(f"{PAGES}{hook.pk}/{action}/").status_code == 403

    def test_it_is_turned_off_and_on_tested_and_removed(self, cast, signed_in, hook):
        alice, page = signed_in(cast.alice), f"{PAGES}{hook.pk}/"
        alice.post(f"{page}switch/", {"on": "0"})
        assert "Turned off" in alice.get(page).content.decode()
        assert alice.post(f"{page}test/").status_code == 409
        alice.post(f"{page}switch/", {"on": "1"})
        assert alice.post(f"{page}test/").status_code == 302
        with tenant_scope(cast.acme):
            assert WebhookDelivery.objects.get().event == "webhook.test"
        alice.post(f"{page}remove/")
        assert alice.get(page).status_code == 404


class TestAPI:
    def test_a_program_does_what_the_pages_do(self, cast, receiver, client):
        key = api_keys.issue(tenant=cast.acme, name="t", scopes=[Scope.ADMIN], actor=cast.alice).text
        headers = {"Authorization": f"Bearer {key}"}

        def ask(method: str, path: str = "", body: object = None):
            return getattr(client, method)(f"{API}{path}", body, content_type="application/json", headers=headers)

        made = ask("post", "", {"name": "Ops", "url": receiver.url, "events": ["*"]}).json()
        path = f"{made['webhook']['id']}/"
        assert made["secret"].startswith("whsec_")
        assert ask("patch", path, {"enabled": False}).json()["enabled"] is False
        assert ask("patch", path, {"enabled": True, "name": "Chat", "format": "slack"}).json()["name"] == "Chat"
        assert ask("post", f"{path}secrets/").json()["secret"] != made["secret"]
        sent = ask("post", f"{path}deliveries/").json()
        webhook_delivery.deliver_due(cast.acme)
        [delivery] = client.get(f"{API}{path}deliveries/", headers=headers).json()["deliveries"]
        assert (delivery["id"], delivery["state"], len(delivery["attempts"])) == (sent["id"], "delivered", 1)
        assert ask("post", f"{path}deliveries/{sent['id']}/").json()["state"] == "waiting"
        assert ask("delete", path).status_code == 204
        assert client.get(API, headers=headers).json() == {"webhooks": []}

    @pytest.mark.parametrize(
        "body",
        [{}, [], {"name": "x", "url": "http://10.0.0.1", "events": ["*"]}, {"name": "x", "url": "y", "events": []}],
    )
    def test_what_cannot_be_is_refused_with_the_field(self, cast, client, body):
        key = api_keys.issue(tenant=cast.acme, name="t", scopes=[Scope.ADMIN], actor=cast.alice).text
        answer = client.post(API, body, content_type="application/json", headers={"Authorization": f"Bearer {key}"})

        assert (answer.status_code, answer["content-type"]) == (400, "application/problem+json")
