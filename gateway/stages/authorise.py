"""Closed: whatever the policy engine does not allow is refused, and so is everything while entries may be stale."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from access import engine
from access.types import Decision, GrantRule, Request
from gateway.context import CallContext, Caller
from gateway.entries import ServerEntry
from gateway.mcp.errors import RefusedError

_MAX_DECISIONS = 1024
_MAX_SERVERS = 256


def authorise(call: CallContext, caller: Caller, server: ServerEntry, method: str, tool: str) -> None:
    """Note the decision on the call. Raises RefusedError when it is negative."""
    if "invoke" not in caller.key.scopes:
        raise RefusedError("access.scope_missing")
    decision = call.decision = decision_for(caller, server, method, tool, call.occurred_at)
    if not decision.allowed:
        raise RefusedError.by_policy(decision)


def callable_tools(caller: Caller, server: ServerEntry, now: datetime) -> frozenset[str]:
    """The names of the tools that this caller may call on this server, kept like a decision."""
    held = caller.callable_tools.get(server.server_id)
    if held is not None and held[0] is server and (held[2] is None or now < held[2]):
        return held[1]
    grants = caller.tenant.grants.get(server.server_id, ())
    policy = server.policy.towards(own=server.owner_tenant_id == caller.tenant.tenant_id)
    names = frozenset(
        name
        for name in policy.tools
        if engine.decide(policy, grants, (), caller.principal, Request("tools/call", name), now).allowed
    )
    if len(caller.callable_tools) >= _MAX_SERVERS:
        caller.callable_tools.clear()
    caller.callable_tools[server.server_id] = (server, names, _next_expiry(grants, now))
    return names


def decision_for(caller: Caller, server: ServerEntry, method: str, tool: str, now: datetime) -> Decision:
    """The engine's answer, kept as long as nothing it depends on can have changed.

    A decision depends on the tenant's entry (the caller is dropped with it), the server's entry (compared here) and on which
    grants have expired, so it holds until the next expiry.
    """
    key = (server.server_id, method, tool)
    held = caller.decisions.get(key)
    if held is not None and held[0] is server and (held[2] is None or now < held[2]):
        return held[1]
    grants = caller.tenant.grants.get(server.server_id, ())
    policy = server.policy.towards(own=server.owner_tenant_id == caller.tenant.tenant_id)
    decision = engine.decide(policy, grants, (), caller.principal, Request(method, tool), now)
    if len(caller.decisions) >= _MAX_DECISIONS:
        caller.decisions.clear()
    caller.decisions[key] = (server, decision, _next_expiry(grants, now))
    return decision


def _next_expiry(grants: Iterable[GrantRule], now: datetime) -> datetime | None:
    return min((g.expires_at for g in grants if g.expires_at is not None and g.expires_at > now), default=None)
