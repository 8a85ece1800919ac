"""What would be decided, for callers and calls that are not there. The one place outside the gateway that asks the engine so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from access import engine, selectors
from access.types import Decision, GrantRule, Principal, Reason, Request, ServerPolicy, SessionRule
from catalog.models import Server
from core import clock
from tenants.models import Tenant


def person(user_id: object) -> Principal:
    """A person who acts by themself, without a key."""
    return Principal(user_id=str(user_id))


def would(
    principal: Principal,
    tenant: Tenant,
    server: Server,
    method: str,
    tool: str,
    arguments: Mapping[str, Any] | None = None,
) -> Decision:
    """What a gateway would decide at this moment, with the steps. Arguments that are not known are not judged."""
    if not selectors.is_callable(server):
        reason = Reason.SERVER_NOT_READY
        return Decision(False, reason, "The server cannot be called at present.", steps=engine.trace(reason))
    rules = [rule for rule in selectors.compile_rules() if rule.server_id == server.pk]
    sessions = [rule for rule in selectors.compile_sessions() if rule.server_id == server.pk]
    request = Request(method, tool, arguments=arguments)
    return engine.explain(policy_of(server, tenant), rules, sessions, principal, request, clock.now())


def policy_of(server: Server, tenant: Tenant) -> ServerPolicy:
    """The server's policy as it holds for callers of this organisation."""
    return selectors.compile_policy(server).towards(own=server.owner_tenant_id == tenant.pk)


def decided(
    policy: ServerPolicy,
    rules: Sequence[GrantRule],
    sessions: Sequence[SessionRule],
    principal: Principal,
    request: Request,
) -> Decision:
    return engine.decide(policy, rules, sessions, principal, request, clock.now())
