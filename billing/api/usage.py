"""The REST API of what is being spent."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.urls import URLPattern, path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.selectors import spending as selectors
from core.errors import NotFoundError
from tenants.api.credential import Credential
from tenants.api.permissions import HasScope
from tenants.choices import Scope


class UsageLineOut(serializers.Serializer[Any]):
    """`exact` is in major units; `minor` is that, rounded once."""

    server_id = serializers.UUIDField()
    server_name = serializers.CharField()
    tool = serializers.CharField()
    price_version_id = serializers.UUIDField()
    origin_month = serializers.DateField()
    late = serializers.BooleanField()
    quantity = serializers.DecimalField(max_digits=20, decimal_places=6)
    free_quantity = serializers.DecimalField(max_digits=20, decimal_places=6)
    exact = serializers.CharField()
    minor = serializers.IntegerField()
    currency = serializers.CharField()


class UsagePartOut(serializers.Serializer[Any]):
    label_text = serializers.CharField(source="label")
    key = serializers.CharField()
    calls = serializers.IntegerField()
    amount = serializers.CharField()


class UsageDayOut(serializers.Serializer[Any]):
    day = serializers.DateField()
    amount = serializers.CharField()


class UsageOut(serializers.Serializer[Any]):
    """Of a month (UTC), as its invoice would say it at this moment. Amounts in text are exact, in major units."""

    month = serializers.CharField()
    currency = serializers.CharField()
    total_minor = serializers.IntegerField()
    forecast_minor = serializers.IntegerField(allow_null=True)
    paid_calls = serializers.IntegerField()
    free_calls = serializers.IntegerField()
    lines = UsageLineOut(many=True)
    by_server = UsagePartOut(many=True)
    by_team = UsagePartOut(many=True)
    by_key = UsagePartOut(many=True)
    by_day = UsageDayOut(many=True)


class UsageAPI(APIView):
    permission_classes = [HasScope]
    required_scope = Scope.ADMIN

    @extend_schema(
        operation_id="billing_usage",
        summary="What a month's calls cost so far",
        parameters=[OpenApiParameter("month", OpenApiTypes.STR, description="Such as 2026-11; by default this month.")],
        responses=UsageOut,
    )
    def get(self, request: Request) -> Response:
        """The same lines as on the invoice of the month, and what they come to by server, team, key and day."""
        period = selectors.find_period(_number(request.query_params.get("month", "")))
        if period is None:
            raise NotFoundError("Nothing is counted for this month.")
        assert isinstance(request.auth, Credential)  # HasScope let nobody else in
        found = selectors.spending(request.auth.tenant, period, settings.BILLING_CURRENCY)
        return Response(
            UsageOut(
                {
                    "month": str(period),
                    "currency": found.currency,
                    "total_minor": found.total.minor,
                    "forecast_minor": found.forecast.minor if found.forecast else None,
                    "paid_calls": found.paid_calls,
                    "free_calls": found.free_calls,
                    "lines": [shown.line for shown in found.lines],
                    "by_server": found.by_server,
                    "by_team": found.by_team,
                    "by_key": found.by_key,
                    "by_day": [{"day": day, "amount": f"{amount:f}"} for day, amount in found.by_day],
                }
            ).data
        )


def _number(text: str) -> int | None:
    digits = text.replace("-", "")
    if not digits:
        return None
    if not (digits.isascii() and digits.isdigit() and len(digits) == len("202611")):
        raise NotFoundError("A month is written like 2026-11.")
    return int(digits)


urls: list[URLPattern] = [path("usage/", UsageAPI.as_view(), name="billing-usage")]
