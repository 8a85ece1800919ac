"""Webhooks for programs: with a key that administers the organisation."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import InvalidError
from notifications.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from notifications.webhooks import EVENTS, EVERY_EVENT, message_id
from tenants.api.credential import Credential
from tenants.api.permissions import HasScope
from tenants.choices import Scope
from tenants.selectors import webhooks as selectors
from tenants.services import webhooks

_EVENTS = [EVERY_EVENT, *EVENTS]


class WebhookIn(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100)
    url = serializers.CharField(max_length=2048, help_text="A public https address.")
    format = serializers.ChoiceField(choices=WebhookEndpoint.Form.values, default="standard")
    events = serializers.ListField(
        child=serializers.ChoiceField(choices=_EVENTS),
        min_length=1,
        max_length=len(_EVENTS),
        help_text="`*` is every one.",
    )


class WebhookChangeIn(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100, required=False)
    url = serializers.CharField(max_length=2048, required=False)
    format = serializers.ChoiceField(choices=WebhookEndpoint.Form.values, required=False)
    events = serializers.ListField(
        child=serializers.ChoiceField(choices=_EVENTS), min_length=1, max_length=len(_EVENTS), required=False
    )
    enabled = serializers.BooleanField(required=False)


class WebhookOut(serializers.ModelSerializer[WebhookEndpoint]):
    format = serializers.CharField(source="form")
    enabled = serializers.SerializerMethodField()

    class Meta:
        model = WebhookEndpoint
        fields = ["id", "name", "url", "format", "events", "enabled", "disabled_at", "disabled_why", "failing_since"]
        fields += ["succeeded_at", "created_at", "updated_at"]

    def get_enabled(self, endpoint: WebhookEndpoint) -> bool:
        return endpoint.disabled_at is None


class WebhookListOut(serializers.Serializer[Any]):
    webhooks = WebhookOut(many=True)


class WebhookIssuedOut(serializers.Serializer[Any]):
    webhook = WebhookOut(source="endpoint")
    secret = serializers.CharField(help_text="Shown this once.")


class SecretOut(serializers.Serializer[Any]):
    set_at = serializers.DateTimeField(allow_null=True)
    signs_until = serializers.DateTimeField(allow_null=True, help_text="Null for the present one.")


class SecretListOut(serializers.Serializer[Any]):
    webhook = serializers.CharField()
    secrets = SecretOut(many=True)


class AttemptOut(serializers.ModelSerializer[WebhookAttempt]):
    class Meta:
        model = WebhookAttempt
        fields = ["number", "at", "status", "error", "latency_ms", "excerpt"]


class DeliveryOut(serializers.ModelSerializer[WebhookDelivery]):
    message_id = serializers.SerializerMethodField()
    attempts = AttemptOut(many=True)

    class Meta:
        model = WebhookDelivery
        fields = ["id", "message_id", "event", "occurred_at", "data", "state", "next_at", "delivered_at", "attempts"]

    def get_message_id(self, delivery: WebhookDelivery) -> str:
        return message_id(delivery.event_id)


class DeliveryListOut(serializers.Serializer[Any]):
    deliveries = DeliveryOut(many=True)
    next_before = serializers.UUIDField(allow_null=True, help_text="For the page after this one.")


class _Administered(APIView):
    permission_classes = [HasScope]
    required_scope = Scope.ADMIN

    @staticmethod
    def caller(request: Request) -> Credential:
        assert isinstance(request.auth, Credential)  # HasScope let nobody else in
        return request.auth


class WebhookListAPI(_Administered):
    @extend_schema(operation_id="webhooks_list", summary="Webhooks of the organisation", responses=WebhookListOut)
    def get(self, request: Request) -> Response:
        """By name. Secrets are never shown again."""
        return Response({"webhooks": WebhookOut(selectors.list_endpoints(), many=True).data})

    @extend_schema(
        operation_id="webhooks_create", summary="Add a webhook", request=WebhookIn, responses={201: WebhookIssuedOut}
    )
    def post(self, request: Request) -> Response:
        """The answer holds the signing secret, this once."""
        caller, given = self.caller(request), _valid(WebhookIn(data=request.data))
        issued = webhooks.create(tenant=caller.tenant, actor=caller.user, **_terms(given))
        return _unkept(WebhookIssuedOut(issued).data)


class WebhookAPI(_Administered):
    @extend_schema(operation_id="webhooks_retrieve", summary="One webhook", responses=WebhookOut)
    def get(self, request: Request, webhook_id: UUID) -> Response:
        return Response(WebhookOut(selectors.get_endpoint(webhook_id)).data)

    @extend_schema(
        operation_id="webhooks_update", summary="Change a webhook", request=WebhookChangeIn, responses=WebhookOut
    )
    def patch(self, request: Request, webhook_id: UUID) -> Response:
        """What is not named stays. `enabled` turns it on or off; what waits meanwhile is kept."""
        caller, given = self.caller(request), _valid(WebhookChangeIn(data=request.data))
        endpoint = selectors.get_endpoint(webhook_id)
        enabled = given.pop("enabled", None)
        if given:
            known = {name: getattr(endpoint, name) for name in ("name", "url", "form", "events")}
            webhooks.change(
                tenant=caller.tenant, endpoint_id=webhook_id, actor=caller.user, **{**known, **_terms(given)}
            )
        if enabled is not None:
            webhooks.switch(tenant=caller.tenant, endpoint_id=webhook_id, on=enabled, actor=caller.user)
        return Response(WebhookOut(selectors.get_endpoint(webhook_id)).data)

    @extend_schema(operation_id="webhooks_destroy", summary="Remove a webhook", responses={204: None})
    def delete(self, request: Request, webhook_id: UUID) -> Response:
        """With its log and with what waits for it."""
        caller = self.caller(request)
        webhooks.remove(tenant=caller.tenant, endpoint_id=webhook_id, actor=caller.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class SecretListAPI(_Administered):
    @extend_schema(operation_id="webhooks_secrets_list", summary="Which secrets sign", responses=SecretListOut)
    def get(self, request: Request, webhook_id: UUID) -> Response:
        endpoint = selectors.get_endpoint(webhook_id)
        found = [{"set_at": endpoint.secret_set_at, "signs_until": None}]
        if endpoint.former_until:
            found.append({"set_at": None, "signs_until": endpoint.former_until})
        return Response({"webhook": endpoint.name, "secrets": SecretOut(found, many=True).data})

    @extend_schema(
        operation_id="webhooks_secrets_create",
        summary="Change the signing secret",
        request=None,
        responses={201: WebhookIssuedOut},
    )
    def post(self, request: Request, webhook_id: UUID) -> Response:
        """The former secret signs beside it for 24 hours."""
        caller = self.caller(request)
        issued = webhooks.rotate(tenant=caller.tenant, endpoint_id=webhook_id, actor=caller.user)
        return _unkept(WebhookIssuedOut(issued).data)


class DeliveryListAPI(_Administered):
    @extend_schema(
        operation_id="webhooks_deliveries_list",
        summary="What was sent, newest first",
        parameters=[OpenApiParameter("before", OpenApiTypes.UUID, description="Messages older than this one.")],
        responses=DeliveryListOut,
    )
    def get(self, request: Request, webhook_id: UUID) -> Response:
        """With every attempt, for 30 days."""
        before = request.query_params.get("before")
        found = selectors.list_deliveries(selectors.get_endpoint(webhook_id), before=_uuid(before) if before else None)
        shown = found[: selectors.PAGE]
        following = shown[-1].pk if len(found) > selectors.PAGE else None
        return Response({"deliveries": DeliveryOut(shown, many=True).data, "next_before": following})

    @extend_schema(
        operation_id="webhooks_deliveries_create", summary="Send a test", request=None, responses={202: DeliveryOut}
    )
    def post(self, request: Request, webhook_id: UUID) -> Response:
        """An event that says nothing but that it is a test."""
        delivery = webhooks.send_test(tenant=self.caller(request).tenant, endpoint_id=webhook_id)
        return Response(DeliveryOut(delivery).data, status=status.HTTP_202_ACCEPTED)


class DeliveryAPI(_Administered):
    @extend_schema(operation_id="webhooks_deliveries_retrieve", summary="One message", responses=DeliveryOut)
    def get(self, request: Request, webhook_id: UUID, delivery_id: UUID) -> Response:
        return Response(DeliveryOut(selectors.get_delivery(webhook_id, delivery_id)).data)

    @extend_schema(
        operation_id="webhooks_deliveries_repeat",
        summary="Send a message again",
        request=None,
        responses={202: DeliveryOut},
    )
    def post(self, request: Request, webhook_id: UUID, delivery_id: UUID) -> Response:
        """Under the same message id, whatever became of it."""
        selectors.get_delivery(webhook_id, delivery_id)
        webhooks.redeliver(tenant=self.caller(request).tenant, delivery_id=delivery_id)
        found = selectors.get_delivery(webhook_id, delivery_id)
        return Response(DeliveryOut(found).data, status=status.HTTP_202_ACCEPTED)


def _valid(serializer: serializers.Serializer[Any]) -> dict[str, Any]:
    if not serializer.is_valid():
        field, problems = next(iter(serializer.errors.items()))
        text = problems[0] if isinstance(problems, list) else next(iter(problems.values()))[0]
        raise InvalidError(f"{field}: {text}", code="tenants.webhook_invalid", field=field)
    return dict(serializer.validated_data)


def _terms(given: dict[str, Any]) -> dict[str, Any]:
    return {"form" if name == "format" else name: value for name, value in given.items()}


def _unkept(data: Any) -> Response:
    return Response(data, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidError("before must be an id.", field="before") from error
