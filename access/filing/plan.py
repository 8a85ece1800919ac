"""What files would change, before anything is changed. Runs inside the organisation's schema.

A plan is bound to what it was made of: its digest covers what the files want, whether what they leave out is ended, and every
row that it was compared with. Whoever applies it names the digest, and a plan of any other state is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from uuid import UUID

from access import conditions
from access.filing import rows
from access.filing.directory import Directory
from access.formats import lints, manifests
from access.formats.entries import JSON, FlowEntry, GrantEntry, Lint, PolicyEntry, SessionEntry
from access.formats.files import Found
from access.services.grants import check_name, check_namespace
from catalog.choices import AuthMode
from catalog.formats.normal import Problem
from catalog.models import Server
from core import clock
from core.errors import InvalidError
from tenants.models import Tenant

Action = Literal["create", "replace", "revoke", "update", "unchanged", "elsewhere"]
CHANGES = ("create", "replace", "revoke", "update")
CHANGES_MAX = 2_000

Wanted = GrantEntry | SessionEntry


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a plan does, or leaves. `before` and `after` are as files write them; `fields` names what differs."""

    kind: Literal["grant", "session", "policy", "server", "flow"]
    action: Action
    name: str
    namespace: str = ""
    server: str = ""
    before: JSON | None = None
    after: JSON | None = None
    fields: tuple[str, ...] = ()
    note: str = ""
    row_id: UUID | None = None
    entry: GrantEntry | SessionEntry | PolicyEntry | FlowEntry | None = field(default=None, repr=False)

    @property
    def changes(self) -> bool:
        return self.action in CHANGES


@dataclass(frozen=True, slots=True)
class Plan:
    changes: tuple[Change, ...]
    problems: tuple[Problem, ...]
    lints: tuple[Lint, ...]
    prune: bool
    digest: str

    def count(self, action: str) -> int:
        return sum(change.action == action for change in self.changes)

    @property
    def counts(self) -> dict[str, int]:
        actions = ("create", "replace", "update", "revoke", "unchanged", "elsewhere")
        return {action: number for action in actions if (number := self.count(action))}

    @property
    def is_empty(self) -> bool:
        return not any(change.changes for change in self.changes)


def make(tenant: Tenant, found: Found, *, prune: bool = False) -> Plan:
    """What the files change. With `prune` what they do not name is revoked, but for the sessions of adapters."""
    return _Planner(tenant, found, prune=prune).plan()


class _Planner:
    def __init__(self, tenant: Tenant, found: Found, *, prune: bool) -> None:
        self.tenant, self.found, self.prune = tenant, found, prune
        self.directory = Directory(tenant)
        self.problems: list[Problem] = list(found.problems)
        self.state: list[tuple[str, str, str]] = []  # of every row that was looked at

    def plan(self) -> Plan:
        changes = [*self._servers(), *self._policies(), *self._grants(), *self._sessions(), *self._flows()]
        if sum(change.changes for change in changes) > CHANGES_MAX:
            text = f"would change more than {CHANGES_MAX:,} things at once; split the files"
            self.problems.append(Problem("", "", "", text))
        slugs = {grant.server for grant in self.found.grants} | {each.server for each in self.found.sessions}
        found_lints = lints.lint(self.found, self.directory.known(slugs))
        return Plan(tuple(changes), tuple(self.problems), tuple(found_lints), self.prune, self._digest(changes))

    def _servers(self) -> Iterator[Change]:
        for server in self.found.servers:
            known = self.directory.server(server.name)
            note = (
                "It is in the catalog; its listing is kept there."
                if known is not None
                else "It is not in the catalog yet. List it by a source or publish it; only then can it be granted."
            )
            yield Change("server", "elsewhere", server.name, server=server.name, note=note)

    def _policies(self) -> Iterator[Change]:
        seen: set[str] = set()
        for entry in self.found.policies:
            if entry.server in seen:
                self._refuse(entry.server, entry.namespace, manifests.OWN_POLICY, "", "its policy is there twice")
                continue
            seen.add(entry.server)
            server = self.directory.server(entry.server)
            if server is None or server.owner_tenant_id != self.tenant.pk:
                note = (
                    "The policy of a server is its owner's to set." if server else "The server is not in the catalog."
                )
                yield Change("policy", "elsewhere", entry.server, entry.namespace, entry.server, note=note)
            else:
                yield self._policy(entry, server)

    def _policy(self, entry: PolicyEntry, server: Server) -> Change:
        self.state.append(("policy", str(server.pk), server.updated_at.isoformat()))
        before = replace(rows.policy_entry(server), namespace=entry.namespace)
        wanted = replace(entry, auth_mode=_identity(entry.auth_mode, before.auth_mode))
        named = {name: value for name in _policy_fields() if (value := getattr(wanted, name)) is not None}
        after = replace(before, **named)
        fields = _differ(before, after)
        return Change(
            "policy",
            "update" if fields else "unchanged",
            server.slug,
            entry.namespace,
            server.slug,
            manifests.write(before),
            manifests.write(after),
            fields,
            row_id=server.pk,
            entry=after,
        )

    def _grants(self) -> Iterator[Change]:
        live = {(row.namespace, row.name): row for row in rows.live_grants().order_by("pk")}
        self.directory.learn_slugs(row.server_id for row in live.values())
        yield from self._compare("grant", self.found.grants, live, self._normal_grant, rows.grant_entry)

    def _sessions(self) -> Iterator[Change]:
        live = {(row.namespace, row.name): row for row in rows.live_sessions().order_by("pk")}
        self.directory.learn_slugs(row.server_id for row in live.values())
        yield from self._compare("session", self.found.sessions, live, self._normal_session, rows.session_entry)

    def _flows(self) -> Iterator[Change]:
        """The rule and the labels are one thing of the organisation: a file says all of it."""
        for entry in self.found.flows:
            before = replace(rows.flow_entry(self.directory), namespace=entry.namespace)
            self.state.append(("flow", "", json.dumps(manifests.write(before), sort_keys=True)))
            try:
                rows.flow_wanted(entry, self.directory)
            except InvalidError as error:
                self._refuse(entry.name, entry.namespace, manifests.OWN_FLOW, "spec", error.message)
                continue
            fields = _differ(before, entry)
            yield Change(
                "flow", "update" if fields else "unchanged", entry.name, entry.namespace,
                before=manifests.write(before), after=manifests.write(entry), fields=fields, entry=entry,
            )  # fmt: skip

    def _compare(
        self,
        kind: Literal["grant", "session"],
        entries: Iterable[Any],
        live: dict[tuple[str, str], Any],
        normal: Callable[[Any], Any],
        entry_of: Callable[[Any, Directory], Any],
    ) -> Iterator[Change]:
        named: set[tuple[str, str]] = set()
        for entry in entries:
            place = (entry.namespace or self.tenant.slug, entry.name)
            if place in named:
                self._refuse(entry.name, entry.namespace, _kind(entry), "metadata.name", "is there twice")
                continue
            named.add(place)
            row = live.get(place)
            wanted = self._checked(entry, normal)
            if wanted is not None:
                yield self._change(kind, wanted, row, entry_of)
        for place, row in live.items():
            if place not in named and self.prune:
                before = entry_of(row, self.directory)
                self.state.append((kind, str(row.pk), row.updated_at.isoformat()))
                yield Change(
                    kind, "revoke", row.name, row.namespace, before.server, manifests.write(before),
                    note="The files do not name it.", row_id=row.pk,
                )  # fmt: skip

    def _change(self, kind: Any, wanted: Wanted, row: Any, entry_of: Callable[[Any, Directory], Any]) -> Change:
        after = manifests.write(wanted)
        of: dict[str, Any] = {
            "name": wanted.name,
            "namespace": wanted.namespace,
            "server": wanted.server,
            "entry": wanted,
        }
        ends = isinstance(wanted, SessionEntry) and wanted.revoked
        if row is None:
            if ends:
                return Change(kind, "unchanged", after=after, note="There is no such live session to revoke.", **of)
            return Change(kind, "create", after=after, **of)
        self.state.append((kind, str(row.pk), row.updated_at.isoformat()))
        before = entry_of(row, self.directory)
        of |= {"before": manifests.write(before), "row_id": row.pk}
        if ends:
            return Change(kind, "revoke", note="The file says that it is revoked.", **of)
        server = self.directory.server(wanted.server)
        fields = _differ(before, wanted)
        if not fields and server is not None and server.pk != row.server_id:
            fields = ("server",)  # of the same name, and another one
        return Change(kind, "replace" if fields else "unchanged", after=after, fields=fields, **of)

    def _checked(self, entry: Any, normal: Callable[[Any], Any]) -> Any:
        try:
            check_name(entry.name)
            check_namespace(entry.namespace or self.tenant.slug)
            if self.directory.server(entry.server) is None:
                raise InvalidError(
                    f"There is no server {entry.server!r} that the organisation may see. List it first, or correct the name.",
                    field="spec.serverRef.name",
                )
            if entry.expires_at is not None and entry.expires_at <= clock.now():
                raise InvalidError("It has ended already. Give it a later end, or take it out.", field="spec.expiresAt")
            return normal(entry)
        except InvalidError as error:
            where = str(error.data.get("field", ""))
            where = f"spec.{where}" if where and not where.startswith(("spec", "metadata")) else where
            self._refuse(entry.name, entry.namespace, _kind(entry), where, error.message)
            return None

    def _normal_grant(self, entry: GrantEntry) -> GrantEntry:
        """As it would be written after it is given. Raises InvalidError."""
        server = self.directory.server(entry.server)
        assert server is not None
        subject = entry.subject
        team = self.directory.team_of(server)
        if team and not (subject.team or subject.everyone or subject.key):
            # MCP Runtime renders a grant without a team as one for the team of its server (requirements C3).
            subject = replace(subject, team=team)
        if subject.is_empty:
            raise InvalidError(
                "It is for nobody: write humanID, agentID or teamID, or AccessGrant with `subject: {everyone: true}`.",
                field="spec.subject",
            )
        return replace(
            entry,
            namespace=entry.namespace or self.tenant.slug,
            subject=self.directory.normal(subject),
            tool_rules=tuple(sorted(entry.tool_rules, key=lambda rule: rule.name)),
            conditions=dict(conditions.to_json(conditions.parse(entry.conditions))),
        )

    def _normal_session(self, entry: SessionEntry) -> SessionEntry:
        if entry.idle_timeout_s is not None and entry.idle_timeout_s < 60:
            raise InvalidError("It is at least 1m.", field="spec.idleTimeout")
        return replace(
            entry,
            namespace=entry.namespace or self.tenant.slug,
            subject=self.directory.normal(entry.subject),
        )

    def _refuse(self, name: str, namespace: str, kind: str, where: str, reason: str) -> None:
        file = self.found.places.get((kind, namespace, name), "")
        self.problems.append(Problem(file, name, where, reason))

    def _digest(self, changes: list[Change]) -> str:
        told = [[c.kind, c.action, c.namespace, c.name, c.after] for c in changes]
        text = json.dumps([str(self.tenant.pk), self.prune, told, sorted(self.state)], sort_keys=True)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _kind(entry: Wanted) -> str:
    return manifests.GRANT if isinstance(entry, GrantEntry) else manifests.SESSION


def _policy_fields() -> tuple[str, ...]:
    return tuple(name for name in PolicyEntry.__dataclass_fields__ if name not in {"server", "namespace"})


def _identity(wanted: str | None, present: str | None) -> str | None:
    """Of the ways to authenticate only one is a matter of policy here: whether callers may be named in headers."""
    is_header = wanted == AuthMode.HEADER
    return None if wanted is None or is_header == (present == AuthMode.HEADER) else wanted


def _differ(before: Any, after: Any) -> tuple[str, ...]:
    """The fields that differ. A session's end that the file leaves open is whatever it was given."""
    names = (name for name in before.__dataclass_fields__ if name != "credential")
    found = [name for name in names if getattr(before, name) != getattr(after, name)]
    if isinstance(after, SessionEntry) and after.expires_at is None and "expires_at" in found:
        found.remove("expires_at")
    if isinstance(after, SessionEntry) and after.credential is not None and before.credential is None:
        found.append("credential")
    return tuple(found)
