"""The REST API of plans and prices."""

from __future__ import annotations

from typing import Any

from django.urls import URLPattern, path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audit import services as audit
from billing.core import rating
from billing.core.wording import words
from billing.models import Plan, PlanVersion, PriceVersion, Subscription
from billing.selectors import plans as selectors
from billing.selectors import prices as price_selectors
from billing.services import plans, prices
from catalog.models import Server
from catalog.selectors.listing import find_server, visible_to
from catalog.types import Viewer
from core.errors import InvalidError, NotFoundError
from tenants.api.credential import Credential
from tenants.api.members import membership_of
from tenants.api.permissions import HasScope
from tenants.choices import Right, Scope
from tenants.models import Tenant
from tenants.selectors.people import list_teams
from tenants.services.rights import require

_NAME_MAX = 128


class PriceVersionOut(serializers.ModelSerializer[PriceVersion]):
    server = serializers.CharField(source="server.slug")
    agreed = serializers.SerializerMethodField(help_text="Whether it holds for the key's organisation alone.")
    model = serializers.JSONField(help_text="kind per_unit, package, graduated or volume; amounts are text.")
    words = serializers.SerializerMethodField()
    rate = serializers.DecimalField(max_digits=20, decimal_places=10, help_text="The most that one call can cost.")

    class Meta:
        model = PriceVersion
        fields = [
            "id", "server", "tool", "agreed", "currency", "model", "words", "rate", "effective_from", "effective_to", "rises",
        ]  # fmt: skip

    def get_agreed(self, price: PriceVersion) -> bool:
        return price.tenant_id is not None

    def get_words(self, price: PriceVersion) -> str:
        return words(price.terms, price.currency)


class PriceListOut(serializers.Serializer[Any]):
    prices = PriceVersionOut(many=True)


class PriceIn(serializers.Serializer[Any]):
    server = serializers.CharField(max_length=_NAME_MAX, help_text="A server that the organisation publishes.")
    tool = serializers.CharField(max_length=_NAME_MAX, required=False, allow_blank=True, default="")
    model = serializers.JSONField()
    effective_from = serializers.DateTimeField(required=False, allow_null=True, default=None)


class BillingPlanOut(serializers.ModelSerializer[PlanVersion]):
    slug = serializers.CharField(source="plan.slug")
    name = serializers.CharField(source="plan.name")
    summary = serializers.CharField(source="plan.summary")
    self_service = serializers.BooleanField(source="plan.self_service")

    class Meta:
        model = PlanVersion
        fields = [
            "slug", "name", "summary", "self_service", "currency", "price_minor", "included_minor", "calls_per_day",
            "calls_per_month", "calls_hard", "requests_per_minute", "spend_minor",
        ]  # fmt: skip


class BillingPlanListOut(serializers.Serializer[Any]):
    plans = BillingPlanOut(many=True)


class SubscriptionOut(serializers.Serializer[Any]):
    plan = BillingPlanOut(allow_null=True, help_text="What holds; null: no plan.")
    chosen = serializers.BooleanField(help_text="False: it holds for everybody who chose none.")
    ends_at = serializers.DateTimeField(allow_null=True)
    next_plan = serializers.CharField(allow_null=True, help_text="What follows when this month ends.")


class SubscriptionIn(serializers.Serializer[Any]):
    plan = serializers.CharField(
        max_length=40, allow_null=True, help_text="Its short name; null ends the subscription."
    )


class _Administered(APIView):
    permission_classes = [HasScope]
    required_scope = Scope.ADMIN

    @staticmethod
    def caller(request: Request) -> Credential:
        assert isinstance(request.auth, Credential)  # HasScope let nobody else in
        return request.auth


class PricesAPI(_Administered):
    @extend_schema(
        operation_id="billing_prices_list",
        summary="Prices of a server, or of all that the organisation publishes",
        parameters=[OpenApiParameter("server", OpenApiTypes.STR, description="Its name in gateway paths.")],
        responses=PriceListOut,
    )
    def get(self, request: Request) -> Response:
        """What holds now and what is to come, for everybody or agreed with the organisation. Others' agreements are not told."""
        tenant = self.caller(request).tenant
        viewer = _viewer(tenant)
        if name := request.query_params.get("server", ""):
            server = find_server(viewer, name) if len(name) <= _NAME_MAX else None
            if server is None:
                raise NotFoundError("There is no such server that the organisation may see.")
            ids = [server.pk]
        else:
            ids = list(visible_to(viewer).filter(owner_tenant_id=tenant.pk).values_list("pk", flat=True))
        rows = price_selectors.shown_to(tenant.pk, ids)
        return Response({"prices": PriceVersionOut(rows, many=True).data})

    @extend_schema(
        operation_id="billing_prices_create",
        summary="Change a price",
        request=PriceIn,
        responses={201: PriceVersionOut},
    )
    def post(self, request: Request) -> Response:
        """A price that costs nobody more holds at once; a rise, and a first price, after the notice that users are given."""
        caller, given = self.caller(request), _valid(PriceIn(data=request.data))
        server = _own(caller, given["server"])
        require(membership_of(caller), Right.PUBLISH)
        version = server.current_version
        if given["tool"] and not (version and version.tools.filter(name=given["tool"]).exists()):
            raise InvalidError("The server has no tool of this name.", field="tool")
        price = prices.change_price(
            server=server,
            model=rating.parse(given["model"]),
            tool=given["tool"],
            actor=_actor(caller),
            effective_from=given["effective_from"],
        )
        return Response(PriceVersionOut(price).data, status=status.HTTP_201_CREATED)


class PlansAPI(_Administered):
    @extend_schema(operation_id="billing_plans_list", summary="Plans and their terms", responses=BillingPlanListOut)
    def get(self, request: Request) -> Response:
        """Money in minor units; a limit that is null does not exist. Terms agreed with the organisation stand for the plan's."""
        tenant = self.caller(request).tenant
        terms = [selectors.terms_for(each.plan, tenant.pk) or each for each in selectors.offered()]
        return Response({"plans": BillingPlanOut(terms, many=True).data})


class SubscriptionAPI(_Administered):
    @extend_schema(
        operation_id="billing_subscription_retrieve", summary="The plan that holds", responses=SubscriptionOut
    )
    def get(self, request: Request) -> Response:
        return _subscription(self.caller(request))

    @extend_schema(
        operation_id="billing_subscription_update",
        summary="Choose a plan, or end the subscription",
        request=SubscriptionIn,
        responses=SubscriptionOut,
    )
    def put(self, request: Request) -> Response:
        """A larger plan holds at once and costs its part of the month; a smaller one, and the end, hold from the next on."""
        caller, given = self.caller(request), _valid(SubscriptionIn(data=request.data))
        require(membership_of(caller), Right.MANAGE_BILLING)
        if given["plan"] is None:
            plans.cancel(tenant=caller.tenant, actor=_actor(caller))
        else:
            plan = Plan.objects.filter(slug=given["plan"]).first()
            if plan is None:
                raise InvalidError(
                    "There is no such plan.", field="plan", next_step="List plans for their short names."
                )
            plans.subscribe(tenant=caller.tenant, plan=plan, actor=_actor(caller))
        return _subscription(caller)


def _subscription(caller: Credential) -> Response:
    held: Subscription | None = selectors.subscription(caller.tenant.pk)
    following = selectors.upcoming(caller.tenant.pk)
    out = {
        "plan": selectors.current(caller.tenant.pk),
        "chosen": held is not None,
        "ends_at": held.ends_at if held else None,
        "next_plan": following.plan_version.plan.slug if following else None,
    }
    return Response(SubscriptionOut(out).data)


def _own(caller: Credential, slug: str) -> Server:
    rows = visible_to(_viewer(caller.tenant)).filter(owner_tenant_id=caller.tenant.pk, slug=slug)
    found = rows.select_related("current_version").first()
    if found is None:
        raise NotFoundError("There is no such server that the organisation publishes.")
    return found


def _viewer(tenant: Tenant) -> Viewer:
    """A key that administers the organisation sees what any team of it sees."""
    return Viewer(tenant.pk, frozenset(list_teams(tenant).values_list("pk", flat=True)))


def _actor(caller: Credential) -> audit.Party:
    user = caller.user
    return audit.Party("user", str(user.pk), user.email) if user is not None else audit.Party("key", "", "API key")


def _valid(body: serializers.Serializer[Any]) -> dict[str, Any]:
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


urls: list[URLPattern] = [
    path("prices/", PricesAPI.as_view(), name="billing-prices"),
    path("plans/", PlansAPI.as_view(), name="billing-plans"),
    path("subscription/", SubscriptionAPI.as_view(), name="billing-subscription"),
]
