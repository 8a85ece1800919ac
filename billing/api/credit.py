"""The REST API of prepaid credit. Amounts are whole minor units."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.urls import URLPattern, path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.members import BillingAPI, party, valid
from billing.api.payments import PaymentOut
from billing.models import Refund
from billing.selectors import credit
from billing.services import prepaid, topups
from tenants.models import Tenant

_LIST_MAX = 100
_MINOR_MAX = 10**12


class CreditOut(serializers.Serializer[Any]):
    """`available_minor` is what calls can still be paid from."""

    organisation = serializers.CharField()
    currency = serializers.CharField()
    held_minor = serializers.IntegerField(help_text="The credit as the ledger has it.")
    leaving_minor = serializers.IntegerField(help_text="On its way back to cards, or disputed.")
    unbilled_minor = serializers.IntegerField(help_text="What calls cost that no invoice names yet.")
    covered_minor = serializers.IntegerField(help_text="What of that the plan includes.")
    available_minor = serializers.IntegerField()
    refundable_minor = serializers.IntegerField(help_text="What can go back to the cards that bought it.")
    is_prepaid = serializers.BooleanField()
    threshold_minor = serializers.IntegerField(allow_null=True)
    amount_minor = serializers.IntegerField(allow_null=True)
    daily_minor = serializers.IntegerField(allow_null=True)


class CreditIn(serializers.Serializer[Any]):
    is_prepaid = serializers.BooleanField(help_text="Refuse calls that the credit does not cover.")
    threshold_minor = serializers.IntegerField(
        allow_null=True,
        required=False,
        default=None,
        min_value=0,
        max_value=_MINOR_MAX,
        help_text="Below it, people are told.",
    )
    amount_minor = serializers.IntegerField(
        allow_null=True,
        required=False,
        default=None,
        min_value=1,
        max_value=_MINOR_MAX,
        help_text="And this is bought.",
    )
    daily_minor = serializers.IntegerField(
        allow_null=True,
        required=False,
        default=None,
        min_value=1,
        max_value=_MINOR_MAX,
        help_text="At most, in a day (UTC).",
    )


class OnceIn(serializers.Serializer[Any]):
    minor = serializers.IntegerField(min_value=1, max_value=_MINOR_MAX)
    once = serializers.CharField(
        max_length=100,
        help_text="A name of your own for this request. Sent again with the same name it is the same request.",
    )


class TopUpListOut(serializers.Serializer[Any]):
    top_ups = PaymentOut(many=True)


class CreditRefundOut(serializers.ModelSerializer[Refund]):
    state = serializers.CharField(help_text="asking, pending, succeeded or failed.")
    payment_id = serializers.UUIDField(source="attempt_id")

    class Meta:
        model = Refund
        fields = ["id", "payment_id", "state", "minor", "currency", "created_at"]
        read_only_fields = fields


class CreditRefundListOut(serializers.Serializer[Any]):
    refunds = CreditRefundOut(many=True)


class CreditAPI(BillingAPI):
    @extend_schema(operation_id="billing_credit_retrieve", summary="Prepaid credit", responses=CreditOut)
    def get(self, request: Request) -> Response:
        return _credit(self.viewer(request).tenant)

    @extend_schema(
        operation_id="billing_credit_update",
        summary="Say how credit is used",
        request=CreditIn,
        responses=CreditOut,
    )
    def put(self, request: Request) -> Response:
        """What is left out is off."""
        member, given = self.payer(request), valid(CreditIn(data=request.data))
        terms = prepaid.Terms(
            given["is_prepaid"], given["threshold_minor"], given["amount_minor"], given["daily_minor"]
        )
        prepaid.change(member.tenant, terms, actor=party(member))
        return _credit(member.tenant)


class TopUpListAPI(BillingAPI):
    @extend_schema(operation_id="billing_top_ups_list", summary="Purchases of credit", responses=TopUpListOut)
    def get(self, request: Request) -> Response:
        """The last hundred, the latest first."""
        rows = credit.top_ups(self.viewer(request).tenant)[:_LIST_MAX]
        return Response({"top_ups": PaymentOut(rows, many=True).data})

    @extend_schema(
        operation_id="billing_top_ups_create", summary="Buy credit", request=OnceIn, responses={201: PaymentOut}
    )
    def post(self, request: Request) -> Response:
        """Charges the saved card at once. A payment that needs its holder is confirmed at payments/<id>/."""
        member, given = self.payer(request), valid(OnceIn(data=request.data))
        attempt = topups.buy(member.tenant, given["minor"], once=given["once"], actor=party(member))
        return Response(PaymentOut(attempt).data, status=status.HTTP_201_CREATED)


class TopUpAPI(BillingAPI):
    @extend_schema(operation_id="billing_top_ups_retrieve", summary="One purchase of credit", responses=PaymentOut)
    def get(self, request: Request, top_up_id: UUID) -> Response:
        return Response(PaymentOut(topups.find(self.viewer(request).tenant, top_up_id)).data)


class CreditRefundAPI(BillingAPI):
    @extend_schema(
        operation_id="billing_credit_refund",
        summary="Send unused credit back to its cards",
        request=OnceIn,
        responses={201: CreditRefundListOut},
    )
    def post(self, request: Request) -> Response:
        member, given = self.payer(request), valid(OnceIn(data=request.data))
        rows = topups.send_back(member.tenant, given["minor"], once=given["once"], actor=party(member))
        return Response({"refunds": CreditRefundOut(rows, many=True).data}, status=status.HTTP_201_CREATED)


def _credit(tenant: Tenant) -> Response:
    found, terms = credit.standing(tenant), credit.prepayment(tenant.pk)
    sums = {
        f"{name}_minor": getattr(found, name).minor for name in ("held", "leaving", "unbilled", "covered", "available")
    }
    bounds = {name: getattr(terms, name) for name in ("is_prepaid", "threshold_minor", "amount_minor", "daily_minor")}
    out = {
        "organisation": tenant.slug,
        "currency": settings.BILLING_CURRENCY,
        "refundable_minor": credit.refundable(tenant),
        **sums,
        **bounds,
    }
    return Response(CreditOut(out).data)


urls: list[URLPattern] = [
    path("credit/", CreditAPI.as_view(), name="billing-credit"),
    path("credit/refunds/", CreditRefundAPI.as_view(), name="billing-credit-refunds"),
    path("top-ups/", TopUpListAPI.as_view(), name="billing-top-ups"),
    path("top-ups/<uuid:top_up_id>/", TopUpAPI.as_view(), name="billing-top-up"),
]
