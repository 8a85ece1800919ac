"""What the REST API says of servers. Amounts are text, because JSON numbers are floats to many readers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from catalog.cards import gateway_of, health_of, policy_of, sort_effects
from catalog.choices import (
    AuthMode,
    Badge,
    Category,
    Health,
    PolicyMode,
    SideEffect,
    Status,
    Transport,
    TrustLevel,
    Visibility,
)
from catalog.models import Server, Tool
from catalog.selectors.extras import PriceTag
from core import clock

_HEALTH = {"ok": Health.READY, "degraded": Health.DEGRADED, "down": Health.DOWN, "unknown": Health.UNKNOWN}


class PartyOut(serializers.Serializer[Any]):
    slug = serializers.CharField()
    name = serializers.CharField()


class PriceOut(serializers.Serializer[PriceTag]):
    amount = serializers.CharField(help_text="Major units of the currency, as decimal text.")
    currency = serializers.CharField()
    unit = serializers.CharField()

    def to_representation(self, instance: PriceTag) -> dict[str, str]:
        return {"amount": f"{instance.amount:f}", "currency": instance.currency, "unit": instance.unit}


class HealthOut(serializers.Serializer[Any]):
    state = serializers.ChoiceField(
        Health.choices, help_text="`unknown` when the last check is too old to say anything."
    )
    checked_at = serializers.DateTimeField(allow_null=True)
    detail = serializers.CharField()


class GatewayOut(serializers.Serializer[Any]):
    ready = serializers.BooleanField(help_text="Whether the gateway carries calls to the server at this moment.")
    words = serializers.CharField()
    url = serializers.CharField(help_text="Where MCP clients connect.")


class PolicyOut(serializers.Serializer[Any]):
    mode = serializers.ChoiceField(PolicyMode.choices)
    ready = serializers.BooleanField(help_text="Whether the policy can decide every tool.")
    words = serializers.CharField()
    undeclared_tools = serializers.IntegerField()


class GovernanceOut(serializers.Serializer[Any]):
    badge = serializers.ChoiceField(Badge.choices)
    status = serializers.ChoiceField(Status.choices)
    approved_at = serializers.DateTimeField(allow_null=True)
    required_trust = serializers.ChoiceField(TrustLevel.choices, allow_blank=True, help_text="Blank: nobody said.")
    side_effects = serializers.ListField(child=serializers.ChoiceField(SideEffect.choices))
    auth_mode = serializers.ChoiceField(AuthMode.choices, allow_blank=True, help_text="Blank: unknown.")
    gateway = GatewayOut()
    policy = PolicyOut()
    health = HealthOut()
    usable = serializers.BooleanField(help_text="Whether the key's organisation has a live grant on the server.")


class VersionOut(serializers.Serializer[Any]):
    version = serializers.CharField()
    protocol = serializers.CharField(help_text="Blank: never read from the server itself.")
    deployed_at = serializers.DateTimeField(source="created_at")
    inventory_digest = serializers.CharField()
    tool_count = serializers.IntegerField(allow_null=True)
    resource_count = serializers.IntegerField(allow_null=True)
    prompt_count = serializers.IntegerField(allow_null=True)


class ServerOut(serializers.ModelSerializer[Server]):
    """A server with its governance, as its card shows it."""

    category = serializers.ChoiceField(Category.choices, allow_blank=True)
    transport = serializers.ChoiceField(Transport.choices)
    visibility = serializers.ChoiceField(Visibility.choices)
    provider = PartyOut(allow_null=True)
    owner = PartyOut(source="owner_tenant", allow_null=True)
    team: serializers.SlugRelatedField[Any] = serializers.SlugRelatedField(
        source="owner_team", slug_field="slug", read_only=True, allow_null=True
    )
    version = VersionOut(source="current_version", allow_null=True)
    governance = serializers.SerializerMethodField()
    price = serializers.SerializerMethodField()

    class Meta:
        model = Server
        fields = [
            "id", "slug", "name", "summary", "description", "category", "tags", "visibility", "transport",
            "provider", "owner", "team", "version", "governance", "price", "updated_at",
        ]  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(GovernanceOut)
    def get_governance(self, server: Server) -> dict[str, Any]:
        health, gateway = health_of(server, clock.now()), gateway_of(server)
        undeclared: int = server.undeclared_count  # type: ignore[attr-defined]  # annotated
        policy = policy_of(server, undeclared)
        return {
            "badge": server.badge,
            "status": server.status,
            "approved_at": server.approved_at,
            "required_trust": server.required_trust,
            "side_effects": sort_effects(server.side_effects),  # type: ignore[attr-defined]  # annotated
            "auth_mode": server.auth_mode,
            "gateway": {
                "ready": gateway.ready,
                "words": gateway.words,
                "url": f"{self.context['public_url']}/mcp/{server.slug}",
            },
            "policy": {
                "mode": server.policy_mode,
                "ready": policy.ready,
                "words": policy.words,
                "undeclared_tools": undeclared,
            },
            "health": {
                "state": _HEALTH[health.state],
                "checked_at": health.measured_at,
                "detail": health.detail,
            },
            "usable": server.pk in self.context["usable"],
        }

    @extend_schema_field(PriceOut(allow_null=True))
    def get_price(self, server: Server) -> dict[str, str] | None:
        prices = self.context["prices"].get(server.pk)
        return PriceOut(prices.shown).data if prices is not None and prices.shown else None


class ToolOut(serializers.ModelSerializer[Tool]):
    definition = serializers.JSONField(help_text="As the server gave it.")
    price = serializers.SerializerMethodField()

    class Meta:
        model = Tool
        fields = [
            "name", "title", "description", "required_trust", "side_effect", "definition", "definition_digest", "price",
        ]  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(PriceOut(allow_null=True))
    def get_price(self, tool: Tool) -> dict[str, str] | None:
        prices = self.context["prices"].get(self.context["server_id"])
        tag = prices.of_tool(tool.name) if prices is not None else None
        return PriceOut(tag).data if tag is not None else None


class ServerDetailOut(ServerOut):
    """A server with everything that it offers."""

    instructions = serializers.CharField(source="current_version.instructions", default="")
    tools = serializers.SerializerMethodField()

    class Meta(ServerOut.Meta):
        fields = [*ServerOut.Meta.fields, "instructions", "tools"]
        read_only_fields = fields

    @extend_schema_field(ToolOut(many=True))
    def get_tools(self, server: Server) -> list[dict[str, Any]]:
        context = {**self.context, "server_id": server.pk}
        return list(ToolOut(self.context["tools"], many=True, context=context).data)
