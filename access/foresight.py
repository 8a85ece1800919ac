"""What would be decided, for callers and calls that are not there. The one place outside the gateway that asks the engine so."""

from __future__ import annotations

from collections.abc import Sequence

from access import engine, selectors
from access.types import Decision, GrantRule, Principal, Reason, ServerPolicy
from catalog.models import Server
from core import clock
from tenants.models import Tenant


def person(user_id: object) -> Principal:
    """A person who acts by themself, without a key."""
    return Principal(user_id=str(user_id))


def would(principal: Principal, tenant: Tenant, server: Server, method: str, tool: str) -> Decision:
    """What a gateway would decide at this moment, with the steps."""
    if not selectors.is_callable(server):
        reason = Reason.SERVER_NOT_READY
        return Decision(False, reason, "The server cannot be called at present.", steps=engine.trace(reason))
    rules = [rule for rule in selectors.compile_rules() if rule.server_id == server.pk]
    return decided(policy_of(server, tenant), rules, principal, method, tool)


def policy_of(server: Server, tenant: Tenant) -> ServerPolicy:
    """The server's policy as it holds for callers of this organisation."""
    return selectors.compile_policy(server).towards(own=server.owner_tenant_id == tenant.pk)


def decided(policy: ServerPolicy, rules: Sequence[GrantRule], principal: Principal, method: str, tool: str) -> Decision:
    return engine.explain(policy, rules, principal, method, tool, clock.now())
