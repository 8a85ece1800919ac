"""`MCPAccessGrant` and `MCPAgentSession` of MCP Runtime, and our own kinds that say more. Pure.

As there, an object that breaks a rule is refused as a whole. Keys that are not known are refused too: the one that is not
understood may be the one that narrows the access. `status` and what Kubernetes keeps in `metadata` are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from access.formats import durations
from access.formats.entries import (
    EFFECTS,
    JSON,
    TRUSTS,
    FlowEntry,
    GrantEntry,
    PolicyEntry,
    RuleEntry,
    SecretRef,
    SessionEntry,
    SubjectEntry,
    moment_text,
)
from access.types import FlowLabel, FlowMode, FlowScope
from catalog.formats.normal import Problem
from catalog.formats.reading import Node, Reading

API_VERSION, OWN_VERSION = "mcpruntime.org/v1alpha1", "mcp-marketplace/v1"
GRANT, SESSION = "MCPAccessGrant", "MCPAgentSession"
OWN_GRANT, OWN_SESSION, OWN_POLICY, OWN_FLOW = "AccessGrant", "AgentSession", "ServerPolicy", "FlowRule"
KINDS = {
    GRANT: API_VERSION,
    SESSION: API_VERSION,
    OWN_GRANT: OWN_VERSION,
    OWN_SESSION: OWN_VERSION,
    OWN_POLICY: OWN_VERSION,
    OWN_FLOW: OWN_VERSION,
}

Entry = GrantEntry | SessionEntry | PolicyEntry | FlowEntry

# Kubernetes names of objects: RFC 1123 subdomains. Namespaces and servers are labels.
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?\Z")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
NAME_MAX, LABEL_MAX = 253, 63
SUBJECT_MAX = 200
TOOL_MAX, RULES_MAX = 128, 500
VERSION_MAX = 63
IDLE_MAX_S = 30 * 86_400
FLOW_LABELS = tuple(label.value for label in FlowLabel)
FLOW_NAMES_MAX, FLOW_TOOLS_MAX = 100, 5_000


def read(data: Any, file: str = "") -> tuple[Entry | None, list[Problem]]:
    """One object, or None with the rules that it breaks."""
    reading = Reading(file)
    root = reading.begin(data, name_keys=())
    if root is None:
        return None, reading.problems
    reading.entry = _label_of(root)
    kind = _kind(root)
    metadata, spec = root.node("metadata"), root.node("spec")
    root.get("status")
    _refuse_unknown(root)
    if not kind or reading.problems:
        return None, reading.problems
    entry = _READERS[kind](kind, metadata, spec)
    _refuse_unknown(spec)
    return (None if reading.problems else entry), reading.problems


def _label_of(root: Node) -> str:
    metadata = root.data.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name[:200] if isinstance(name, str) else ""


def _kind(root: Node) -> str:
    kind, version = root.text("kind", most=200), root.text("apiVersion", most=200)
    if kind not in KINDS:
        root.report("kind", f"{kind[:60]!r} is nothing about access; write one of {', '.join(KINDS)}")
        return ""
    if version != KINDS[kind]:
        root.report("apiVersion", f"{version[:60]!r} is not {KINDS[kind]}")
        return ""
    return kind


def _refuse_unknown(node: Node) -> None:
    for key in node.rest():
        node.report(key[:100], "is no field of this kind; correct the name or take it out")


def _grant(kind: str, metadata: Node, spec: Node) -> GrantEntry:
    is_own = kind == OWN_GRANT
    namespace = _namespace(metadata)
    return GrantEntry(
        name=_name(metadata),
        namespace=namespace,
        server=_server(spec, namespace),
        subject=_subject(spec, is_own=is_own),
        max_trust=spec.choice("maxTrust", among=TRUSTS, default="low"),
        side_effects=_side_effects(spec),
        tool_rules=_rules(spec, is_own=is_own),
        policy_version=_text(spec, "policyVersion", VERSION_MAX),
        disabled=_flag(spec, "disabled"),
        conditions=spec.mapping("conditions") if is_own else {},
        expires_at=spec.moment("expiresAt") if is_own else None,
    )


def _session(kind: str, metadata: Node, spec: Node) -> SessionEntry:
    namespace = _namespace(metadata)
    subject = _subject(spec, is_own=False)
    if subject.is_empty:
        spec.report("subject", "needs humanID, agentID or teamID")
    return SessionEntry(
        name=_name(metadata),
        namespace=namespace,
        server=_server(spec, namespace),
        subject=subject,
        consented_trust=spec.choice("consentedTrust", among=TRUSTS, default="low"),
        expires_at=spec.moment("expiresAt"),
        revoked=_flag(spec, "revoked"),
        credential=_credential(spec),
        policy_version=_text(spec, "policyVersion", VERSION_MAX),
        idle_timeout_s=_seconds(spec, "idleTimeout", most=IDLE_MAX_S) if kind == OWN_SESSION else None,
    )


def _policy(kind: str, metadata: Node, spec: Node) -> PolicyEntry:
    namespace = _namespace(metadata)
    session = spec.node("session")
    entry = PolicyEntry(
        server=_label(metadata, "name"),
        namespace=namespace,
        **policy_fields(spec, session),
        compat=_choice(spec, "compat", ("strict", "mcp-runtime")),
        auth_mode=_choice(spec, "authMode", ("none", "header", "oauth", "mtls")),
    )
    _refuse_unknown(session)
    return entry


def _flow(kind: str, metadata: Node, spec: Node) -> FlowEntry:
    if _name(metadata) not in ("", "flow"):
        metadata.report("name", "is flow: an organisation has one flow rule")
    exempt, named = spec.node("except"), {}
    for key in ("agents", "grants"):
        named[key] = _texts(exempt, key, most=FLOW_NAMES_MAX)
    _refuse_unknown(exempt)
    return FlowEntry(
        mode=spec.choice("mode", among=tuple(FlowMode), default=FlowMode.ESCALATE.value),
        forbidden=_combinations(spec),
        scope=spec.choice("session", among=tuple(FlowScope), default=FlowScope.CALLER.value),
        window_s=_seconds(spec, "window", most=86_400) or 3_600,
        unlabelled=spec.choice("unlabelled", among=("nothing", "suggested"), default="nothing"),
        exempt_agents=tuple(sorted(set(named["agents"]))),
        exempt_grants=tuple(sorted(set(named["grants"]))),
        labels=_labelled(spec),
        namespace=_namespace(metadata),
    )


def _combinations(spec: Node) -> tuple[tuple[str, ...], ...]:
    """What must not meet, said in so many words: a rule that forbids nothing says so by an empty list."""
    key, value = spec.get("forbid")
    if not isinstance(value, list) or not all(isinstance(each, list) and each for each in value):
        spec.report(key or "forbid", f"is no list of lists of {', '.join(FLOW_LABELS)}")
        return ()
    if wrong := [name for each in value for name in each if name not in FLOW_LABELS]:
        spec.report(key, f"{str(wrong[0])[:40]!r} is none of {', '.join(FLOW_LABELS)}")
        return ()
    return tuple(sorted({tuple(name for name in FLOW_LABELS if name in each) for each in value}))


def _labelled(spec: Node) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    _, value = spec.get("labels")
    if value is not None and (not isinstance(value, list) or len(value) > FLOW_TOOLS_MAX):
        spec.report("labels", f"is no list of at most {FLOW_TOOLS_MAX} tools")
        return ()
    for node in spec.nodes("labels", count=FLOW_TOOLS_MAX):
        place = (_label(node, "server"), _text(node, "tool", TOOL_MAX))
        labels = _texts(node, "labels", most=len(FLOW_LABELS))
        if wrong := [name for name in labels if name not in FLOW_LABELS]:
            node.report("labels", f"{wrong[0][:40]!r} is none of {', '.join(FLOW_LABELS)}")
        if place in found:
            node.report("tool", f"{place[1]!r} of {place[0]!r} is there twice")
        _refuse_unknown(node)
        found[place] = tuple(sorted(set(labels)))
    return tuple((server, tool, labels) for (server, tool), labels in sorted(found.items()))


def _texts(node: Node, key: str, *, most: int) -> list[str]:
    given, value = node.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > most or not all(isinstance(each, str) and each for each in value):
        node.report(given or key, f"is no list of at most {most} texts")
        return []
    return list(value)


def policy_fields(policy: Node, session: Node) -> dict[str, Any]:
    """What the blocks `policy` and `session` of a server say; used for manifests of servers as well."""
    return {
        "mode": _choice(policy, "mode", ("allow-list", "observe")),
        "default_decision": _choice(policy, "defaultDecision", ("allow", "deny")),
        "enforce_on": _text(policy, "enforceOn", 40) or None,
        "policy_version": _text(policy, "policyVersion", VERSION_MAX) or None,
        "session_required": _flag(session, "required") if "required" in session else None,
        "session_header": _header(session, "headerName"),
        "session_max_lifetime_s": _seconds(session, "maxLifetime", most=365 * 86_400),
        "session_idle_timeout_s": _seconds(session, "idleTimeout", most=IDLE_MAX_S),
    }


_READERS: dict[str, Callable[[str, Node, Node], Entry]] = {
    GRANT: _grant,
    OWN_GRANT: _grant,
    SESSION: _session,
    OWN_SESSION: _session,
    OWN_POLICY: _policy,
    OWN_FLOW: _flow,
}


def _name(metadata: Node) -> str:
    name = metadata.text("name", most=1_000).strip()
    if not name:
        metadata.report("name", "is missing")
    elif len(name) > NAME_MAX or not NAME.match(name):
        metadata.report("name", f"is not a name of at most {NAME_MAX} lower-case letters, digits, hyphens and dots")
    return name


def _label(node: Node, key: str, *, needed: bool = True) -> str:
    label = node.text(key, most=1_000).strip()
    if not label and needed:
        node.report(key, "is missing")
    elif label and (len(label) > LABEL_MAX or not LABEL.match(label)):
        node.report(key, f"is not a name of at most {LABEL_MAX} lower-case letters, digits and hyphens")
    return label


def _namespace(metadata: Node) -> str:
    return _label(metadata, "namespace", needed=False)


def _server(spec: Node, namespace: str) -> str:
    reference = spec.node("serverRef")
    name, place = _label(reference, "name"), _label(reference, "namespace", needed=False)
    if place and place != namespace:
        reference.report("namespace", f"is not {namespace!r}: access lives in the namespace of its server")
    _refuse_unknown(reference)
    return name


def _subject(spec: Node, *, is_own: bool) -> SubjectEntry:
    node = spec.node("subject")
    subject = SubjectEntry(
        human=_id(node, "humanID"),
        agent=_id(node, "agentID"),
        team=_id(node, "teamID"),
        key=_id(node, "keyID") if is_own else "",
        everyone=_flag(node, "everyone") if is_own else False,
    )
    if subject.everyone and (subject.human or subject.agent or subject.team or subject.key):
        node.report("everyone", "stands alone; take it out, or the other parts")
    _refuse_unknown(node)
    return subject


def _id(node: Node, key: str) -> str:
    """An id as it is compared: what could be read as another id (control characters, spaces around it) is refused."""
    value = node.text(key, most=SUBJECT_MAX + 1)
    if len(value) > SUBJECT_MAX:
        node.report(key, f"has more than {SUBJECT_MAX} characters")
    elif value != value.strip() or not value.isprintable():
        node.report(key, "has spaces around it, or characters that do not show")
    return value


def _text(node: Node, key: str, most: int) -> str:
    value = node.text(key, most=most + 1).strip()
    if len(value) > most or not value.isprintable():
        node.report(key, f"is not a text of at most {most} characters that show")
    return value


def _flag(node: Node, key: str) -> bool:
    """Only true and false: whether access is disabled is not left to what a text may mean."""
    _, value = node.get(key)
    if value is None or isinstance(value, bool):
        return bool(value)
    node.report(key, "is neither true nor false")
    return False


def _choice(node: Node, key: str, among: tuple[str, ...]) -> str | None:
    return node.choice(key, among=among) or None


def _header(node: Node, key: str) -> str | None:
    name = node.text(key, most=200).strip()
    if name and not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name):
        node.report(key, "is not the name of a header")
    return name or None


def _seconds(node: Node, key: str, *, most: int) -> int | None:
    _, value = node.get(key)
    if value is None:
        return None
    try:
        seconds = durations.parse(value)
    except (ValueError, AttributeError, TypeError):
        node.report(key, "is no duration such as 1h, 30m or 45s")
        return None
    if not 0 < seconds <= most:
        node.report(key, f"is not between 1s and {durations.write(most)}")
    return seconds


def _side_effects(spec: Node) -> tuple[str, ...]:
    key, value = spec.get("allowedSideEffects")
    if value is None:
        return ()
    if not isinstance(value, list):
        spec.report(key, "is no list of read, write and destructive")
        return ()
    found: list[str] = []
    for position, each in enumerate(value[: len(EFFECTS) + 1]):
        effect = each.strip().lower() if isinstance(each, str) else ""
        if effect not in EFFECTS:
            spec.report(f"{key}[{position}]", f"is none of {', '.join(EFFECTS)}")
        elif effect in found:
            spec.report(f"{key}[{position}]", f"{effect} is there twice")
        else:
            found.append(effect)
    return tuple(sorted(found, key=EFFECTS.index))


def _rules(spec: Node, *, is_own: bool) -> tuple[RuleEntry, ...]:
    found: dict[str, RuleEntry] = {}
    _, value = spec.get("toolRules")
    if isinstance(value, dict) or (isinstance(value, list) and len(value) > RULES_MAX):
        # The reader would take an object as a list of one, and cut a list; of rules neither is left to chance.
        spec.report("toolRules", f"is no list of at most {RULES_MAX} rules")
        return ()
    for node in spec.nodes("toolRules", count=RULES_MAX):
        name = _text(node, "name", TOOL_MAX)
        if not name:
            node.report("name", "is missing")
        elif name in found:
            node.report("name", f"{name!r} is there twice")
        decision = node.choice("decision", among=("allow", "deny"), default="allow")
        trust = node.choice("requiredTrust", among=TRUSTS, default="low")
        approval = _flag(node, "approval") if is_own else False
        _refuse_unknown(node)
        found[name] = RuleEntry(name, decision, trust, approval)
    return tuple(found.values())


def _credential(spec: Node) -> SecretRef | None:
    if "upstreamTokenSecretRef" not in spec:
        spec.get("upstreamTokenSecretRef")
        return None
    node = spec.node("upstreamTokenSecretRef")
    reference = SecretRef(_text(node, "name", 253), _text(node, "key", 253))
    if not (reference.name and reference.key):
        node.report("", "needs name and key")
    _refuse_unknown(node)
    return reference


def write(entry: Entry) -> JSON:
    """The object, in MCP Runtime's kind where that can say all of it."""
    if isinstance(entry, GrantEntry):
        return _write_grant(entry)
    if isinstance(entry, FlowEntry):
        return _write_flow(entry)
    return _write_session(entry) if isinstance(entry, SessionEntry) else _write_policy(entry)


def _object(kind: str, name: str, namespace: str, spec: JSON) -> JSON:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": KINDS[kind], "kind": kind, "metadata": metadata, "spec": spec}


def _write_grant(entry: GrantEntry) -> JSON:
    spec: JSON = {
        "serverRef": _reference(entry.server, entry.namespace),
        "subject": _write_subject(entry.subject),
        "maxTrust": entry.max_trust,
        "allowedSideEffects": list(entry.side_effects) or None,
        "policyVersion": entry.policy_version or None,
        "disabled": entry.disabled or None,
        "toolRules": [
            {"name": rule.name, "decision": rule.decision, "requiredTrust": rule.required_trust}
            | ({"approval": True} if rule.approval else {})
            for rule in entry.tool_rules
        ]
        or None,
        "conditions": entry.conditions or None,
        "expiresAt": moment_text(entry.expires_at) if entry.expires_at else None,
    }
    return _object(GRANT if entry.is_plain else OWN_GRANT, entry.name, entry.namespace, _given(spec))


def _write_session(entry: SessionEntry) -> JSON:
    reference = entry.credential
    spec: JSON = {
        "serverRef": _reference(entry.server, entry.namespace),
        "subject": _write_subject(entry.subject),
        "consentedTrust": entry.consented_trust,
        "expiresAt": moment_text(entry.expires_at) if entry.expires_at else None,
        "revoked": entry.revoked or None,
        "upstreamTokenSecretRef": {"name": reference.name, "key": reference.key} if reference else None,
        "policyVersion": entry.policy_version or None,
        "idleTimeout": durations.write(entry.idle_timeout_s) if entry.idle_timeout_s is not None else None,
    }
    return _object(SESSION if entry.is_plain else OWN_SESSION, entry.name, entry.namespace, _given(spec))


def _write_flow(entry: FlowEntry) -> JSON:
    exempt = _given({"agents": list(entry.exempt_agents) or None, "grants": list(entry.exempt_grants) or None})
    spec: JSON = {
        "mode": entry.mode,
        "forbid": [list(each) for each in entry.forbidden],
        "session": entry.scope,
        "window": durations.write(entry.window_s),
        "unlabelled": entry.unlabelled,
        "except": exempt or None,
        "labels": [
            {"server": server} | ({"tool": tool} if tool else {}) | {"labels": list(labels)}
            for server, tool, labels in entry.labels
        ]
        or None,
    }
    return _object(OWN_FLOW, entry.name, entry.namespace, _given(spec))


def _write_policy(entry: PolicyEntry) -> JSON:
    session = _given(
        {
            "required": entry.session_required,
            "headerName": entry.session_header,
            "maxLifetime": _duration(entry.session_max_lifetime_s),
            "idleTimeout": _duration(entry.session_idle_timeout_s),
        }
    )
    spec = _given(
        {
            "mode": entry.mode,
            "defaultDecision": entry.default_decision,
            "enforceOn": entry.enforce_on,
            "policyVersion": entry.policy_version,
            "compat": entry.compat,
            "authMode": entry.auth_mode,
            "session": session or None,
        }
    )
    return _object(OWN_POLICY, entry.server, entry.namespace, spec)


def _reference(server: str, namespace: str) -> JSON:
    return {"name": server} | ({"namespace": namespace} if namespace else {})


def _write_subject(subject: SubjectEntry) -> JSON:
    parts = {
        "humanID": subject.human or None,
        "agentID": subject.agent or None,
        "teamID": subject.team or None,
        "keyID": subject.key or None,
        "everyone": subject.everyone or None,
    }
    return _given(parts)


def _duration(seconds: int | None) -> str | None:
    return durations.write(seconds) if seconds is not None else None


def _given(parts: JSON) -> JSON:
    return {key: value for key, value in parts.items() if value is not None}
