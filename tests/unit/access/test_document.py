"""The rendered document: its bytes against an encoder that is written apart from ours, its rules one by one."""

from __future__ import annotations

import copy
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access import document
from access.document import About, DocumentInvalidError
from access.types import (
    Conditions,
    GrantRule,
    PolicyMode,
    ServerPolicy,
    SessionRule,
    SideEffect,
    ToolRule,
    ToolTerm,
    Trust,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SERVER = UUID(int=1)
POLICY = ServerPolicy(
    SERVER, PolicyMode.ALLOW_LIST, Trust.LOW, {"echo": ToolRule("echo", Trust.LOW, SideEffect.READ)}, team="team-1"
)


def go_string(text: str) -> str:
    """A string as Go's encoding/json writes it, from its documentation."""
    out = ['"']
    for letter in text:
        if letter in '"\\':
            out.append("\\" + letter)
        elif letter in "\n\r\t\b\f":
            out.append({"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}[letter])
        elif ord(letter) < 0x20 or letter in "<>&\u2028\u2029":
            out.append(f"\\u{ord(letter):04x}")
        else:
            out.append(letter)
    return "".join([*out, '"'])


def go(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return go_string(value)
    if isinstance(value, list):
        return "[" + ",".join(map(go, value)) + "]"
    return "{" + ",".join(f"{go_string(name)}:{go(each)}" for name, each in value.items()) + "}"


def rendered(**changes: Any) -> dict[str, Any]:
    grant = GrantRule(
        UUID(int=5),
        SERVER,
        Trust.HIGH,
        frozenset({SideEffect.WRITE, SideEffect.READ}),
        name="finance",
        namespace="acme",
        agent="bot",
        tool_rules={"refund": ToolTerm(is_denied=True), "echo": ToolTerm(required_trust=Trust.MEDIUM)},
    )
    session = SessionRule(
        UUID(int=6), SERVER, "morning", "acme", user="alice", consented_trust=Trust.MEDIUM, expires_at=NOW
    )
    made = document.render(
        About("payments", "acme", descriptions={"echo": "a <b> & c"}), POLICY, [grant], [session], NOW
    )
    return {**made.document, **changes}


def stamped(changed: dict[str, Any]) -> dict[str, Any]:
    return {**changed, "revision": document.revision_of(changed)}


class TestRevision:
    def test_a_small_document_has_the_bytes_and_the_digest_of_the_format(self):
        small = {
            "schema_version": "v1",
            "server": {"name": "demo", "namespace": "mcp-servers"},
            "policy": {"mode": "allow-list", "default_decision": "deny", "policy_version": "v1"},
            "tools": [{"name": "echo", "required_trust": "low", "side_effect": "read"}],
        }
        wanted = (
            b'{"schema_version":"v1","revision":"","server":{"name":"demo","namespace":"mcp-servers"},'
            b'"policy":{"mode":"allow-list","default_decision":"deny","policy_version":"v1"},'
            b'"tools":[{"name":"echo","required_trust":"low","side_effect":"read"}]}'
        )

        assert document.encode(small) == wanted
        assert document.revision_of(small) == "sha256:" + hashlib.sha256(wanted).hexdigest()

    def test_a_whole_document_has_its_members_in_the_order_of_the_format(self):
        made = rendered()
        wanted = go(
            {
                "schema_version": "v1",
                "revision": "",
                "server": {"name": "payments", "namespace": "acme", "team_id": "team-1"},
                "auth": {"mode": "none", "session_id_header": "X-MCP-Agent-Session"},
                "policy": {
                    "mode": "allow-list",
                    "default_decision": "deny",
                    "enforce_on": "all",
                    "policy_version": "v1",
                },
                "session": {
                    "store": "marketplace",
                    "header_name": "X-MCP-Agent-Session",
                    "max_lifetime": "24h",
                    "idle_timeout": "1h",
                },
                "tools": [
                    {
                        "name": "echo",
                        "description": "a <b> & c",
                        "required_trust": "low",
                        "side_effect": "read",
                        "risk_level": "low",
                    }
                ],
                "grants": [
                    {
                        "name": "finance",
                        "namespace": "acme",
                        "agent_id": "bot",
                        "max_trust": "high",
                        "allowed_side_effects": ["read", "write"],
                        "tool_rules": [
                            {"name": "echo", "decision": "allow", "required_trust": "medium"},
                            {"name": "refund", "decision": "deny", "required_trust": "low"},
                        ],
                    }
                ],
                "sessions": [
                    {
                        "name": "morning",
                        "namespace": "acme",
                        "human_id": "alice",
                        "consented_trust": "medium",
                        "expires_at": "2026-11-21T12:00:00Z",
                    }
                ],
            }
        ).encode()

        assert made["revision"] == "sha256:" + hashlib.sha256(wanted).hexdigest()

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_every_text_is_escaped_as_go_escapes_it(self, text):
        made = {"schema_version": "v1", "server": {"name": text, "namespace": ""}}
        wanted = go({"schema_version": "v1", "revision": "", "server": {"name": text, "namespace": ""}}).encode()

        assert document.encode({**made, "revision": ""}) == wanted

    def test_neither_the_moment_nor_an_earlier_revision_counts(self):
        made = rendered()
        later = {**made, "generated_at": "2030-01-01T00:00:00Z", "revision": "sha256:stale"}

        assert document.revision_of(later) == made["revision"]

    def test_labels_are_sorted(self):
        made = {"server": {"name": "a", "namespace": "b"}, "tools": [{"name": "t", "labels": {"z": "1", "a": "2"}}]}

        assert b'"labels":{"a":"2","z":"1"}' in document.encode(made)


class TestRendering:
    def test_what_the_form_has_no_words_for_is_left_out_and_named(self):
        grants = [
            GrantRule(UUID(int=5), SERVER, Trust.LOW, frozenset(), name="key", key="k"),
            GrantRule(UUID(int=6), SERVER, Trust.LOW, frozenset(), name="all", everyone=True),
            GrantRule(UUID(int=7), SERVER, Trust.LOW, frozenset(), name="if", agent="a", conditions=Conditions()),
        ]
        grants[2] = GrantRule(
            UUID(int=7), SERVER, Trust.LOW, frozenset(), name="if", agent="a",
            conditions=Conditions(environments=frozenset({"x"})),
        )  # fmt: skip
        made = document.render(About("payments", "acme"), POLICY, grants, [], NOW)

        assert made.left_out == ("all", "if", "key")
        assert made.document["grants"] == []

    def test_what_has_ended_is_not_in_it(self):
        ended = [
            GrantRule(UUID(int=5), SERVER, Trust.LOW, frozenset(), name="a", agent="a", revoked_at=NOW),
            GrantRule(UUID(int=6), SERVER, Trust.LOW, frozenset(), name="b", agent="a", expires_at=NOW),
        ]

        assert document.render(About("payments", "acme"), POLICY, ended, [], NOW).document["grants"] == []

    def test_what_is_rendered_is_valid(self):
        document.validate(rendered())

    def test_a_duration_is_written_as_go_writes_it_in_manifests(self):
        assert document._duration(int(timedelta(hours=1, minutes=30).total_seconds())) == "1h30m"


def changed(path: list[Any], value: Any) -> dict[str, Any]:
    made = copy.deepcopy(rendered())
    where = made
    for step in path[:-1]:
        where = where[step]
    where[path[-1]] = value
    return stamped(made)


class TestValidation:
    @pytest.mark.parametrize(
        ("path", "value", "word"),
        [
            (["schema_version"], "v2", "schema version"),
            (["server", "name"], " ", "server.name"),
            (["auth", "mode"], "magic", "auth mode"),
            (["auth"], {"mode": "oauth"}, "issuer_url"),
            (["auth"], {"mode": "mtls"}, "trust_domain"),
            (["policy", "mode"], "perhaps", "policy mode"),
            (["policy", "default_decision"], "perhaps", "default decision"),
            (["tools", 0, "required_trust"], "total", "required_trust"),
            (["tools", 0, "side_effect"], "magic", "side_effect"),
            (["tools"], [{"name": "a"}, {"name": "a"}], "duplicate tool"),
            (["tools"], [{"name": ""}], "name is required"),
            (["grants"], [{"name": "g", "namespace": "a"}, {"name": "g", "namespace": "a"}], "duplicate grant"),
            (["grants", 0, "max_trust"], "total", "max_trust"),
            (["grants", 0, "allowed_side_effects"], ["magic"], "allowed side effect"),
            (["grants", 0, "tool_rules", 0, "decision"], "perhaps", "decision"),
            (["grants", 0, "tool_rules"], [{"name": "t"}, {"name": "t"}], "duplicate tool rule"),
            (["sessions"], [{"name": "s"}, {"name": "s"}], "duplicate session"),
            (["sessions", 0, "consented_trust"], "total", "consented_trust"),
        ],
    )
    def test_it_names_what_is_wrong(self, path, value, word):
        with pytest.raises(DocumentInvalidError, match=word):
            document.validate(changed(path, value))

    def test_a_revision_is_required_and_has_to_fit(self):
        with pytest.raises(DocumentInvalidError, match="revision is required"):
            document.validate(rendered(revision=""))
        with pytest.raises(DocumentInvalidError, match="revision mismatch"):
            document.validate(rendered(policy={"mode": "observe"}))

    def test_q6_two_grants_of_one_name_are_apart_in_different_namespaces(self):
        twice = changed(["grants"], [{"name": "g", "namespace": "a"}, {"name": "g", "namespace": "b"}])

        document.validate(twice)
        with pytest.raises(DocumentInvalidError, match="duplicate grant"):
            document.validate(twice, lenient=True)
