"""Closed: for whom a call is made is believed of keys that may say so, at servers that take it, and of nobody else.

MCP Runtime's adapters name the human, the agent and the team in headers. What other keys send in them is not looked at, and
nothing of it ever reaches a server, because headers to servers are built from a list of what may pass. Who says any part of it
says all of it: what is left out is then nobody, and not the key's maker. The key stays the key, for its own grants, its limits,
its servers and its team's view of the catalog.
"""

from __future__ import annotations

import re

from gateway.context import Asserted, CallContext, Caller
from gateway.entries import ServerEntry, TenantEntry
from gateway.mcp.errors import RefusedError

HUMAN, AGENT, TEAM = b"x-mcp-human-id", b"x-mcp-agent-id", b"x-mcp-team-id"
_VALUE = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]{0,252}[\x21-\x7e])?\Z")
_BEHIND_MAX = 1024


def take(call: CallContext, caller: Caller, server: ServerEntry) -> Caller:
    """The caller for whom this call is made; the key itself where none is named. Raises RefusedError."""
    if not server.takes_identity or not caller.key.asserts:
        return caller
    headers = call.headers
    if HUMAN not in headers and AGENT not in headers and TEAM not in headers:
        return caller
    said = Asserted(_value(headers, HUMAN), _value(headers, AGENT), _value(headers, TEAM))
    found = caller.behind.get(said)
    if found is None:
        if len(caller.behind) >= _BEHIND_MAX:
            caller.behind.clear()
        found = caller.behind[said] = caller.for_(_known(said, caller.tenant))
    return found


def _value(headers: dict[bytes, bytes], name: bytes) -> str:
    value = headers.get(name, b"").strip()
    if value and not _VALUE.match(value):
        text = f"{name.decode()} is at most 254 characters of ASCII that show."
        raise RefusedError("gateway.headers_invalid", text)
    return value.decode("ascii")


def _known(said: Asserted, tenant: TenantEntry) -> Asserted:
    """Members by their address and teams by their short name, as grants know them; everybody else as they are called."""
    human = tenant.people.get(said.human.lower(), said.human)
    return Asserted(
        human=human,
        agent=said.agent,
        team=tenant.teams.get(said.team, said.team),
        is_member=human in tenant.people.values(),
    )
