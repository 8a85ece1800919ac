"""Closed: whatever the policy engine does not allow is refused, and so is everything while entries may be stale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from access import engine, flow
from access.types import Decision, GrantRule, Labels, Reason, Request, ServerPolicy, SessionRule
from gateway.context import CallContext, Caller
from gateway.entries import ServerEntry
from gateway.mcp.errors import RefusedError

_MAX_DECISIONS = 1024
_MAX_SERVERS = 256
_MINUTE = timedelta(minutes=1)
_NO_FLOWS: Mapping[str, Labels] = {}


def authorise(call: CallContext, caller: Caller, server: ServerEntry, method: str, tool: str) -> None:
    """Note the decision on the call. Raises RefusedError when it is negative."""
    if "invoke" not in caller.key.scopes:
        raise RefusedError("access.scope_missing")
    arguments = _arguments(call) if method == "tools/call" else None
    decision = call.decision = decision_for(caller, server, method, tool, call.occurred_at, arguments)
    if not decision.allowed:
        raise RefusedError.by_policy(decision)


def callable_tools(caller: Caller, server: ServerEntry, now: datetime) -> frozenset[str]:
    """The names of the tools that this caller may call on this server with some arguments, kept like a decision."""
    held = caller.callable_tools.get(server.server_id)
    if held is not None and held[0] is server and (held[2] is None or now < held[2]):
        return held[1]
    asked = _Asked(caller, server, now)
    names = frozenset(name for name in asked.policy.tools if asked.decide("tools/call", name, None).allowed)
    if len(caller.callable_tools) >= _MAX_SERVERS:
        caller.callable_tools.clear()
    caller.callable_tools[server.server_id] = (server, names, asked.holds_until())
    return names


def decision_for(
    caller: Caller,
    server: ServerEntry,
    method: str,
    tool: str,
    now: datetime,
    arguments: Mapping[str, Any] | None = None,
) -> Decision:
    """The engine's answer, kept as long as nothing it depends on can have changed.

    A decision depends on the tenant's entry (the caller is dropped with it), the server's entry (compared here), what the
    request says beside its credential (the caller is one in these circumstances), and on the moment: which grants have expired,
    which hours it is, whether the session goes on. What depends on arguments is decided each time. `arguments` that are None are
    not known yet, and not judged.
    """
    key = (server.server_id, method, tool)
    held = caller.decisions.get(key)
    if held is not None and held[0] is server and (held[2] is None or now < held[2]):
        return held[1]
    asked = _Asked(caller, server, now)
    decision = asked.decide(method, tool, arguments)
    if not asked.depends_on_arguments(tool) and decision.reason is not Reason.SESSION_EXPIRED:
        if len(caller.decisions) >= _MAX_DECISIONS:
            caller.decisions.clear()
        caller.decisions[key] = (server, decision, asked.holds_until())
    return decision


class _Asked:
    """The engine's question for one caller at one server, at one moment."""

    def __init__(self, caller: Caller, server: ServerEntry, now: datetime) -> None:
        tenant, around = caller.tenant, caller.around
        policy = server.policy.towards(own=server.owner_tenant_id == tenant.tenant_id)
        self.policy: ServerPolicy = policy.guarded(tenant.guards.get(server.server_id)) if tenant.guards else policy
        if tenant.flow is not None and (flows := flows_at(caller, server)):
            self.policy = replace(self.policy, flows=flows)
        self._caller, self._now = caller, now
        self._grants = tenant.grants.get(server.server_id, ())
        self._name = around.session_in(self.policy.session.header) if around is not None else ""
        self._address = around.address if around is not None else ""
        self._sessions = tenant.sessions.get(server.server_id, ()) if self._name else ()
        self._session: SessionRule | None = None
        self._used_at: datetime | None = None
        if self._name:
            self._session = engine.find_session(self.policy, self._sessions, caller.principal, self._name)
            if self._session is not None and caller.uses is not None:
                self._used_at = caller.uses.last(self._session.session_id)

    def decide(self, method: str, tool: str, arguments: Mapping[str, Any] | None) -> Decision:
        request = Request(
            method, tool, self._name, self._address, self._caller.key.environment, arguments, self._used_at
        )
        return engine.decide(self.policy, self._grants, self._sessions, self._caller.principal, request, self._now)

    def depends_on_arguments(self, tool: str) -> bool:
        return bool(tool) and any(
            grant.conditions is not None and tool in grant.conditions.arguments for grant in self._conditional()
        )

    def holds_until(self) -> datetime | None:
        """The first moment at which another answer is possible; None when there is none."""
        ends = [each.expires_at for each in self._grants if each.expires_at is not None and each.expires_at > self._now]
        if self._session is not None:
            end = self._session.ends_at(self.policy.session, self._used_at)
            if end is not None and end > self._now:
                ends.append(end)
        if any(grant.conditions is not None and grant.conditions.hours for grant in self._conditional()):
            # Hours begin and end with a minute.
            ends.append(self._now.replace(second=0, microsecond=0) + _MINUTE)
        return min(ends, default=None)

    def _conditional(self) -> Iterator[GrantRule]:
        return (each for each in self._grants if each.conditions is not None)


def flows_at(caller: Caller, server: ServerEntry) -> Mapping[str, Labels]:
    """The labels of a server's tools that count for the organisation; most servers have none."""
    rule, own = caller.tenant.flow, caller.tenant.labels.get(server.server_id)
    if rule is None or not (own or server.is_labelled or (rule.counts_suggested and server.is_suggested)):
        return _NO_FLOWS
    held = caller.flows.get(server.server_id)
    if held is not None and held[0] is server:
        return held[1]
    if len(caller.flows) >= _MAX_SERVERS:
        caller.flows.clear()
    found = flow.flowing(server.policy, rule, own or {})
    caller.flows[server.server_id] = (server, found)
    return found


def _arguments(call: CallContext) -> Mapping[str, Any]:
    """Those of a tool call. What is no object has none, and its sender is told so by a stage of its own."""
    found = call.message.params.get("arguments") if call.message is not None else None
    return found if isinstance(found, dict) else {}
