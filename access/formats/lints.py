"""What is taken as it stands, though it hardly does what its author meant; each lint says what to write instead. Pure.

Sources: requirements C6 (Q1 an empty subject, Q6 names across namespaces, Q10 a grant without side effects) and the checks of
MCP Runtime's `server validate`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from access.formats.entries import EFFECTS, TRUSTS, GrantEntry, Lint, SessionEntry, SubjectEntry
from access.formats.files import Found
from access.formats.manifests import GRANT, SESSION


@dataclass(frozen=True, slots=True)
class ToolFacts:
    required_trust: str
    side_effect: str  # blank: not declared


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What is known of a server that files name."""

    slug: str
    tools: Mapping[str, ToolFacts] = field(default_factory=dict)
    session_required: bool = False
    team: str = ""  # its owning team, in the organisation itself


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the organisation. `servers` lacks those that it may not see."""

    servers: Mapping[str, ServerFacts] = field(default_factory=dict)
    has_human: Callable[[str], bool] = lambda name: True
    has_team: Callable[[str], bool] = lambda name: True


def lint(found: Found, known: Known) -> list[Lint]:
    """Lints of everything that files say, in the order of the files' entries."""
    lints: list[Lint] = []
    for grant in found.grants:
        file = found.places.get((GRANT, grant.namespace, grant.name), "")
        lints += _of_grant(grant, known.servers.get(grant.server), file)
        lints += _of_subject(grant.name, grant.subject, known, file)
    for session in found.sessions:
        file = found.places.get((SESSION, session.namespace, session.name), "")
        lints += _of_session(session, known.servers.get(session.server), found, file)
        lints += _of_subject(session.name, session.subject, known, file)
    lints += _same_names(found)
    return lints


def _of_grant(grant: GrantEntry, server: ServerFacts | None, file: str) -> Iterator[Lint]:
    allowed = [rule.name for rule in grant.tool_rules if rule.decision == "allow"]
    if not grant.side_effects:
        effects = _effects_of(server, allowed) or ("read",)
        yield Lint(
            file, grant.name, "spec.allowedSideEffects", "no_side_effect",
            "It allows no side effect, so every tool call is refused with side_effect_not_allowed.",
            f"Add `allowedSideEffects: [{', '.join(effects)}]`.",
        )  # fmt: skip
    if grant.subject.is_empty:
        team = server.team if server else ""
        yield Lint(
            file, grant.name, "spec.subject", "empty_subject",
            f"An empty subject does not mean everybody; it is taken for the server's team {team}." if team
            else "An empty subject does not mean everybody; without a team of the server it matches nobody.",
            f"Write who it is for: humanID, agentID or teamID; or {'AccessGrant'} with `subject: {{everyone: true}}`.",
        )  # fmt: skip
    if server is None:
        return
    for rule in grant.tool_rules:
        tool = server.tools.get(rule.name)
        at = f"spec.toolRules[{rule.name}]"
        if tool is None:
            yield Lint(
                file, grant.name, at, "tool_unknown", f"{server.slug} has no tool {rule.name!r}.",
                "Correct the name, or take the rule out." if server.tools else "Read the server's tools first.",
            )  # fmt: skip
            continue
        if rule.decision == "deny":
            continue
        if grant.side_effects and tool.side_effect not in grant.side_effects:
            what = tool.side_effect or "of an effect that nobody declared"
            yield Lint(
                file, grant.name, at, "side_effect_missing",
                f"{rule.name!r} is {what}, which the grant does not allow.",
                f"Add {tool.side_effect} to allowedSideEffects." if tool.side_effect
                else "Declare the tool's side effect at its server.",
            )  # fmt: skip
        needed = max((tool.required_trust, rule.required_trust), key=_rank)
        if _rank(needed) > _rank(grant.max_trust):
            yield Lint(
                file, grant.name, at, "trust_out_of_reach",
                f"{rule.name!r} needs {needed} trust and the grant gives {grant.max_trust}.",
                f"Set `maxTrust: {needed}`, or take the rule out.",
            )  # fmt: skip


def _effects_of(server: ServerFacts | None, tools: list[str]) -> tuple[str, ...]:
    if server is None:
        return ()
    found = {server.tools[name].side_effect for name in tools if name in server.tools} - {""}
    return tuple(sorted(found, key=EFFECTS.index))


def _of_session(session: SessionEntry, server: ServerFacts | None, found: Found, file: str) -> Iterator[Lint]:
    if session.expires_at is None:
        yield Lint(
            file, session.name, "spec.expiresAt", "no_end",
            "It has no end of its own; it ends with the longest life that the server gives sessions.",
            "Add `expiresAt`, such as 2030-01-31T12:00:00Z.",
        )  # fmt: skip
    if server is None:
        return
    fitting = [g for g in found.grants if (g.server, g.subject) == (session.server, session.subject)]
    named = sorted({rule.name for g in fitting for rule in g.tool_rules if rule.decision == "allow"})
    high = [
        name
        for name in named
        if name in server.tools and _rank(server.tools[name].required_trust) > _rank(session.consented_trust)
    ]
    if high:
        trust = max((server.tools[name].required_trust for name in high), key=_rank)
        yield Lint(
            file, session.name, "spec.consentedTrust", "consent_too_low",
            f"{', '.join(high)}: granted, and refused with trust_too_low, as the session consents to "
            f"{session.consented_trust} trust.",
            f"Set `consentedTrust: {trust}` if that is meant.",
        )  # fmt: skip


def _of_subject(name: str, subject: SubjectEntry, known: Known, file: str) -> Iterator[Lint]:
    for part, field_name, has in (
        (subject.human, "humanID", known.has_human),
        (subject.team, "teamID", known.has_team),
    ):
        if part and not has(part):
            what = "member (by address)" if field_name == "humanID" else "team (by short name)"
            yield Lint(
                file, name, f"spec.subject.{field_name}", "subject_unknown",
                f"{part!r} is no {what} of the organisation; it matches only what a key that may assert identity says.",
                f"Correct {field_name}, or let the calls come with such a key.",
            )  # fmt: skip


def _same_names(found: Found) -> Iterator[Lint]:
    by_name: dict[str, list[GrantEntry]] = defaultdict(list)
    for grant in found.grants:
        by_name[grant.name].append(grant)
    for name, grants in by_name.items():
        if len({grant.namespace for grant in grants}) > 1:
            places = ", ".join(sorted(grant.namespace or "(no namespace)" for grant in grants))
            yield Lint(
                found.places.get((GRANT, grants[0].namespace, name), ""), name, "metadata.name", "name_in_two_namespaces",
                f"It is in {places}; here they are two grants, and MCP Runtime refuses a policy that holds both.",
                "Give them different names.",
            )  # fmt: skip


def _rank(trust: str) -> int:
    return TRUSTS.index(trust) if trust in TRUSTS else 0
