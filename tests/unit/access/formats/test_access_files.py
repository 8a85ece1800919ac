"""Grants, sessions and policies as files: what is taken, what is refused, and that writing loses nothing."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from access.formats import durations, files, lints, manifests
from access.formats.entries import GrantEntry, PolicyEntry, RuleEntry, SecretRef, SessionEntry, SubjectEntry

SHARED = Path(__file__).resolve().parents[5] / "shared" / "data" / "mcp-runtime"

GRANT: dict[str, Any] = {
    "apiVersion": "mcpruntime.org/v1alpha1",
    "kind": "MCPAccessGrant",
    "metadata": {"name": "payments-ops", "namespace": "acme", "labels": {"a": "b"}},
    "spec": {
        "serverRef": {"name": "payments", "namespace": "acme"},
        "subject": {"humanID": "bob@acme.example", "agentID": "ops"},
        "maxTrust": "high",
        "allowedSideEffects": ["read", "destructive"],
        "policyVersion": "v1",
        "toolRules": [
            {"name": "list_invoices", "decision": "allow"},
            {"name": "refund_invoice", "decision": "deny", "requiredTrust": "high"},
        ],
    },
    "status": {"phase": "Ready"},
}
SESSION: dict[str, Any] = {
    "apiVersion": "mcpruntime.org/v1alpha1",
    "kind": "MCPAgentSession",
    "metadata": {"name": "sess-1", "namespace": "acme"},
    "spec": {
        "serverRef": {"name": "payments"},
        "subject": {"agentID": "ops"},
        "consentedTrust": "medium",
        "expiresAt": "2030-03-26T12:00:00Z",
        "upstreamTokenSecretRef": {"name": "payments-token", "key": "access-token"},
    },
}
SAMPLES = pytest.mark.parametrize("sample", [GRANT, SESSION], ids=["grant", "session"])

names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?\Z", fullmatch=True)
ids = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=30)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
trusts = st.sampled_from(["low", "medium", "high"])
people = st.builds(
    SubjectEntry, human=st.just("") | ids, agent=ids, team=st.just("") | ids, key=st.just("") | ids
) | st.just(SubjectEntry(everyone=True))
rules = st.builds(RuleEntry, ids, st.sampled_from(["allow", "deny"]), trusts)
grants = st.builds(
    GrantEntry,
    name=names,
    server=names,
    subject=people,
    namespace=st.just("") | names,
    max_trust=trusts,
    side_effects=st.sampled_from([(), ("read",), ("read", "write"), ("destructive",)]),
    tool_rules=st.lists(rules, max_size=4, unique_by=lambda rule: rule.name).map(tuple),
    policy_version=st.just("") | ids,
    disabled=st.booleans(),
    conditions=st.just({}) | st.just({"environments": ["production"], "arguments": {"pay": {"type": "object"}}}),
    expires_at=st.none() | moments,
)
sessions = st.builds(
    SessionEntry,
    name=names,
    server=names,
    subject=st.builds(SubjectEntry, human=st.just("") | ids, agent=ids, team=st.just("") | ids),
    namespace=st.just("") | names,
    consented_trust=trusts,
    expires_at=st.none() | moments,
    revoked=st.booleans(),
    credential=st.none() | st.builds(SecretRef, ids, ids),
    policy_version=st.just("") | ids,
    idle_timeout_s=st.none() | st.integers(1, 86_400),
)
policies = st.builds(
    PolicyEntry,
    server=names,
    namespace=st.just("") | names,
    mode=st.none() | st.sampled_from(["allow-list", "observe"]),
    default_decision=st.none() | st.sampled_from(["allow", "deny"]),
    session_required=st.none() | st.booleans(),
    session_header=st.none() | st.just("X-Session"),
    session_max_lifetime_s=st.none() | st.integers(1, 86_400 * 300),
    session_idle_timeout_s=st.none() | st.integers(1, 86_400),
    compat=st.none() | st.sampled_from(["strict", "mcp-runtime"]),
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JUNK = st.recursive(
    SCALARS | st.binary(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=12,
)


def reasons(data: Any) -> list[str]:
    entry, problems = manifests.read(data, "file")
    assert (entry is None) == bool(problems)
    return [f"{problem.field}: {problem.reason}" for problem in problems]


def changed(sample: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    made = deepcopy(sample)
    holder = made
    *parts, last = path.split(".")
    for part in parts:
        holder = holder[part]
    holder[last] = value
    return made


class TestReading:
    def test_a_grant_says_who_may_call_what(self):
        entry, problems = manifests.read(GRANT, "file")

        assert problems == []
        assert entry == GrantEntry(
            name="payments-ops",
            namespace="acme",
            server="payments",
            subject=SubjectEntry(human="bob@acme.example", agent="ops"),
            max_trust="high",
            side_effects=("read", "destructive"),
            policy_version="v1",
            tool_rules=(RuleEntry("list_invoices"), RuleEntry("refund_invoice", "deny", "high")),
        )

    def test_a_session_says_what_was_consented_to(self):
        entry, problems = manifests.read(SESSION, "file")

        assert problems == []
        assert entry == SessionEntry(
            name="sess-1",
            namespace="acme",
            server="payments",
            subject=SubjectEntry(agent="ops"),
            consented_trust="medium",
            expires_at=datetime(2030, 3, 26, 12, tzinfo=UTC),
            credential=SecretRef("payments-token", "access-token"),
        )

    def test_what_is_left_out_is_the_least(self):
        spec = {"serverRef": {"name": "payments"}, "subject": {"agentID": "ops"}}
        entry, _ = manifests.read({**GRANT, "metadata": {"name": "g"}, "spec": spec})

        assert isinstance(entry, GrantEntry)
        assert (entry.max_trust, entry.side_effects, entry.tool_rules, entry.disabled) == ("low", (), (), False)

    @pytest.mark.parametrize(
        ("path", "value", "field"),
        [
            ("apiVersion", "v1", "apiVersion"),
            ("metadata.name", "", "metadata.name"),
            ("metadata.name", "Not A Name", "metadata.name"),
            ("spec.serverRef", {}, "spec.serverRef.name"),
            ("spec.serverRef.namespace", "globex", "spec.serverRef.namespace"),
            ("spec.serverRef.cluster", "x", "spec.serverRef.cluster"),
            ("spec.subject.humanID", " bob", "spec.subject.humanID"),
            ("spec.subject.humanID", "bob\u202e", "spec.subject.humanID"),
            ("spec.subject.keyID", "k", "spec.subject.keyID"),
            ("spec.subject.everyone", True, "spec.subject.everyone"),
            ("spec.maxTrust", "root", "spec.maxTrust"),
            ("spec.MaxTrust", "low", "spec.MaxTrust"),
            ("spec.allowedSideEffects", "read", "spec.allowedSideEffects"),
            ("spec.allowedSideEffects", ["read", "read"], "spec.allowedSideEffects[1]"),
            ("spec.allowedSideEffects", ["explode"], "spec.allowedSideEffects[0]"),
            ("spec.disabled", "no", "spec.disabled"),
            ("spec.conditions", {"networks": ["10.0.0.0/8"]}, "spec.conditions"),
            ("spec.expiresAt", "2030-01-01T00:00:00Z", "spec.expiresAt"),
            ("spec.toolRules", {"name": "a"}, "spec.toolRules"),
            ("spec.toolRules", [{"name": "a"}, {"name": "a"}], "spec.toolRules[1].name"),
            ("spec.toolRules", [{"decision": "allow"}], "spec.toolRules[0].name"),
            ("spec.toolRules", [{"name": "a", "decision": "maybe"}], "spec.toolRules[0].decision"),
            ("spec.toolRules", [{"name": "a", "when": "monday"}], "spec.toolRules[0].when"),
        ],
    )
    def test_a_grant_with_a_part_that_is_not_understood_is_refused_as_a_whole(self, path, value, field):
        said = reasons(changed(GRANT, path, value))

        assert [each for each in said if each.startswith(f"{field}: ")]

    @pytest.mark.parametrize(
        ("path", "value", "field"),
        [
            ("spec.subject", {}, "spec.subject"),
            ("spec.subject", {"agentID": ""}, "spec.subject"),
            ("spec.expiresAt", "tomorrow", "spec.expiresAt"),
            ("spec.revoked", "yes", "spec.revoked"),
            ("spec.upstreamTokenSecretRef", {"name": "x"}, "spec.upstreamTokenSecretRef"),
            ("spec.idleTimeout", "1h", "spec.idleTimeout"),
        ],
    )
    def test_a_session_likewise(self, path, value, field):
        assert [each for each in reasons(changed(SESSION, path, value)) if each.startswith(f"{field}: ")]

    def test_our_own_kind_says_what_theirs_cannot(self):
        own = {**GRANT, "apiVersion": "mcp-marketplace/v1", "kind": "AccessGrant"}
        own = changed(changed(own, "spec.subject", {"everyone": True}), "spec.expiresAt", "2030-01-01T00:00:00Z")
        entry, problems = manifests.read(own)

        assert problems == []
        assert isinstance(entry, GrantEntry)
        assert entry.subject == SubjectEntry(everyone=True)
        assert entry.expires_at == datetime(2030, 1, 1, tzinfo=UTC)

    def test_everyone_stands_alone(self):
        own = {**GRANT, "apiVersion": "mcp-marketplace/v1", "kind": "AccessGrant"}

        assert "stands alone" in reasons(changed(own, "spec.subject", {"everyone": True, "agentID": "ops"}))[0]


class TestWriting:
    @given(entry=grants | sessions | policies)
    def test_what_is_written_and_read_again_is_the_same(self, entry):
        written = yaml.safe_load(yaml.safe_dump(manifests.write(entry), allow_unicode=True))

        assert manifests.read(written) == (entry, [])

    @given(given_grants=st.lists(grants, max_size=3, unique_by=lambda g: (g.namespace, g.name)))
    def test_a_whole_file_likewise_whatever_the_order(self, given_grants):
        text = files.write_files(given_grants, [], [])
        found = files.read_files([("access.yaml", text.encode())])

        assert found.problems == []
        assert {(g.namespace, g.name): g for g in found.grants} == {(g.namespace, g.name): g for g in given_grants}
        assert files.write_files(reversed(given_grants), [], []) == text

    @given(entry=grants)
    def test_no_program_that_knows_mcp_runtime_only_takes_a_grant_without_what_narrows_it(self, entry):
        written = manifests.write(entry)
        narrowed = bool(entry.conditions or entry.expires_at or entry.subject.key or entry.subject.everyone)

        assert (written["kind"] == "MCPAccessGrant") == (not narrowed)


class TestOddInput:
    @SAMPLES
    @given(data=st.data())
    def test_whatever_stands_in_a_field_is_reported_or_taken(self, sample, data):
        made = deepcopy(sample)
        for _ in range(data.draw(st.integers(1, 3))):
            holder = data.draw(st.sampled_from(list(_holders(made))))
            key = data.draw(st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder))))
            holder[key] = data.draw(JUNK)
        entry, problems = manifests.read(made, "file")

        assert all(problem.file == "file" and problem.reason for problem in problems)
        assert (entry is None) == bool(problems)
        if entry is not None:
            assert manifests.read(json.loads(json.dumps(manifests.write(entry)))) == (entry, [])

    @given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
    def test_no_content_of_a_file_raises(self, content):
        found = files.read_files([("access.yaml", content), ("access.json", content)])

        assert found.grants == found.sessions == []

    @given(junk=JUNK)
    def test_documents_of_other_kinds_are_refused_with_a_reason(self, junk):
        found = files.read_files([("x.json", json.dumps({"kind": "Service", "spec": str(junk)}).encode())])

        assert "kind 'Service' is not taken" in found.problems[0].reason

    def test_the_same_name_twice_is_refused_wherever_it_is(self):
        text = json.dumps(GRANT).encode()
        found = files.read_files([("a.json", text), ("b.json", text)])

        assert len(found.grants) == 1
        assert "is in a.json already" in found.problems[0].reason

    @pytest.mark.parametrize("text", ["", "h", "1", "1d", "-1h", "1h -5m", "1h" * 40, "٣h"])
    def test_no_duration(self, text):
        with pytest.raises(ValueError, match="no duration"):
            durations.parse(text)

    @given(seconds=st.integers(0, 10**9))
    def test_durations_come_back(self, seconds):
        assert durations.parse(durations.write(seconds)) == seconds


class TestSharedFiles:
    def test_every_example_of_mcp_runtime_is_taken_as_it_is(self):
        found = _shared()

        assert found.problems == []
        assert [grant.name for grant in found.grants] == ["governed-agent-demo-grant"]
        assert [session.name for session in found.sessions] == ["sess-ticket-triage-agent"]
        assert {server.name for server in found.servers} == {
            "data-utility-mcp", "governed-agent-demo-mcp", "text-analysis-mcp", "workspace-assistant-mcp",
        }  # fmt: skip
        policy = next(policy for policy in found.policies if policy.server == "governed-agent-demo-mcp")
        assert (policy.mode, policy.default_decision, policy.session_required) == ("allow-list", "deny", True)
        assert policy.auth_mode == "header"

    def test_the_grant_that_allows_nothing_is_taken_and_its_author_told_what_to_add(self):
        found = _shared()
        facts = {
            server.name: lints.ServerFacts(
                server.name, {t.name: lints.ToolFacts(t.required_trust, t.side_effect) for t in server.tools}
            )
            for server in found.servers
        }
        said = {lint.code: lint for lint in lints.lint(found, lints.Known(facts))}

        assert said["no_side_effect"].fix == "Add `allowedSideEffects: [read]`."
        assert "upper: granted, and refused with trust_too_low" in said["consent_too_low"].message


class TestLints:
    FACTS = lints.ServerFacts(
        "payments",
        {"list_invoices": lints.ToolFacts("low", "read"), "refund_invoice": lints.ToolFacts("high", "destructive")},
        team="core",
    )

    def lint(self, *samples: dict[str, Any], **known: Any) -> set[str]:
        found = files.read_files([(f"{n}.json", json.dumps(each).encode()) for n, each in enumerate(samples)])
        assert found.problems == []
        return {lint.code for lint in lints.lint(found, lints.Known({"payments": self.FACTS}, **known))}

    def test_a_good_grant_has_none(self):
        assert self.lint(GRANT) == set()

    @pytest.mark.parametrize(
        ("path", "value", "code"),
        [
            ("spec.allowedSideEffects", [], "no_side_effect"),
            ("spec.subject", {}, "empty_subject"),
            ("spec.toolRules", [{"name": "pay"}], "tool_unknown"),
            ("spec.toolRules", [{"name": "refund_invoice"}], "trust_out_of_reach"),
        ],
    )
    def test_what_can_never_work_is_told(self, path, value, code):
        assert code in self.lint(changed(changed(GRANT, "spec.maxTrust", "medium"), path, value))

    def test_an_allowed_tool_whose_effect_is_not_allowed_is_told(self):
        grant = changed(GRANT, "spec.allowedSideEffects", ["read"])

        assert self.lint(changed(grant, "spec.toolRules", [{"name": "refund_invoice"}])) == {"side_effect_missing"}

    def test_people_and_teams_that_nobody_knows_are_told(self):
        assert self.lint(GRANT, has_human=lambda name: False) == {"subject_unknown"}

    def test_names_in_two_namespaces_are_told(self):
        other = changed(changed(GRANT, "metadata.namespace", "other"), "spec.serverRef", {"name": "payments"})

        assert self.lint(GRANT, other) == {"name_in_two_namespaces"}


def _shared() -> files.Found:
    if not SHARED.is_dir():
        pytest.skip("The shared data is not beside the project.")
    return files.read_files((path.name, path.read_bytes()) for path in sorted(SHARED.rglob("*.yaml")))


def _holders(value):
    if isinstance(value, dict | list):
        if value:
            yield value
        for each in value.values() if isinstance(value, dict) else value:
            yield from _holders(each)
