from __future__ import annotations

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from django.test import override_settings

from audit.models import AuditEvent
from audit.services import checkpoints
from core import clock
from core.errors import ConflictError, InvalidError, NotFoundError
from notifications import signals
from notifications.models import Notification, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from notifications.services import webhooks as queue
from tenants.context import platform_scope, tenant_scope
from tenants.services import vault, webhook_delivery, webhooks
from tests.support.gateways import serving
from tests.support.webhook_receivers import Receiver

GIVEN = "access.grant.given"
State = WebhookDelivery.State


@pytest.fixture
def receiver():
    """A receiver that the operator allows although it is on this machine."""
    found = Receiver()
    with serving(found) as found.port, override_settings(EGRESS_ALLOW=[f"127.0.0.1:{found.port}"]):
        yield found


@pytest.fixture
def hook(cast, receiver):
    """acme's webhook to the receiver, with its secret; it hears of everything."""
    return webhooks.create(tenant=cast.acme, name="Ops", url=receiver.url, events=["*"], actor=cast.alice)


def emit(tenant, event=GIVEN, **data):
    with tenant_scope(tenant):
        return queue.emit(tenant.pk, event, data)


def deliveries(tenant) -> list[WebhookDelivery]:
    with tenant_scope(tenant):
        return list(WebhookDelivery.objects.order_by("created_at"))


def attempts(tenant) -> list[WebhookAttempt]:
    with tenant_scope(tenant):
        return list(WebhookAttempt.objects.order_by("at"))


def endpoint(tenant) -> WebhookEndpoint:
    with tenant_scope(tenant):
        return WebhookEndpoint.objects.get()


def later(**how):
    return clock.frozen(clock.now() + timedelta(**how))


class TestEmit:
    def test_it_reaches_the_receiver_signed_and_says_whose_it_is(self, cast, receiver, hook):
        emit(cast.acme, server="payments", by=cast.alice.pk)
        assert webhook_delivery.deliver_due(cast.acme) == 1

        [message] = receiver.got
        assert message.is_signed_with(hook.secret)
        assert message.content["type"] == GIVEN
        assert message.content["id"] == message.headers["webhook-id"]
        assert message.content["organisation"]["slug"] == "acme"
        assert message.content["data"] == {"server": "payments", "by": str(cast.alice.pk)}
        [delivery] = deliveries(cast.acme)
        assert (delivery.state, delivery.attempt_count) == (State.DELIVERED, 1)

    def test_only_endpoints_that_chose_the_event_hear_of_it(self, cast, receiver):
        for name, events in (("one", [GIVEN]), ("other", ["access.grant.revoked"])):
            webhooks.create(tenant=cast.acme, name=name, url=receiver.url, events=events, actor=cast.alice)

        assert emit(cast.acme) == 1

    def test_another_organisation_hears_nothing(self, cast, receiver, hook):
        emit(cast.globex)
        webhook_delivery.deliver_due(cast.globex)
        webhook_delivery.deliver_due(cast.acme)

        assert receiver.got == []

    def test_what_is_rolled_back_is_never_told(self, cast, receiver, hook):
        with transaction.atomic():
            emit(cast.acme)
            transaction.set_rollback(True)
        webhook_delivery.deliver_due(cast.acme)

        assert receiver.got == []

    def test_it_is_sent_after_the_commit_by_a_job_of_that_organisation(
        self, cast, hook, django_capture_on_commit_callbacks
    ):
        told = []
        listen = lambda tenant_id, **_: told.append(tenant_id)  # noqa: E731
        signals.webhooks_waiting.connect(listen)
        try:
            with django_capture_on_commit_callbacks(execute=True):
                emit(cast.acme)
                assert told == []
        finally:
            signals.webhooks_waiting.disconnect(listen)

        assert told == [cast.acme.pk]

    def test_an_event_that_is_not_in_the_list_and_one_of_nobody_are_refused(self, cast):
        with pytest.raises(ValueError, match="no event"):
            emit(cast.acme, "access.invented")
        with platform_scope(), pytest.raises(ValueError, match="inside its scope"):
            queue.emit(cast.acme.pk, GIVEN, {})

    def test_slack_gets_a_text(self, cast, receiver):
        webhooks.create(tenant=cast.acme, name="Chat", url=receiver.url, events=["*"], form="slack", actor=cast.alice)
        emit(cast.acme, server="payments")
        webhook_delivery.deliver_due(cast.acme)

        assert receiver.got[0].content == {"text": "*Acme*: A grant was given\n• server: payments"}


class TestFailures:
    def test_a_failure_is_tried_again_under_the_same_id_until_it_succeeds(self, cast, receiver, hook):
        receiver.statuses, receiver.body = [500, 503], b"out of order"
        emit(cast.acme)
        webhook_delivery.deliver_due(cast.acme)
        assert webhook_delivery.deliver_due(cast.acme) == 0  # not due yet
        for hours in (1, 2):
            with later(hours=hours):
                webhook_delivery.deliver_due(cast.acme)

        assert [each.status for each in attempts(cast.acme)] == [500, 503, 204]
        assert attempts(cast.acme)[0].excerpt == "out of order"
        assert len({message.headers["webhook-id"] for message in receiver.got}) == 1
        assert deliveries(cast.acme)[0].state == State.DELIVERED
        assert endpoint(cast.acme).failing_since is None

    def test_after_nine_attempts_it_is_given_up_and_shown_as_failed(self, cast, receiver, hook):
        receiver.statuses = [500] * 20
        emit(cast.acme)
        start = clock.now()
        for hour in range(0, 12 * 9, 9):
            with clock.frozen(start + timedelta(hours=hour)):
                webhook_delivery.deliver_due(cast.acme)

        assert len(receiver.got) == 9
        assert deliveries(cast.acme)[0].state == State.FAILED

    def test_a_redirect_is_not_followed(self, cast, receiver, hook):
        receiver.statuses, receiver.location = [302], f"{receiver.url}/elsewhere"
        emit(cast.acme)
        webhook_delivery.deliver_due(cast.acme)

        assert [message.path for message in receiver.got] == ["/hook"]
        [attempt] = attempts(cast.acme)
        assert (attempt.status, "not followed" in attempt.error) == (302, True)

    @pytest.mark.parametrize("how", ["hangs", "drips"])
    def test_a_receiver_that_does_not_finish_is_left(self, cast, receiver, hook, how, monkeypatch):
        monkeypatch.setattr(webhook_delivery, "ATTEMPT_S", 0.4)
        monkeypatch.setattr(webhook_delivery, "_EXCERPT_BYTES", 10_000)
        receiver.statuses, receiver.drips = [0 if how == "hangs" else 200], how == "drips"
        emit(cast.acme)
        webhook_delivery.deliver_due(cast.acme)
        receiver.drips = False

        [attempt] = attempts(cast.acme)
        assert (attempt.status, attempt.error) == (None, "No complete answer within 0 seconds.")

    def test_what_cannot_be_reached_holds_up_neither_other_endpoints_nor_is_it_asked_for_each_event(
        self, cast, receiver, hook, monkeypatch
    ):
        gone = Receiver()
        with serving(gone) as gone.port:
            pass
        with override_settings(EGRESS_ALLOW=[f"127.0.0.1:{receiver.port}", f"127.0.0.1:{gone.port}"]):
            webhooks.create(tenant=cast.acme, name="Gone", url=gone.url, events=["*"], actor=cast.alice)
            for _ in range(3):
                emit(cast.acme)
            assert webhook_delivery.deliver_due(cast.acme) == 3 + 1

        assert len(receiver.got) == 3

    def test_an_address_that_became_private_is_not_connected_to(self, cast, receiver, hook):
        emit(cast.acme)
        with override_settings(EGRESS_ALLOW=[]):
            webhook_delivery.deliver_due(cast.acme)

        assert receiver.got == []
        assert attempts(cast.acme)[0].status is None

    def test_what_a_sender_took_and_never_reported_is_sent_after_the_lease(self, cast, receiver, hook):
        emit(cast.acme)
        with tenant_scope(cast.acme):
            assert len(queue.claim(hook.endpoint)) == 1
            assert queue.claim(hook.endpoint) == []
        assert webhook_delivery.deliver_due(cast.acme) == 0
        with later(minutes=3):
            assert webhook_delivery.deliver_due(cast.acme) == 1


class TestTurningOff:
    def test_an_endpoint_that_fails_for_days_is_turned_off_and_its_owners_are_told(self, cast, receiver, hook):
        receiver.statuses = [500] * 50
        start = clock.now()
        for day in range(5):
            with clock.frozen(start + timedelta(days=day)):
                for _ in range(3):
                    emit(cast.acme)
                webhook_delivery.deliver_due(cast.acme)

        found = endpoint(cast.acme)
        assert (found.disabled_why, found.disabled_at is None) == ("failed", False)
        with tenant_scope(cast.acme):
            notices = Notification.objects.filter(kind=webhook_delivery.DISABLED)
            assert {notice.recipient_id for notice in notices} == {cast.alice.pk}
            assert AuditEvent.objects.filter(action="tenants:webhook:turned_off").exists()

    def test_one_that_says_gone_is_turned_off_at_once_and_sends_what_waited_when_on_again(self, cast, receiver, hook):
        receiver.statuses = [410]
        for _ in range(2):
            emit(cast.acme)
        webhook_delivery.deliver_due(cast.acme)
        with later(hours=1):
            assert webhook_delivery.deliver_due(cast.acme) == 0
            webhooks.switch(tenant=cast.acme, endpoint_id=hook.endpoint.pk, on=True, actor=cast.alice)
            assert webhook_delivery.deliver_due(cast.acme) == 2

    def test_a_short_outage_turns_nothing_off(self, cast, receiver, hook):
        receiver.statuses = [500] * 12
        for _ in range(12):
            emit(cast.acme)
        for _ in range(2):
            webhook_delivery.deliver_due(cast.acme)

        assert endpoint(cast.acme).disabled_at is None


class TestSecrets:
    def test_after_a_change_both_secrets_sign_for_a_day(self, cast, receiver, hook):
        second = webhooks.rotate(tenant=cast.acme, endpoint_id=hook.endpoint.pk, actor=cast.alice)
        emit(cast.acme)
        webhook_delivery.deliver_due(cast.acme)
        assert receiver.got[0].is_signed_with(hook.secret)
        assert receiver.got[0].is_signed_with(second.secret)

        with later(hours=25):
            emit(cast.acme)
            webhook_delivery.deliver_due(cast.acme)
        assert not receiver.got[1].is_signed_with(hook.secret)
        assert receiver.got[1].is_signed_with(second.secret)

    def test_they_are_stored_sealed_and_survive_a_change_of_data_keys(self, cast, receiver, hook):
        assert hook.secret.encode() not in bytes(endpoint(cast.acme).secret)
        before = bytes(endpoint(cast.acme).secret)
        vault.renew_data_keys()

        assert bytes(endpoint(cast.acme).secret) != before
        emit(cast.acme)
        webhook_delivery.deliver_due(cast.acme)
        assert receiver.got[0].is_signed_with(hook.secret)

    def test_neither_they_nor_the_path_of_the_address_are_in_the_audit_log(self, cast, receiver, hook):
        webhooks.rotate(tenant=cast.acme, endpoint_id=hook.endpoint.pk, actor=cast.alice)
        with tenant_scope(cast.acme):
            told = json.dumps(list(AuditEvent.objects.values_list("data", flat=True)))

        assert hook.secret not in told
        assert "/hook" not in told
        assert hook.secret not in repr(hook)


class TestManaging:
    @pytest.mark.parametrize(
        "url",
        ["http://example.com/x", "https://127.0.0.1/x", "https://169.254.169.254/", "https://u:p@1.1.1.1/", "ftp://x"],
    )
    def test_an_address_inside_or_without_tls_is_refused(self, cast, url):
        with pytest.raises(InvalidError) as refused:
            webhooks.create(tenant=cast.acme, name="x", url=url, events=["*"], actor=cast.alice)

        assert refused.value.data["field"] == "url"

    def test_things_of_another_organisation_are_not_there(self, cast, receiver, hook):
        emit(cast.acme)
        [delivery] = deliveries(cast.acme)
        wanted = {"tenant": cast.globex, "endpoint_id": hook.endpoint.pk}
        for act in (
            lambda: webhooks.rotate(**wanted, actor=cast.charlie),
            lambda: webhooks.remove(**wanted, actor=cast.charlie),
            lambda: webhooks.switch(**wanted, on=False, actor=cast.charlie),
            lambda: webhooks.send_test(**wanted),
            lambda: webhooks.redeliver(tenant=cast.globex, delivery_id=delivery.pk),
            lambda: webhooks.redeliver(tenant=cast.acme, delivery_id=uuid4()),
        ):
            with pytest.raises(NotFoundError):
                act()

    def test_a_delivery_is_sent_again_by_hand_under_the_same_id(self, cast, receiver, hook):
        emit(cast.acme)
        webhook_delivery.deliver_due(cast.acme)
        webhooks.redeliver(tenant=cast.acme, delivery_id=deliveries(cast.acme)[0].pk)
        webhook_delivery.deliver_due(cast.acme)

        first, second = receiver.got
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert [each.number for each in attempts(cast.acme)] == [1, 2]

    def test_a_test_says_that_it_is_one_and_needs_an_endpoint_that_is_on(self, cast, receiver, hook):
        webhooks.send_test(tenant=cast.acme, endpoint_id=hook.endpoint.pk)
        webhook_delivery.deliver_due(cast.acme)
        assert receiver.got[0].content["type"] == "webhook.test"

        webhooks.switch(tenant=cast.acme, endpoint_id=hook.endpoint.pk, on=False, actor=cast.alice)
        with pytest.raises(ConflictError):
            webhooks.send_test(tenant=cast.acme, endpoint_id=hook.endpoint.pk)

    def test_there_is_an_end_to_how_many_there_are(self, cast, receiver, monkeypatch):
        monkeypatch.setattr(webhooks, "ENDPOINTS_MAX", 1)
        for refused in (False, True):
            make = {"tenant": cast.acme, "name": "x", "url": receiver.url, "events": ["*"], "actor": cast.alice}
            if refused:
                with pytest.raises(ConflictError):
                    webhooks.create(**make)
            else:
                webhooks.create(**make)

    def test_deliveries_of_a_month_ago_are_forgotten(self, cast, receiver, hook):
        emit(cast.acme)
        webhook_delivery.deliver_due(cast.acme)
        with later(days=31), tenant_scope(cast.acme):
            queue.prune()

        assert deliveries(cast.acme) == []


class TestCheckpoints:
    def test_whoever_chose_them_gets_each_signed_checkpoint_of_the_audit_log(
        self, cast, receiver, hook, django_capture_on_commit_callbacks
    ):
        chosen = ["*", "audit.checkpoint.made"]
        webhooks.create(tenant=cast.acme, name="Keeper", url=receiver.url, events=chosen, actor=cast.alice)
        with tenant_scope(cast.acme), django_capture_on_commit_callbacks(execute=True):
            statement = checkpoints.make()
        assert webhook_delivery.deliver_due(cast.acme) == 1

        [message] = receiver.got
        kept = json.dumps(message.content["data"]["checkpoint"])
        assert checkpoints.read_ours(kept).point == statement.point
