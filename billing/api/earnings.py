"""The REST API of what providers earn."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.http import HttpResponse
from django.urls import URLPattern, path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.selectors import earnings as reading
from billing.services import documents
from catalog.models import Provider
from core.errors import NotFoundError
from core.money import Money
from tenants.api.credential import Credential
from tenants.api.permissions import HasScope
from tenants.choices import Scope

_PAYOUTS_MAX = 100


class MoneyOut(serializers.Serializer[Money]):
    """An amount as text in major units, such as "12.34"; never a binary fraction."""

    amount = serializers.SerializerMethodField()
    currency = serializers.CharField()

    def get_amount(self, money: Money) -> str:
        return f"{money.major:f}"


class EarnedOut(serializers.Serializer[reading.Earned]):
    month = serializers.DateField(help_text="Its first day.")
    server_id = serializers.UUIDField(allow_null=True)
    server = serializers.CharField(source="server_name")
    calls = serializers.DecimalField(max_digits=30, decimal_places=6)
    customers = serializers.IntegerField(help_text="Organisations that were billed.")
    billed = MoneyOut(source="price")
    share = MoneyOut(help_text="What of it is yours.")
    share_percent = serializers.CharField(source="percent")


class EarningsOut(serializers.Serializer[Any]):
    pending = MoneyOut(help_text="Not paid yet, or held back.")
    available = MoneyOut(help_text="Goes out with the next payout; below zero after a credit note.")
    transit = MoneyOut(help_text="Reserved for a payout, or on its way.")
    paid = MoneyOut()
    servers = EarnedOut(many=True)


class PayoutOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    statement = serializers.CharField(source="statement.number")
    made_at = serializers.DateTimeField(source="created_at")
    rail = serializers.CharField(source="batch.rail", help_text="paypal or connect.")
    destination = serializers.CharField()
    state = serializers.CharField(help_text="reserved, travelling, done or failed.")
    reason = serializers.CharField(help_text="Why it did not arrive.")
    amount = MoneyOut()


class EarningsAPI(APIView):
    permission_classes = [HasScope]
    required_scope = Scope.ADMIN

    @extend_schema(operation_id="billing_earnings", summary="What your servers earn", responses=EarningsOut)
    def get(self, request: Request) -> Response:
        """What was billed for calls of your servers by other organisations, your share, and what became of it."""
        provider, standing = _provider(request), reading.standing(_provider(request))
        amounts = {name: getattr(standing, name) for name in ("pending", "available", "transit", "paid")}
        return Response(EarningsOut({**amounts, "servers": reading.by_server(provider)}).data)


class PayoutListAPI(APIView):
    permission_classes = [HasScope]
    required_scope = Scope.ADMIN

    @extend_schema(
        operation_id="billing_payouts", summary="Payouts to you, newest first", responses=PayoutOut(many=True)
    )
    def get(self, request: Request) -> Response:
        """The last hundred payouts, with the number of the statement of each."""
        return Response(PayoutOut(reading.payouts(_provider(request))[:_PAYOUTS_MAX], many=True).data)


class StatementDocumentAPI(APIView):
    permission_classes = [HasScope]
    required_scope = Scope.ADMIN

    @extend_schema(
        operation_id="billing_payouts_statement",
        summary="The self-billed statement of a payout as PDF",
        responses={(200, "application/pdf"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, payout_id: UUID) -> HttpResponse:
        found = reading.statement(_provider(request), payout_id)
        if found is None:
            raise NotFoundError("There is no such payout.", next_step="List your payouts.")
        document = documents.of_statement(found)
        return HttpResponse(
            bytes(document.content), content_type=document.media_type, headers={"X-Content-Type-Options": "nosniff"}
        )


def _provider(request: Request) -> Provider:
    provider = reading.provider_of(cast("Credential", request.auth).tenant)
    if provider is None:
        raise NotFoundError("This organisation publishes no servers.", next_step="Publish a server and set a price.")
    return provider


urls: list[URLPattern] = [
    path("earnings/", EarningsAPI.as_view(), name="billing-earnings"),
    path("payouts/", PayoutListAPI.as_view(), name="billing-payouts"),
    path("payouts/<uuid:payout_id>/statement/", StatementDocumentAPI.as_view(), name="billing-statement-document"),
]
