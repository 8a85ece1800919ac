"""The REST API of cards and payments. Amounts are whole minor units; card numbers are entered at the payment provider alone."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.urls import URLPattern, path, reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.members import BillingAPI, party, valid
from billing.models import PaymentAttempt, PaymentMethod
from billing.selectors import invoices as invoice_selectors
from billing.services import methods, payments
from core.errors import ConflictError, InvalidError, NotFoundError
from tenants.models import Tenant

_LIST_MAX = 100


class CardOut(serializers.ModelSerializer[PaymentMethod]):
    name = serializers.CharField(source="__str__", help_text="As people are shown it.")

    class Meta:
        model = PaymentMethod
        fields = ["id", "name", "brand", "last4", "exp_month", "exp_year", "is_default", "is_expired", "created_at"]
        read_only_fields = fields


class CardListOut(serializers.Serializer[Any]):
    payment_methods = CardOut(many=True)


class CardSetupOut(serializers.Serializer[Any]):
    setup = serializers.CharField(help_text="Send it to payment-methods/ when the page was filled in.")
    url = serializers.CharField(help_text="The payment provider's page, where a person enters the card.")


class CardIn(serializers.Serializer[Any]):
    setup = serializers.CharField(max_length=255)


class CardChangeIn(serializers.Serializer[Any]):
    is_default = serializers.BooleanField(
        help_text="True: invoices are charged to this card. There is always one such."
    )


class PaymentOut(serializers.ModelSerializer[PaymentAttempt]):
    """`invoice_id` is null for a purchase of credit."""

    state = serializers.CharField(help_text="asking, processing, needs_holder, succeeded, declined or cancelled.")
    subject = serializers.CharField(help_text="What it pays for.")
    card = serializers.CharField(source="method")

    class Meta:
        model = PaymentAttempt
        fields = [
            "id", "invoice_id", "subject", "state", "minor", "currency", "refunded_minor", "card", "code", "message",
            "automatic", "created_at", "decided_at",
        ]  # fmt: skip
        read_only_fields = fields


class PaymentListOut(serializers.Serializer[Any]):
    payments = PaymentOut(many=True)


class PaymentIn(serializers.Serializer[Any]):
    invoice_id = serializers.UUIDField(help_text="The invoice whose due amount is charged to the card.")


class ConfirmationOut(serializers.Serializer[Any]):
    url = serializers.CharField(
        allow_blank=True, help_text="Where the card's holder confirms; empty when nobody has to any more."
    )
    payment = PaymentOut()


class CardListAPI(BillingAPI):
    @extend_schema(operation_id="billing_payment_methods_list", summary="Saved cards", responses=CardListOut)
    def get(self, request: Request) -> Response:
        cards = methods.of_tenant(self.viewer(request).tenant)
        return Response({"payment_methods": CardOut(cards, many=True).data})

    @extend_schema(
        operation_id="billing_payment_methods_create",
        summary="Keep the card that was entered",
        request=CardIn,
        responses={201: CardOut},
    )
    def post(self, request: Request) -> Response:
        """After a person has entered it on the provider's page. Twice is once."""
        member, given = self.payer(request), valid(CardIn(data=request.data))
        card = methods.finish_setup(member.tenant, given["setup"], actor=party(member))
        if card is None:
            raise ConflictError(
                "No card was entered on this page yet.", code="billing.setup_open", next_step="Open its address first."
            )
        return Response(CardOut(card).data, status=status.HTTP_201_CREATED)


class CardSetupAPI(BillingAPI):
    @extend_schema(
        operation_id="billing_payment_methods_setup",
        summary="Begin to save a card",
        request=None,
        responses={201: CardSetupOut},
    )
    def post(self, request: Request) -> Response:
        """Gives the address of the provider's page. Whoever is signed in here comes back to the list of cards from it."""
        member, _ = self.payer(request), request.data  # what is no JSON is refused
        here = {"org": member.tenant.slug}
        setup = methods.begin_setup(
            member.tenant,
            email=member.user.email,
            back=settings.PUBLIC_URL + reverse("org:card-saved", kwargs=here),
            leave=settings.PUBLIC_URL + reverse("org:cards", kwargs=here),
        )
        return Response({"setup": setup.id, "url": setup.url}, status=status.HTTP_201_CREATED)


class CardAPI(BillingAPI):
    @extend_schema(operation_id="billing_payment_methods_retrieve", summary="One card", responses=CardOut)
    def get(self, request: Request, method_id: UUID) -> Response:
        return Response(CardOut(methods.find(self.viewer(request).tenant, method_id)).data)

    @extend_schema(
        operation_id="billing_payment_methods_update",
        summary="Charge this card from now on",
        request=CardChangeIn,
        responses=CardOut,
    )
    def put(self, request: Request, method_id: UUID) -> Response:
        member = self.payer(request)
        card = methods.find(member.tenant, method_id)
        if not valid(CardChangeIn(data=request.data))["is_default"]:
            raise InvalidError("Make another card the one that is charged.", field="is_default")
        methods.make_default(card, actor=party(member))
        return Response(CardOut(card).data)

    @extend_schema(operation_id="billing_payment_methods_destroy", summary="Remove a card", responses={204: None})
    def delete(self, request: Request, method_id: UUID) -> Response:
        """Here and at the payment provider. Refused while a payment with it is under way."""
        member = self.payer(request)
        methods.remove(methods.find(member.tenant, method_id), actor=party(member))
        return Response(status=status.HTTP_204_NO_CONTENT)


class PaymentListAPI(BillingAPI):
    @extend_schema(operation_id="billing_payments_list", summary="Payments, the latest first", responses=PaymentListOut)
    def get(self, request: Request) -> Response:
        """The last hundred attempts to charge a card, for invoices and for credit."""
        rows = PaymentAttempt.objects.filter(tenant=self.viewer(request).tenant).select_related("invoice", "method")
        return Response({"payments": PaymentOut(rows[:_LIST_MAX], many=True).data})

    @extend_schema(
        operation_id="billing_payments_create",
        summary="Pay an invoice now",
        request=PaymentIn,
        responses={201: PaymentOut},
    )
    def post(self, request: Request) -> Response:
        """Charges what is due. One payment of an invoice is under way at a time: asked again, it is that one."""
        member, given = self.payer(request), valid(PaymentIn(data=request.data))
        invoice = invoice_selectors.find(member.tenant, given["invoice_id"])
        attempt = payments.collect(invoice.pk, actor=party(member))
        if attempt is None:
            raise ConflictError("Nothing is due on this invoice.", code="billing.nothing_due")
        return Response(PaymentOut(attempt).data, status=status.HTTP_201_CREATED)


class PaymentAPI(BillingAPI):
    @extend_schema(operation_id="billing_payments_retrieve", summary="One payment", responses=PaymentOut)
    def get(self, request: Request, attempt_id: UUID) -> Response:
        return Response(PaymentOut(_payment(self.viewer(request).tenant, attempt_id)).data)

    @extend_schema(
        operation_id="billing_payments_confirm",
        summary="Where the card's holder confirms a payment",
        request=None,
        responses=ConfirmationOut,
    )
    def post(self, request: Request, attempt_id: UUID) -> Response:
        """Of a payment that needs its holder: a person opens the address, and comes back signed in."""
        member = self.payer(request)
        attempt = _payment(member.tenant, attempt_id)
        here = {"org": member.tenant.slug, "attempt_id": attempt.pk}
        url = payments.ask_holder(attempt, back=settings.PUBLIC_URL + reverse("org:payment-confirmed", kwargs=here))
        attempt = _payment(member.tenant, attempt_id)
        return Response(ConfirmationOut({"url": url, "payment": attempt}).data)


def _payment(tenant: Tenant, attempt_id: UUID) -> PaymentAttempt:
    rows = PaymentAttempt.objects.select_related("invoice", "method")
    found = rows.filter(tenant=tenant, pk=attempt_id).first()
    if found is None:
        raise NotFoundError("There is no such payment.", next_step="List payments for their ids.")
    return found


urls: list[URLPattern] = [
    path("payment-methods/", CardListAPI.as_view(), name="billing-cards"),
    path("payment-methods/setups/", CardSetupAPI.as_view(), name="billing-card-setups"),
    path("payment-methods/<uuid:method_id>/", CardAPI.as_view(), name="billing-card"),
    path("payments/", PaymentListAPI.as_view(), name="billing-payments"),
    path("payments/<uuid:attempt_id>/", PaymentAPI.as_view(), name="billing-payment"),
]
