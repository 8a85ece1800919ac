"""What a server's owner decides about its policy beside the mode: kept as JSON with the server, read through here. Pure.

Words and defaults follow MCP Runtime's `policy` and `session` blocks (requirements C1), but for `enforce_on`: ours holds every
method against grants unless the owner asks for tool calls alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Protocol, Self

from core.errors import InvalidError

DEFAULT_HEADER = "X-MCP-Agent-Session"
# Gateways look for these names in every request, so they are names that other headers do not have.
_HEADER = re.compile(r"(?=.*session)x-[a-z0-9-]{1,60}\Z", re.IGNORECASE)
_VERSION = re.compile(r"[A-Za-z0-9._-]{1,63}\Z")
_DURATION = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?\Z")
DECISIONS = ("deny", "allow")
ENFORCE_ON = ("all", "call_tool")
COMPATS = ("strict", "mcp-runtime")
LONGEST_S = 400 * 86_400


class _Settled(Protocol):
    @property
    def policy_settings(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class PolicySettings:
    default_decision: str = "deny"
    enforce_on: str = "all"
    policy_version: str = "v1"
    session_required: bool = False
    session_header: str = DEFAULT_HEADER
    session_max_lifetime_s: int = 86_400
    session_idle_timeout_s: int = 3_600
    compat: str = "strict"

    @classmethod
    def of(cls, server: _Settled) -> Self:
        """Those of a server. What is stored and cannot be read is taken for the default, which is the stricter one."""
        stored = server.policy_settings if isinstance(server.policy_settings, Mapping) else {}
        known = {each.name: stored[each.name] for each in fields(cls) if each.name in stored}
        try:
            return cls(**known).checked()
        except InvalidError:
            return cls()

    @classmethod
    def of_manifest(cls, spec: Mapping[str, Any]) -> Self:
        """From the `policy` and `session` blocks of an MCP Runtime description; what cannot be read keeps its default."""
        policy, session = _block(spec, "policy"), _block(spec, "session")
        found: dict[str, Any] = {}
        for name, block, key in (
            ("default_decision", policy, "defaultDecision"),
            ("enforce_on", policy, "enforceOn"),
            ("policy_version", policy, "policyVersion"),
            ("session_required", session, "required"),
            ("session_header", session, "headerName"),
        ):
            if key in block:
                found[name] = block[key]
        for name, key in (("session_max_lifetime_s", "maxLifetime"), ("session_idle_timeout_s", "idleTimeout")):
            seconds = seconds_of(block_text(session, key))
            if seconds:
                found[name] = seconds
        kept = {}
        for name, value in found.items():
            try:
                cls(**{name: value}).checked()
            except InvalidError:
                continue
            kept[name] = value
        return cls(**kept)

    def tightened(self, asked: Self) -> Self:
        """These settings where `asked` wants more care; in nothing do they become looser. Its names are taken."""
        return replace(
            self,
            policy_version=asked.policy_version,
            session_required=self.session_required or asked.session_required,
            session_header=asked.session_header,
            session_max_lifetime_s=min(self.session_max_lifetime_s, asked.session_max_lifetime_s),
            session_idle_timeout_s=min(self.session_idle_timeout_s, asked.session_idle_timeout_s),
        )

    def to_json(self) -> dict[str, Any]:
        """What is stored: only what differs from the defaults."""
        defaults = asdict(type(self)())
        return {name: value for name, value in asdict(self).items() if value != defaults[name]}

    def checked(self) -> Self:
        """Itself. Raises InvalidError, which names the field."""
        for name, words in (("default_decision", DECISIONS), ("enforce_on", ENFORCE_ON), ("compat", COMPATS)):
            if getattr(self, name) not in words:
                raise _invalid(name, f"It is one of {', '.join(words)}.")
        if not isinstance(self.session_required, bool):
            raise _invalid("session_required", "A session is required, or it is not.")
        if not isinstance(self.policy_version, str) or not _VERSION.match(self.policy_version):
            raise _invalid("policy_version", "A version has at most 63 letters, digits, dots, hyphens and underscores.")
        if not isinstance(self.session_header, str) or not _HEADER.match(self.session_header):
            raise _invalid(
                "session_header",
                "The header's name begins with X-, has the word session in it, and else letters, digits and hyphens.",
            )
        for name, least in (("session_max_lifetime_s", 60), ("session_idle_timeout_s", 60)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= LONGEST_S:
                raise _invalid(name, f"It is a number of seconds from {least} to {LONGEST_S:,}.")
        return self


def seconds_of(text: str) -> int:
    """A duration such as 24h, 1h30m or 90s; 0 when it is none."""
    found = _DURATION.match(text.strip())
    if not found or not any(found.groups()):
        return 0
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return hours * 3_600 + minutes * 60 + seconds


def duration_of(seconds: int) -> str:
    """The text that `seconds_of` reads, in the shortest form."""
    hours, rest = divmod(seconds, 3_600)
    minutes, seconds = divmod(rest, 60)
    return "".join(f"{count}{unit}" for count, unit in ((hours, "h"), (minutes, "m"), (seconds, "s")) if count) or "0s"


def block_text(block: Mapping[str, Any], key: str) -> str:
    value = block.get(key)
    return value if isinstance(value, str) else ""


def _block(spec: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = spec.get(key)
    return found if isinstance(found, Mapping) else {}


def _invalid(field: str, message: str) -> InvalidError:
    return InvalidError(message, code="catalog.policy_invalid", field=field)
