"""Compiling what gateways hold: from rows to immutable entries. The only Django code that the data plane depends on.

Called by the publisher after a commit, and by `ModelLoader` when a gateway misses an entry or a push.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from django.db import close_old_connections

from access import selectors as access
from access.approvals import asking, guards
from access.approvals.types import CallAnswer, CallAsk
from access.flows import rules as flow_rules
from access.flows import state as flows
from access.flows.types import FlowAnswer, FlowAsk
from access.limits import LimitRule, Window
from access.models import CredentialStatus, UpstreamCredential
from access.services import connections
from access.services import sessions as agent_sessions
from access.types import FlowRule, GrantRule, SessionRule, ToolGuard, ToolLabels
from billing.models import PriceVersion
from billing.selectors import owing, plans
from billing.selectors import prices as billing
from catalog.cards import health_of
from catalog.choices import AuthMode, DriftFinder, Status, Visibility
from catalog.models import Server, ServerVersion
from catalog.selectors.listing import is_listed
from catalog.services import drifts
from core import clock
from gateway.admission.budgets import Subject
from gateway.admission.plans import provider_limits
from gateway.entries import CredentialEntry, KeyEntry, Offer, Price, ServerEntry, SigningEntry, TenantEntry
from gateway.mcp import params as mirrored
from gateway.services import limits
from gateway.services.plan_limits import plan_limits
from gateway.services.prepaid import prepaid_limits
from tenants.context import platform_scope, tenant_scope
from tenants.jobs import live_tenant
from tenants.models import APIKey, Consent, Tenant
from tenants.selectors import consents, names
from tenants.selectors.keys import acting_user_id, members_who_act
from tenants.services import signing, vault

P = ParamSpec("P")
R = TypeVar("R")

# What is only known from a source is nothing that a call could reach.
_UNGOVERNED = (Status.LISTED, Status.REMOVED)


def tenant_entry(tenant_id: UUID) -> TenantEntry | None:
    """The keys and grants of one organisation; None when it does not exist."""
    with platform_scope():
        # The revision is read before what it covers: a change in between makes the entry look older than it is, never newer.
        tenant = Tenant.objects.filter(pk=tenant_id).first()
        if tenant is None:
            return None
        members = members_who_act(tenant)
        keys = {key.key_id: _key(key, members) for key in APIKey.objects.filter(tenant=tenant, revoked_at=None)}
        own = Server.objects.filter(access.open_without_grant(), owner_tenant=tenant).exclude(status=Status.REMOVED)
        observed = frozenset(own.values_list("pk", flat=True))
        for consent in consents.live(tenant):
            if consents.acts(consent, members):
                keys[consent.key_id] = _consent(consent, members)
        offers = _offers(tenant.pk)
        terms, unpaid_from = plans.current(tenant.pk), owing.stops_at(tenant.pk)
        paid_ahead = prepaid_limits(tenant)
        asserts = any(key.asserts for key in keys.values())
        people, teams = (names.people(tenant), names.teams(tenant)) if asserts else ({}, {})
    grants: dict[UUID, list[GrantRule]] = {}
    sessions: dict[UUID, list[SessionRule]] = {}
    limit_rules: tuple[LimitRule, ...] = ()
    credentials: dict[UUID, list[CredentialEntry]] = {}
    guarded: dict[UUID, dict[str, ToolGuard]] = {}
    flow: FlowRule | None = None
    labels: dict[UUID, dict[str, ToolLabels]] = {}
    if tenant.suspended_at is None:
        with tenant_scope(tenant):
            limit_rules, guarded = access.compile_limits(), guards.guards()
            flow, labels = flow_rules.compile_rule(), flow_rules.own_labels()
            for rule in access.compile_rules():
                grants.setdefault(rule.server_id, []).append(rule)
            for session in access.compile_sessions():
                sessions.setdefault(session.server_id, []).append(session)
            for row in UpstreamCredential.objects.order_by("pk"):
                credentials.setdefault(row.server_id, []).append(_credential(row))
    return TenantEntry(
        tenant_id=tenant.pk,
        schema_name=tenant.schema_name,
        slug=tenant.slug,
        revision=tenant.revision,
        suspended=tenant.suspended_at is not None,
        keys=keys,
        grants={server_id: tuple(rules) for server_id, rules in grants.items()},
        credentials={server_id: tuple(entries) for server_id, entries in credentials.items()},
        data_keys=vault.wrapped_keys(str(tenant.pk)) if credentials else {},
        sessions={server_id: tuple(rules) for server_id, rules in sessions.items()},
        guards=guarded,
        flow=flow,
        labels=labels if flow is not None else {},
        observed=observed,
        limits=(*limit_rules, *(plan_limits(terms) if terms is not None else ()), *paid_ahead),
        offers=offers,
        people=people,
        teams=teams,
        unpaid_from=unpaid_from,
    )


def server_entries(*, slug: str = "", server_id: UUID | None = None, beside: Iterable[UUID] = ()) -> list[ServerEntry]:
    """Servers of this name, of every owner, or the one of this id, or all that share a name with one of those `beside`."""
    with platform_scope():
        rows = Server.objects.exclude(status__in=_UNGOVERNED).select_related("current_version")
        if beside:
            names = Server.objects.filter(pk__in=list(beside)).exclude(status__in=_UNGOVERNED).values("slug")
            rows = rows.filter(slug__in=names)
        else:
            rows = rows.filter(pk=server_id) if server_id else rows.filter(slug=slug)
        servers, now = list(rows), clock.now()
        prices = billing.current_prices((server.pk for server in servers), at=now)
        changes = billing.next_changes((server.pk for server in servers), after=now)
        return [_server(server, prices.get(server.pk, {}), changes.get(server.pk)) for server in servers]


def _own_connection(method: Callable[P, R]) -> Callable[P, R]:
    """Take a connection for one call and give it back, also one that broke: no request cycle does it for these threads."""

    @functools.wraps(method)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        close_old_connections()
        try:
            return method(*args, **kwargs)
        finally:
            close_old_connections()

    return run


class ModelLoader:
    """The data plane's door to Postgres: synchronous, called in a thread of the gateway."""

    @_own_connection
    def tenants_of_keys(self, key_ids: Iterable[str]) -> dict[str, UUID]:
        given = {consent_id: key_id for key_id in key_ids if (consent_id := consents.id_of(key_id))}
        plain = [key_id for key_id in key_ids if key_id not in given.values()]
        with platform_scope():
            keys = APIKey.objects.filter(key_id__in=plain, revoked_at=None).values_list("key_id", "tenant_id")
            found = dict(keys) if plain else {}
            if given:
                owners = Consent.objects.filter(pk__in=given).values_list("pk", "tenant_id")
                found |= {given[consent_id]: tenant_id for consent_id, tenant_id in owners}
        return found

    @_own_connection
    def tenant(self, tenant_id: UUID) -> TenantEntry | None:
        return tenant_entry(tenant_id)

    @_own_connection
    def servers_by_slug(self, slug: str) -> list[ServerEntry]:
        return server_entries(slug=slug)

    @_own_connection
    def server(self, server_id: UUID) -> ServerEntry | None:
        return next(iter(server_entries(server_id=server_id)), None)

    @_own_connection
    def servers_by_id(self, server_ids: Iterable[UUID]) -> list[ServerEntry]:
        return server_entries(beside=server_ids)

    @_own_connection
    def revisions(
        self, tenant_ids: Iterable[UUID], server_ids: Iterable[UUID]
    ) -> tuple[dict[UUID, int], dict[UUID, int]]:
        """The newest revision of each; what is missing from the answer is gone."""
        with platform_scope():
            tenants = dict(Tenant.objects.filter(pk__in=list(tenant_ids)).values_list("pk", "revision"))
            servers = dict(
                Server.objects.filter(pk__in=list(server_ids))
                .exclude(status__in=_UNGOVERNED)
                .values_list("pk", "revision")
            )
        return tenants, servers

    @_own_connection
    def spent(self, subject: Subject, rule: LimitRule, window: Window) -> int:
        return limits.spent(subject, rule, window)

    @_own_connection
    def tell_limit(self, subject: Subject, rule: LimitRule, percent: int, used: int) -> None:
        limits.tell(subject, rule, percent, used)

    @_own_connection
    def touch_keys(self, used: Mapping[UUID, datetime]) -> None:
        """Store when keys were last used; later moments win."""
        with platform_scope():
            for api_key_id, moment in used.items():
                for model in (APIKey, Consent):
                    if (
                        model.objects.filter(pk=api_key_id)
                        .exclude(last_used_at__gte=moment)
                        .update(last_used_at=moment)
                    ):
                        break

    @_own_connection
    def touch_sessions(self, used: Mapping[UUID, Mapping[UUID, datetime]]) -> None:
        for tenant_id, moments in used.items():
            with tenant_scope(live_tenant(str(tenant_id))):
                agent_sessions.note_used(moments)

    @_own_connection
    def last_use(self, tenant_id: UUID, session_id: UUID) -> datetime | None:
        with tenant_scope(live_tenant(str(tenant_id))):
            return access.list_sessions().filter(pk=session_id).values_list("last_used_at", flat=True).first()

    @_own_connection
    def claim_call(self, ask: CallAsk) -> CallAnswer:
        with tenant_scope(live_tenant(str(ask.tenant_id))) as tenant:
            return asking.claim_or_ask(tenant, ask)

    @_own_connection
    def take_flow(self, ask: FlowAsk) -> FlowAnswer:
        with tenant_scope(live_tenant(str(ask.tenant_id))):
            return flows.take(ask)

    @_own_connection
    def open_round(self, ask: CallAsk) -> None:
        with tenant_scope(live_tenant(str(ask.tenant_id))):
            asking.open_round(ask)

    @_own_connection
    def call_state(self, ask: CallAsk) -> str:
        with tenant_scope(live_tenant(str(ask.tenant_id))):
            return asking.state_of(ask)

    @_own_connection
    def report_definitions(self, server_id: UUID, tools: Mapping[str, dict[str, Any]]) -> None:
        with platform_scope():
            drifts.compare(server_id=server_id, tools=tools, found_by=DriftFinder.GATEWAY)

    @_own_connection
    def signing(self) -> SigningEntry:
        with platform_scope():
            keys = signing.active_keys()
            return SigningEntry(kid=keys.kid, private=keys.private, public=keys.public)

    @_own_connection
    def credential_rejected(self, tenant_id: UUID, credential_id: UUID) -> None:
        with tenant_scope(live_tenant(str(tenant_id))) as tenant:
            connections.note_rejected(tenant, credential_id)

    @_own_connection
    def renew_credential(self, tenant_id: UUID, credential_id: UUID) -> None:
        with tenant_scope(live_tenant(str(tenant_id))) as tenant:
            connections.renew(tenant, credential_id)


def _credential(row: UpstreamCredential) -> CredentialEntry:
    return CredentialEntry(
        credential_id=row.pk,
        kind="oauth" if row.renews else row.kind,
        sealed=bytes(row.secret),
        origin=row.origin,
        user_id=row.user_id,
        expires_at=row.expires_at,
        is_ended=row.status == CredentialStatus.ENDED,
    )


def _key(key: APIKey, members: set[UUID]) -> KeyEntry:
    return KeyEntry(
        key_id=key.key_id,
        api_key_id=key.pk,
        secret_digest=bytes(key.secret_digest),
        scopes=frozenset(key.scopes),
        server_ids=frozenset(key.server_ids),
        user_id=acting_user_id(key, members),
        agent=key.agent,
        team_id=key.team_id,
        expires_at=key.expires_at,
        form=key.list_form,
        chosen_tools=frozenset(key.chosen_tools),
        networks=frozenset(key.networks),
        asserts=key.asserts_identity,
        environment=key.environment,
    )


def _consent(consent: Consent, members: set[UUID]) -> KeyEntry:
    """As a key that only access tokens stand for: no secret matches an empty digest."""
    return KeyEntry(
        key_id=consent.key_id,
        api_key_id=consent.pk,
        secret_digest=b"",
        scopes=frozenset(consent.scopes),
        server_ids=frozenset(consent.server_ids),
        user_id=consent.user_id if consent.user_id in members else None,
        agent=consent.agent,
        team_id=None,
        expires_at=consent.expires_at,
        networks=frozenset(consent.networks),
        kind="oauth",
        client_id=consent.client_id,
    )


def _server(server: Server, prices: dict[str, PriceVersion], prices_until: datetime | None) -> ServerEntry:
    version, policy = server.current_version, access.compile_policy(server)
    whole = prices.get("")
    return ServerEntry(
        server_id=server.pk,
        slug=server.slug,
        revision=server.revision,
        owner_tenant_id=server.owner_tenant_id,
        owner_team_id=server.owner_team_id,
        provider_id=server.provider_id,
        # Until it is approved a public server is its owner's business, here as in the catalog.
        visibility=Visibility.ORG
        if server.visibility == Visibility.PUBLIC and not is_listed(server)
        else server.visibility,
        callable=access.is_callable(server),
        version_id=version.pk if version else None,
        url=server.url,
        policy=policy,
        price=_price(whole) if whole else None,
        allowed_teams=frozenset(server.allowed_teams),
        tool_prices={name: _price(price) for name, price in prices.items() if name},
        prices_until=prices_until,
        protocol=version.protocol if version else "",
        transport=server.transport,
        urls=tuple(server.further_urls),
        limits=provider_limits(server.pk, server.rate_per_caller, server.rate_in_all),
        timeout_s=server.timeout_s,
        auth_mode=server.auth_mode,
        takes_identity=server.auth_mode == AuthMode.HEADER or server.identity_headers,
        upstream_auth=server.upstream_auth,
        down_at=server.health_since if health_of(server, clock.now()).state == "down" else None,
        param_headers=_param_headers(version) if version else {},
        is_labelled=bool(policy.reads) or any(tool.labels for tool in policy.tools.values()),
        is_suggested=any(tool.suggested for tool in policy.tools.values()),
    )


def _param_headers(version: ServerVersion) -> dict[str, dict[str, str]]:
    """Which arguments of which tools are mirrored in headers; most servers mark none."""
    marked = version.tools.filter(definition__inputSchema__icontains="x-mcp-header")
    places = {tool.name: mirrored.places_of(tool.definition.get("inputSchema")) for tool in marked}
    return {name: found for name, found in places.items() if found}


def _offers(tenant_id: UUID) -> dict[UUID, tuple[Offer, ...]]:
    """What was agreed with an organisation, now and later."""
    found: dict[UUID, list[Offer]] = {}
    for row in billing.agreed_with(tenant_id, clock.now()):
        found.setdefault(row.server_id, []).append(Offer(row.tool, _price(row), row.effective_from, row.effective_to))
    return {server_id: tuple(offers) for server_id, offers in found.items()}


def _price(price: PriceVersion) -> Price:
    model = "" if price.terms.is_flat else json.dumps(price.model, sort_keys=True)
    return Price(price.pk, price.rate, price.currency, model)
