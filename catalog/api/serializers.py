"""What the REST API says of servers. Amounts are text, because JSON numbers are floats to many readers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from catalog.cards import gateway_of, health_of, policy_of, sort_effects
from catalog.choices import (
    AuthMode,
    Badge,
    Category,
    Health,
    PackageType,
    PolicyMode,
    Seen,
    SideEffect,
    SourceKind,
    SourceTrust,
    Status,
    Transport,
    TrustLevel,
    UpstreamStatus,
    Visibility,
)
from catalog.models import Server, Tool
from catalog.selectors.extras import PriceTag
from catalog.selectors.search import Choice
from catalog.selectors.tool_directory import ToolRow
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


class ServerVersionOut(serializers.Serializer[Any]):
    version = serializers.CharField()
    protocol = serializers.CharField(help_text="Blank: never read from the server itself.")
    deployed_at = serializers.DateTimeField(source="created_at")
    inventory_digest = serializers.CharField()
    tool_count = serializers.IntegerField(allow_null=True)
    resource_count = serializers.IntegerField(allow_null=True)
    prompt_count = serializers.IntegerField(allow_null=True)


class SourceOut(serializers.Serializer[Server]):
    name = serializers.CharField(source="source_name")
    kind = serializers.ChoiceField(SourceKind.choices, source="source_kind", allow_blank=True)
    trust = serializers.ChoiceField(SourceTrust.choices, source="source_trust", allow_blank=True)


class InventoryOut(serializers.Serializer[Server]):
    tools = serializers.IntegerField(source="tool_count", allow_null=True)
    resources = serializers.IntegerField(source="resource_count", allow_null=True)
    prompts = serializers.IntegerField(source="prompt_count", allow_null=True)
    tasks = serializers.BooleanField(source="has_tasks")


class PopularityOut(serializers.Serializer[Server]):
    calls_30d = serializers.IntegerField(help_text="Counted by the marketplace.")
    installs = serializers.IntegerField(help_text="Counted by the marketplace.")
    downloads = serializers.IntegerField(allow_null=True, help_text="Said by a source; null when none says it.")


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
    version = ServerVersionOut(source="current_version", allow_null=True)
    governance = serializers.SerializerMethodField()
    price = serializers.SerializerMethodField()
    publisher = serializers.CharField(help_text="The provider here, else what the source claims.")
    listed_by = SourceOut(
        source="*", help_text="Where the listing was read; its kind is blank when it was published here."
    )
    package_types = serializers.ListField(child=serializers.ChoiceField(PackageType.choices))
    inventory = InventoryOut(source="*", help_text="Counts of the current version; null when nobody knows.")
    popularity = PopularityOut(source="*")
    upstream_status = serializers.ChoiceField(UpstreamStatus.choices, help_text="Said by the publisher.")
    repository_url = serializers.CharField(help_text="Blank when nobody says it.")
    website_url = serializers.CharField(help_text="Blank when nobody says it.")

    class Meta:
        model = Server
        fields = [
            "id", "slug", "name", "summary", "description", "category", "tags", "visibility", "transport",
            "provider", "owner", "team", "version", "governance", "price", "updated_at", "registry_name", "publisher",
            "listed_by", "package_types", "repository_url", "website_url", "license", "inventory", "popularity", "is_verified",
            "is_featured", "upstream_status", "published_at", "content_updated_at",
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


class ChoiceOut(serializers.Serializer[Choice]):
    value = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a name that the base class has too
    count = serializers.IntegerField(help_text="Entries that it would show with all other choices as they are.")


def choices_of(choices: Iterable[Choice]) -> list[dict[str, Any]]:
    return [{"value": one.value, "label": one.label, "count": one.count} for one in choices]


class PagingOut(serializers.Serializer[Any]):
    page = serializers.IntegerField()
    pages = serializers.IntegerField()
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class FoundOut(PagingOut):
    """One page of a search."""

    servers = ServerOut(many=True)
    total_count = serializers.IntegerField(help_text="Servers that the key's organisation may see.")
    filtered_count = serializers.IntegerField(help_text="Servers that match.")
    categories = ChoiceOut(many=True)
    featured_servers = ServerOut(many=True)
    corrected = serializers.ListField(
        child=serializers.CharField(),
        help_text="Words that were looked for as well, because nobody uses one that was given.",
    )


class ToolEntryOut(serializers.Serializer[ToolRow]):
    """A tool in the directory; its definition is on the page of its server."""

    name = serializers.CharField(source="tool.name")
    title = serializers.CharField(source="tool.title", allow_blank=True)
    description = serializers.CharField(source="tool.description", allow_blank=True)
    side_effect = serializers.ChoiceField(SideEffect.choices, source="tool.side_effect", allow_blank=True)
    required_trust = serializers.ChoiceField(TrustLevel.choices, source="tool.required_trust")
    seen = serializers.ChoiceField([*Seen.choices, ("drifted", "Changed since approval")])
    price = PriceOut(allow_null=True)
    usable = serializers.BooleanField()
    server = PartyOut()


class FoundToolsOut(PagingOut):
    tools = ToolEntryOut(many=True)
    filtered_count = serializers.IntegerField()
    facets = serializers.DictField(child=ChoiceOut(many=True))


class FacetOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a name that the base class has too
    choices = ChoiceOut(many=True)


class FacetsOut(serializers.Serializer[Any]):
    filtered_count = serializers.IntegerField()
    facets = FacetOut(many=True)
