"""The policy of one server as one document, in the form that MCP Runtime gives its gateways (requirements C4). Pure.

Its revision is the SHA-256 of the document in the compact JSON of Go's encoder: members in the order of their declaration, empty
optional ones left out, keys of maps sorted, `<`, `>`, `&`, U+2028 and U+2029 escaped; with `revision` empty and without
`generated_at`. Who holds the document elsewhere can compare revisions byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from access.types import EnforceOn, GrantRule, ServerPolicy, SessionRule, SideEffect, ToolRule, Trust

SCHEMA_VERSION = "v1"
JSON = dict[str, Any]

_AUTH_MODES = {"", "none", "header", "oauth", "mtls"}
_TRUSTS = {"", *(trust.word for trust in Trust)}
_EFFECTS = set(SideEffect)
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})
_SURROGATE = re.compile("[\ud800-\udfff]")

# Members in the order of their declaration; those marked * stand even when they are empty.
_SERVER = ("name*", "namespace*", "team_id", "cluster")
_AUTH = (
    "mode", "human_id_header", "agent_id_header", "team_id_header", "session_id_header", "token_header", "issuer_url",
    "audience", "trust_domain",
)  # fmt: skip
_POLICY = ("mode", "default_decision", "enforce_on", "policy_version")
_SESSION = ("required", "store", "header_name", "max_lifetime", "idle_timeout", "upstream_token_header")
_TOOL = ("name*", "description", "required_trust", "side_effect", "risk_level", "labels")
_GRANT = (
    "name*", "namespace", "human_id", "agent_id", "team_id", "max_trust", "allowed_side_effects", "policy_version", "disabled",
    "tool_rules",
)  # fmt: skip
_RULE = ("name*", "decision", "required_trust")
_BINDING = (
    "name*", "namespace", "human_id", "agent_id", "team_id", "consented_trust", "revoked", "expires_at", "policy_version",
    "upstream_token_ref",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class About:
    """What the document says of the server beside its policy."""

    name: str
    namespace: str
    auth_mode: str = "none"
    issuer_url: str = ""
    descriptions: Mapping[str, str] | None = None  # of tools


@dataclass(frozen=True, slots=True)
class Rendered:
    document: JSON
    left_out: tuple[str, ...]  # names of grants that say more than the document can, and would be wider in it

    @property
    def revision(self) -> str:
        return str(self.document["revision"])


def render(
    about: About,
    policy: ServerPolicy,
    grants: Iterable[GrantRule],
    sessions: Iterable[SessionRule],
    now: datetime,
) -> Rendered:
    """The document of what holds at this moment, with its revision."""
    live = [each for each in grants if each.revoked_at is None and (each.expires_at is None or now < each.expires_at)]
    said = [each for each in live if not (each.key or each.everyone or each.conditions or _asks_people(each))]
    document: JSON = {
        "schema_version": SCHEMA_VERSION,
        "revision": "",
        "generated_at": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "server": {"name": about.name, "namespace": about.namespace, "team_id": policy.team},
        "auth": {"mode": about.auth_mode, "issuer_url": about.issuer_url, "session_id_header": policy.session.header},
        "policy": {
            "mode": policy.mode.value,
            "default_decision": "allow" if policy.allows_by_default else "deny",
            "enforce_on": policy.enforce_on.value if policy.enforce_on is EnforceOn.CALL_TOOL else "all",
            "policy_version": policy.policy_version,
        },
        "session": {
            "required": policy.session.required,
            "store": "marketplace",
            "header_name": policy.session.header,
            "max_lifetime": _duration(policy.session.max_lifetime_s),
            "idle_timeout": _duration(policy.session.idle_timeout_s),
        },
        "tools": [_tool(each, about.descriptions or {}) for each in policy.tools.values()],
        "grants": [_grant(each) for each in sorted(said, key=lambda each: (each.namespace, each.name))],
        "sessions": [_binding(each) for each in sorted(sessions, key=lambda each: (each.namespace, each.name))],
    }
    document["revision"] = revision_of(document)
    left_out = tuple(sorted(each.name for each in live if each not in said))
    return Rendered(document, left_out)


def _asks_people(grant: GrantRule) -> bool:
    return any(term.needs_approval for term in grant.tool_rules.values())


def revision_of(document: Mapping[str, Any]) -> str:
    """The digest of the document's content; neither `revision` nor `generated_at` counts."""
    content = {**document, "revision": "", "generated_at": ""}
    return "sha256:" + hashlib.sha256(encode(content)).hexdigest()


def encode(document: Mapping[str, Any]) -> bytes:
    """The document as Go's encoder writes it."""
    text = json.dumps(_in_order(document), ensure_ascii=False, separators=(",", ":"))
    text = _SURROGATE.sub(r"\\ufffd", text)
    return text.translate(_ESCAPES).encode()


def _in_order(document: Mapping[str, Any]) -> JSON:
    found: JSON = {
        "schema_version": document.get("schema_version", ""),
        "revision": document.get("revision", ""),
    }
    if document.get("generated_at"):
        found["generated_at"] = document["generated_at"]
    found["server"] = _members(document.get("server") or {}, _SERVER)
    for name, order in (("auth", _AUTH), ("policy", _POLICY), ("session", _SESSION)):
        if document.get(name) is not None:
            found[name] = _members(document[name], order)
    for name, members in (("tools", _TOOL), ("grants", _GRANT), ("sessions", _BINDING)):
        if document.get(name):
            found[name] = [_members(each, members) for each in document[name]]
    return found


def _members(data: Mapping[str, Any], order: tuple[str, ...]) -> JSON:
    found: JSON = {}
    for member in order:
        name, always = member.rstrip("*"), member.endswith("*")
        value = data.get(name, "" if always else None)
        if name == "tool_rules" and value:
            value = [_members(each, _RULE) for each in value]
        if name == "labels" and value:
            value = dict(sorted(value.items(), key=lambda item: item[0].encode("utf-8", "replace")))
        if always or value:
            found[name] = value
    return found


class DocumentInvalidError(ValueError):
    """A document that must never take the place of a good one; says why in MCP Runtime's words."""


def validate(document: Mapping[str, Any], *, lenient: bool = False) -> None:
    """Raises DocumentInvalidError. `lenient` refuses two grants of one name in different namespaces, as MCP Runtime does (Q6)."""
    if document.get("schema_version") != SCHEMA_VERSION:
        raise DocumentInvalidError(f"unsupported schema version {document.get('schema_version')!r}")
    if not document.get("revision"):
        raise DocumentInvalidError("revision is required")
    if document["revision"] != revision_of(document):
        raise DocumentInvalidError("revision mismatch: the content is not what the revision was made of")
    if not str((document.get("server") or {}).get("name", "")).strip():
        raise DocumentInvalidError("server.name is required")
    _check_auth(document.get("auth") or {})
    _check_policy(document.get("policy") or {})
    _check_tools(document.get("tools") or [])
    _check_grants(document.get("grants") or [], lenient=lenient)
    _check_sessions(document.get("sessions") or [], lenient=lenient)


def _check_auth(auth: Mapping[str, Any]) -> None:
    mode = _word(auth.get("mode"))
    if mode not in _AUTH_MODES:
        raise DocumentInvalidError(f"invalid auth mode {auth.get('mode')!r}")
    if mode == "oauth" and not _word(auth.get("issuer_url")):
        raise DocumentInvalidError("auth mode 'oauth' requires issuer_url")
    if mode == "mtls" and not _word(auth.get("trust_domain")):
        raise DocumentInvalidError("auth mode 'mtls' requires trust_domain")


def _check_policy(policy: Mapping[str, Any]) -> None:
    if _word(policy.get("mode")) not in {"", "allow-list", "observe"}:
        raise DocumentInvalidError(f"invalid policy mode {policy.get('mode')!r}")
    if _word(policy.get("default_decision")) not in {"", "allow", "deny"}:
        raise DocumentInvalidError(f"invalid default decision {policy.get('default_decision')!r}")


def _check_tools(tools: list[Mapping[str, Any]]) -> None:
    seen: set[str] = set()
    for place, tool in enumerate(tools):
        name = _name(tool, f"tools[{place}]")
        if name in seen:
            raise DocumentInvalidError(f"duplicate tool name {name!r}")
        seen.add(name)
        _check_trust(tool.get("required_trust"), f"tool {name!r} has invalid required_trust")
        if _word(tool.get("side_effect")) not in {"", *_EFFECTS}:
            raise DocumentInvalidError(f"tool {name!r} has invalid side_effect {tool.get('side_effect')!r}")


def _check_grants(grants: list[Mapping[str, Any]], *, lenient: bool) -> None:
    seen: set[tuple[str, str]] = set()
    for place, grant in enumerate(grants):
        name = _name(grant, f"grants[{place}]")
        key = ("" if lenient else str(grant.get("namespace", "")), name)
        if key in seen:
            raise DocumentInvalidError(f"duplicate grant name {name!r}")
        seen.add(key)
        _check_trust(grant.get("max_trust"), f"grant {name!r} has invalid max_trust")
        for effect in grant.get("allowed_side_effects") or []:
            if _word(effect) not in _EFFECTS:
                raise DocumentInvalidError(f"grant {name!r} has invalid allowed side effect {effect!r}")
        _check_rules(name, grant.get("tool_rules") or [])


def _check_rules(grant: str, rules: list[Mapping[str, Any]]) -> None:
    seen: set[str] = set()
    for place, rule in enumerate(rules):
        name = _name(rule, f"grant {grant!r} tool_rules[{place}]")
        if name in seen:
            raise DocumentInvalidError(f"grant {grant!r} has a duplicate tool rule {name!r}")
        seen.add(name)
        if _word(rule.get("decision")) not in {"", "allow", "deny"}:
            raise DocumentInvalidError(
                f"grant {grant!r} tool rule {name!r} has invalid decision {rule.get('decision')!r}"
            )
        _check_trust(rule.get("required_trust"), f"grant {grant!r} tool rule {name!r} has invalid required_trust")


def _check_sessions(sessions: list[Mapping[str, Any]], *, lenient: bool) -> None:
    seen: set[tuple[str, str]] = set()
    for place, session in enumerate(sessions):
        name = _name(session, f"sessions[{place}]")
        key = ("" if lenient else str(session.get("namespace", "")), name)
        if key in seen:
            raise DocumentInvalidError(f"duplicate session name {name!r}")
        seen.add(key)
        _check_trust(session.get("consented_trust"), f"session {name!r} has invalid consented_trust")


def _name(data: Mapping[str, Any], where: str) -> str:
    name = data.get("name")
    if not isinstance(name, str) or not name.strip():
        raise DocumentInvalidError(f"{where} name is required")
    return name


def _check_trust(value: Any, what: str) -> None:
    if _word(value) not in _TRUSTS:
        raise DocumentInvalidError(f"{what} {value!r}")


def _word(value: Any) -> str:
    return value.strip().lower() if isinstance(value, str) else "" if value is None else str(value)


def _tool(tool: ToolRule, descriptions: Mapping[str, str]) -> JSON:
    return {
        "name": tool.name,
        "description": descriptions.get(tool.name, ""),
        "required_trust": tool.required_trust.word,
        "side_effect": str(tool.side_effect or ""),
        "risk_level": tool.risk_level,
    }


def _grant(grant: GrantRule) -> JSON:
    return {
        "name": grant.name,
        "namespace": grant.namespace,
        "human_id": grant.user,
        "agent_id": grant.agent,
        "team_id": grant.team,
        "max_trust": grant.max_trust.word,
        "allowed_side_effects": sorted(str(effect) for effect in grant.side_effects),
        "policy_version": grant.policy_version,
        "disabled": grant.disabled,
        "tool_rules": [
            {
                "name": name,
                "decision": "deny" if term.is_denied else "allow",
                "required_trust": term.required_trust.word,
            }
            for name, term in sorted(grant.tool_rules.items())
        ],
    }


def _binding(session: SessionRule) -> JSON:
    return {
        "name": session.name,
        "namespace": session.namespace,
        "human_id": session.user,
        "agent_id": session.agent,
        "team_id": session.team,
        "consented_trust": session.consented_trust.word,
        "revoked": session.revoked_at is not None,
        "expires_at": session.expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if session.expires_at else "",
        "policy_version": session.policy_version,
        "upstream_token_ref": str(session.credential_id or ""),
    }


def _duration(seconds: int) -> str:
    hours, rest = divmod(seconds, 3_600)
    minutes, seconds = divmod(rest, 60)
    return "".join(f"{count}{unit}" for count, unit in ((hours, "h"), (minutes, "m"), (seconds, "s")) if count) or "0s"
