"""Changes of access that nobody has made: read, and applied to the rules that the engine decides by. Pure.

A change is JSON: `{"kind": "grant", "server", "subject": {user, agent, team, key, everyone}, "max_trust", "side_effects",
"tools"}`,
`{"kind": "revoke", "grant"}`, `{"kind": "policy", "server", "mode", "default_decision", "required_trust", "session_required"}`,
`{"kind": "tool", "server", "tool", "required_trust", "side_effect", "needs_approval"}`, or `{"kind": "files", "text"}`, which the
filing does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from access.types import GrantRule, PolicyMode, ServerPolicy, SessionRule, SideEffect, ToolTerm, Trust
from core.errors import InvalidError
from core.ids import uuid7

FILES = "files"
KINDS = ("grant", "revoke", "policy", "tool", FILES)
TEXT_MAX = 256 * 1024
_PARTS = ("user", "agent", "team", "key")
_TRUSTS = tuple(trust.word for trust in Trust)


@dataclass(frozen=True, slots=True)
class Ground:
    """Everything that decisions of an organisation rest on."""

    policies: Mapping[UUID, ServerPolicy]
    grants: tuple[GrantRule, ...]
    sessions: tuple[SessionRule, ...]


def check(change: Any) -> dict[str, Any]:
    """The change as it is stored: its known members, of the right kinds. Raises InvalidError."""
    if not isinstance(change, dict) or change.get("kind") not in KINDS:
        raise InvalidError(f"A change has one of the kinds {', '.join(KINDS)}.", field="kind")
    kind = change["kind"]
    return {"kind": kind, **_CHECKS[kind](change)}


def server_of(change: Mapping[str, Any]) -> UUID | None:
    return UUID(change["server"]) if "server" in change else None


def apply(ground: Ground, change: Mapping[str, Any]) -> Ground:
    """The ground after a checked change that is none of files."""
    return _APPLY[change["kind"]](ground, change)


def _check_grant(change: Mapping[str, Any]) -> dict[str, Any]:
    given = change.get("subject")
    subject = {part: str(given.get(part) or "")[:200] for part in _PARTS} if isinstance(given, dict) else {}
    everyone = isinstance(given, dict) and given.get("everyone") is True
    if not everyone and not any(subject.values()):
        raise InvalidError("Say who would be given access.", field="subject")
    effects = change.get("side_effects") or [SideEffect.READ.value]
    tools = change.get("tools") or []
    if not isinstance(effects, list) or not set(map(str, effects)) <= set(SideEffect):
        raise InvalidError("A side effect is read, write or destructive.", field="side_effects")
    if not isinstance(tools, list) or not all(isinstance(tool, str) for tool in tools) or len(tools) > 500:
        raise InvalidError("Tools are a list of names.", field="tools")
    return {
        "server": _uuid(change, "server"),
        "subject": {**subject, "everyone": everyone},
        "max_trust": _word(change, "max_trust", _TRUSTS, "low"),
        "side_effects": sorted(set(map(str, effects))),
        "tools": sorted(set(tools)),
    }


def _check_revoke(change: Mapping[str, Any]) -> dict[str, Any]:
    return {"grant": _uuid(change, "grant")}


def _check_policy(change: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        "mode": _word(change, "mode", tuple(PolicyMode), ""),
        "default_decision": _word(change, "default_decision", ("allow", "deny"), ""),
        "required_trust": _word(change, "required_trust", _TRUSTS, ""),
        "session_required": change.get("session_required"),
    }
    if found["session_required"] not in (None, True, False):
        raise InvalidError("session_required is true or false.", field="session_required")
    wanted = {name: value for name, value in found.items() if value not in ("", None)}
    if not wanted:
        raise InvalidError("Say what would change of the policy.", field="mode")
    return {"server": _uuid(change, "server"), **wanted}


def _check_tool(change: Mapping[str, Any]) -> dict[str, Any]:
    tool = change.get("tool")
    if not isinstance(tool, str) or not 0 < len(tool) <= 128:
        raise InvalidError("Name the tool.", field="tool")
    trust = _word(change, "required_trust", _TRUSTS, "")
    effect = _word(change, "side_effect", tuple(SideEffect), "")
    approval = change.get("needs_approval")
    if approval not in (None, True, False):
        raise InvalidError("needs_approval is true or false.", field="needs_approval")
    if not trust and not effect and approval is None:
        raise InvalidError("Say what would change of the tool.", field="required_trust")
    wanted = {"server": _uuid(change, "server"), "tool": tool, "required_trust": trust, "side_effect": effect}
    return wanted if approval is None else wanted | {"needs_approval": approval}


def _check_files(change: Mapping[str, Any]) -> dict[str, Any]:
    text = change.get("text")
    if not isinstance(text, str) or not text.strip() or len(text) > TEXT_MAX:
        raise InvalidError(f"Give the text of a policy file, up to {TEXT_MAX // 1024} KiB.", field="text")
    return {"text": text.replace("\x00", ""), "prune": change.get("prune") is True}


def _uuid(change: Mapping[str, Any], name: str) -> str:
    try:
        return str(UUID(str(change.get(name, ""))))
    except ValueError as error:
        raise InvalidError(f"{name} is an id.", field=name) from error


def _word(change: Mapping[str, Any], name: str, words: tuple[str, ...], default: str) -> str:
    value = change.get(name) or default
    if value != default and value not in words:
        raise InvalidError(f"{name} is one of {', '.join(words)}.", field=name)
    return str(value)


def _apply_grant(ground: Ground, change: Mapping[str, Any]) -> Ground:
    subject = change["subject"]
    rule = GrantRule(
        grant_id=uuid7(),
        server_id=UUID(change["server"]),
        max_trust=Trust.parse(change["max_trust"]),
        side_effects=frozenset(SideEffect(effect) for effect in change["side_effects"]),
        name="proposed",
        everyone=subject["everyone"],
        tool_rules={tool: ToolTerm() for tool in change["tools"]},
        **{part: subject[part] for part in _PARTS},
    )
    return replace(ground, grants=(*ground.grants, rule))


def _apply_revoke(ground: Ground, change: Mapping[str, Any]) -> Ground:
    return replace(ground, grants=tuple(rule for rule in ground.grants if str(rule.grant_id) != change["grant"]))


def _apply_policy(ground: Ground, change: Mapping[str, Any]) -> Ground:
    def changed(policy: ServerPolicy) -> ServerPolicy:
        terms = replace(policy.session, required=change.get("session_required", policy.session.required))
        return replace(
            policy,
            mode=PolicyMode(change.get("mode", policy.mode)),
            allows_by_default=change.get("default_decision", "allow" if policy.allows_by_default else "deny")
            == "allow",
            required_trust=Trust.parse(change.get("required_trust", policy.required_trust.word)),
            session=terms,
        )

    return _with_policy(ground, change, changed)


def _apply_tool(ground: Ground, change: Mapping[str, Any]) -> Ground:
    def changed(policy: ServerPolicy) -> ServerPolicy:
        tool = policy.tools.get(change["tool"])
        if tool is None:
            return policy
        trust = Trust.parse(change["required_trust"]) if change["required_trust"] else tool.required_trust
        effect = SideEffect(change["side_effect"]) if change["side_effect"] else tool.side_effect
        approval = change.get("needs_approval", tool.needs_approval)
        changed = replace(tool, required_trust=trust, side_effect=effect, needs_approval=approval)
        return replace(policy, tools={**policy.tools, tool.name: changed})

    return _with_policy(ground, change, changed)


def _with_policy(ground: Ground, change: Mapping[str, Any], changed: Callable[[ServerPolicy], ServerPolicy]) -> Ground:
    server = UUID(change["server"])
    policy = ground.policies.get(server)
    if policy is None:
        return ground
    return replace(ground, policies={**ground.policies, server: changed(policy)})


_CHECKS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "grant": _check_grant,
    "revoke": _check_revoke,
    "policy": _check_policy,
    "tool": _check_tool,
    FILES: _check_files,
}
_APPLY: dict[str, Callable[[Ground, Mapping[str, Any]], Ground]] = {
    "grant": _apply_grant,
    "revoke": _apply_revoke,
    "policy": _apply_policy,
    "tool": _apply_tool,
}
