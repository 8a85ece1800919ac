"""The REST API of invoices: what a bookkeeping program asks for."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.urls import URLPattern, path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.api.members import BillingAPI, party, valid
from billing.models import BillingProfile, CreditNote, Invoice, InvoiceLine
from billing.selectors import invoices as selectors
from billing.services import documents, issuing, profiles
from core.errors import InvalidError
from tenants.api.credential import Credential
from tenants.api.permissions import HasScope
from tenants.choices import Scope
from tenants.models import Tenant


class LineOut(serializers.ModelSerializer[InvoiceLine]):
    """`minor` is in minor units; `exact` in major units before it was rounded once."""

    line_kind = serializers.CharField(source="kind")
    line_label = serializers.CharField(source="label")

    class Meta:
        model = InvoiceLine
        fields = [
            "id", "position", "line_kind", "line_label", "starts_at", "ends_at", "server_id", "server_name", "tool",
            "provider_name", "price_version_id", "origin_month", "quantity", "free_quantity", "exact", "minor", "currency",
        ]  # fmt: skip
        read_only_fields = fields


class CreditNoteOut(serializers.ModelSerializer[CreditNote]):
    class Meta:
        model = CreditNote
        fields = ["id", "number", "reason", "issued_at", "net_minor", "tax_minor", "total_minor", "currency"]
        read_only_fields = fields


class InvoiceOut(serializers.ModelSerializer[Invoice]):
    state = serializers.CharField(help_text="open, paid, void or uncollectible.")
    due_minor = serializers.IntegerField()
    buyer_name = serializers.SerializerMethodField()

    class Meta:
        model = Invoice
        fields = [
            "id", "number", "state", "month", "currency", "net_minor", "tax_minor", "total_minor", "paid_minor",
            "credited_minor", "due_minor", "buyer_name", "opened_at", "due_at", "paid_at",
        ]  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(OpenApiTypes.STR)
    def get_buyer_name(self, invoice: Invoice) -> str:
        return str(invoice.buyer.get("legal_name", ""))


class InvoiceFullOut(InvoiceOut):
    lines = LineOut(many=True)
    credit_notes = CreditNoteOut(many=True)

    class Meta(InvoiceOut.Meta):
        fields = [*InvoiceOut.Meta.fields, "lines", "credit_notes"]
        read_only_fields = fields


class PreviewLineOut(serializers.Serializer[Any]):
    line_kind = serializers.CharField(source="kind")
    line_label = serializers.CharField(source="label")
    provider_name = serializers.CharField()
    quantity = serializers.DecimalField(max_digits=20, decimal_places=6)
    exact = serializers.DecimalField(max_digits=38, decimal_places=16)
    minor = serializers.IntegerField()


class PreviewOut(serializers.Serializer[Any]):
    organisation = serializers.CharField()
    month = serializers.DateField()
    currency = serializers.CharField(source="composition.currency")
    net_minor = serializers.IntegerField(source="composition.net_minor")
    tax_minor = serializers.IntegerField(source="composition.tax_minor")
    total_minor = serializers.IntegerField(source="composition.total_minor")
    lines = PreviewLineOut(many=True, source="composition.lines")


class ProfileOut(serializers.ModelSerializer[BillingProfile]):
    class Meta:
        model = BillingProfile
        fields = [
            "legal_name", "street", "street_more", "postal_code", "city", "region", "country", "tax_id", "emails",
            "reference",
        ]  # fmt: skip
        read_only_fields = fields


class InvoicePagination(CursorPagination):
    """By the time-ordered id."""

    ordering = "-pk"
    page_size = 50

    def decode_cursor(self, request: Request) -> Cursor | None:
        """A cursor comes back from outside: its position must be an id before the database sees it."""
        cursor = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            try:
                UUID(str(cursor.position))
            except ValueError as error:
                raise InvalidError("cursor must come from an answer.", field="cursor") from error
        return cursor


class InvoiceListAPI(ListAPIView[Invoice]):
    permission_classes = [HasScope]
    required_scope = Scope.ADMIN
    serializer_class = InvoiceOut
    pagination_class = InvoicePagination
    queryset = Invoice.objects.none()

    def get_queryset(self) -> Any:
        return selectors.of_tenant(_tenant(self.request))

    @extend_schema(operation_id="billing_invoices_list", summary="Invoices, newest first")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Amounts are whole minor units of the currency."""
        return super().get(request, *args, **kwargs)


class InvoiceDetailAPI(APIView):
    permission_classes = [HasScope]
    required_scope = Scope.ADMIN

    @extend_schema(
        operation_id="billing_invoices_retrieve", summary="One invoice with its lines", responses=InvoiceFullOut
    )
    def get(self, request: Request, invoice_id: UUID) -> Response:
        return Response(InvoiceFullOut(selectors.find(_tenant(request), invoice_id)).data)


class InvoiceDocumentAPI(APIView):
    permission_classes = [HasScope]
    required_scope = Scope.ADMIN

    @extend_schema(
        operation_id="billing_invoices_document",
        summary="The PDF of an invoice, with Factur-X inside",
        responses={(200, "application/pdf"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, invoice_id: UUID) -> HttpResponse:
        document = documents.of_invoice(selectors.find(_tenant(request), invoice_id))
        return HttpResponse(
            bytes(document.content), content_type=document.media_type, headers={"X-Content-Type-Options": "nosniff"}
        )


class PreviewAPI(APIView):
    permission_classes = [HasScope]
    required_scope = Scope.ADMIN

    @extend_schema(operation_id="billing_preview", summary="What the next invoice says so far", responses=PreviewOut)
    def get(self, request: Request) -> Response:
        """The same code makes the invoice."""
        tenant = _tenant(request)
        found = issuing.preview(tenant)
        values = {"organisation": tenant.slug, "month": found.month, "composition": found.composition}
        return Response(PreviewOut(values).data)


class ProfileIn(serializers.ModelSerializer[BillingProfile]):
    """What is left out stays. Lengths and forms are the service's rules."""

    emails = serializers.ListField(child=serializers.CharField(max_length=254), required=False)

    class Meta:
        model = BillingProfile
        fields = ProfileOut.Meta.fields


class ProfileAPI(BillingAPI):
    required_scope = Scope.ADMIN

    @extend_schema(operation_id="billing_profile", summary="Who invoices are addressed to", responses=ProfileOut)
    def get(self, request: Request) -> Response:
        return Response(profiles.buyer(_tenant(request)))

    @extend_schema(
        operation_id="billing_profile_update",
        summary="Say who invoices are addressed to",
        request=ProfileIn,
        responses=ProfileOut,
    )
    def patch(self, request: Request) -> Response:
        """Holds for invoices from now on; those that are open keep what they say."""
        member, given = self.payer(request), valid(ProfileIn(data=request.data, partial=True))
        profiles.change(tenant=member.tenant, values=given, actor=party(member))
        return Response(profiles.buyer(member.tenant))


def _tenant(request: Request) -> Tenant:
    caller = request.auth
    assert isinstance(caller, Credential)  # HasScope let nobody else in
    return caller.tenant


urls: list[URLPattern] = [
    path("invoices/", InvoiceListAPI.as_view(), name="billing-invoices"),
    path("invoices/<uuid:invoice_id>/", InvoiceDetailAPI.as_view(), name="billing-invoice"),
    path("invoices/<uuid:invoice_id>/document/", InvoiceDocumentAPI.as_view(), name="billing-invoice-document"),
    path("preview/", PreviewAPI.as_view(), name="billing-preview"),
    path("profile/", ProfileAPI.as_view(), name="billing-profile"),
]
