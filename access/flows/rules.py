"""The flow rule and the labels of an organisation: read for gateways, changed by who manages access. Inside its schema."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from django.db import transaction

from access.models import FlowPolicy, FlowSession, Grant, OwnLabel
from access.models.flow import MODES, SCOPES, UNLABELLED, WINDOW_LEAST_S, WINDOW_MOST_S, trifecta
from access.types import FlowLabel, FlowMode, FlowRule, FlowScope, ToolLabels
from audit import services as audit
from catalog.models import Server
from catalog.selectors import labels as confirmed
from core import clock
from core.errors import InvalidError, NotFoundError
from tenants.models import Tenant, User
from tenants.services import revisions

COMBINATIONS_MAX, EXEMPT_MAX = 8, 100


@dataclass(frozen=True, slots=True)
class Terms:
    """What a flow rule says. Grants are named as files name them: `namespace/name`."""

    mode: str = FlowMode.ESCALATE.value
    forbidden: tuple[tuple[str, ...], ...] = field(default_factory=lambda: tuple(map(tuple, trifecta())))
    scope: str = FlowScope.CALLER.value
    window_s: int = 3_600
    unlabelled: str = "nothing"
    exempt_agents: tuple[str, ...] = ()
    exempt_grants: tuple[str, ...] = ()

    def normal(self) -> Terms:
        """The same, in one order."""
        order = [label.value for label in FlowLabel]
        sets = {tuple(name for name in order if name in each) for each in self.forbidden}
        return Terms(
            self.mode,
            tuple(sorted(sets)),
            self.scope,
            self.window_s,
            self.unlabelled,
            tuple(sorted({each.strip() for each in self.exempt_agents if each.strip()})),
            tuple(sorted({each.strip() for each in self.exempt_grants if each.strip()})),
        )

    def told(self) -> dict[str, object]:
        return {
            "mode": self.mode,
            "forbidden": [list(each) for each in self.forbidden],
            "session": self.scope,
            "window_s": self.window_s,
            "unlabelled": self.unlabelled,
            "exempt_agents": list(self.exempt_agents),
            "exempt_grants": list(self.exempt_grants),
        }


def terms() -> Terms:
    """Those that hold, the defaults where nobody has set any."""
    row = FlowPolicy.objects.first()
    if row is None:
        return Terms().normal()
    return Terms(
        row.mode,
        tuple(map(tuple, row.forbidden)),
        row.scope,
        row.window_s,
        row.unlabelled,
        tuple(row.exempt_agents),
        tuple(row.exempt_grants),
    ).normal()


def compile_rule(held: Terms | None = None) -> FlowRule | None:
    """As the engine's value; None where the rule is off or forbids nothing."""
    held = held or terms()
    if held.mode == FlowMode.OFF or not held.forbidden:
        return None
    return FlowRule(
        mode=FlowMode(held.mode),
        forbidden=tuple(frozenset(map(FlowLabel, each)) for each in held.forbidden),
        scope=FlowScope(held.scope),
        window_s=held.window_s,
        counts_suggested=held.unlabelled == "suggested",
        exempt_agents=frozenset(held.exempt_agents),
        exempt_grants=frozenset(_grants(held.exempt_grants)),
        # What sessions have touched outlives a change of the rule, but for a change of what a session is.
        epoch=hashlib.sha256(held.scope.encode()).hexdigest()[:8],
    )


def _grants(names: Iterable[str]) -> set[UUID]:
    """Ids of grants that carry these names, ended ones too: successors keep the name."""
    wanted = {tuple(each.partition("/")[::2]) for each in names}
    if not wanted:
        return set()
    rows = Grant.objects.filter(name__in=[name for _, name in wanted], revoked_at=None)
    return {row.pk for row in rows if (row.namespace, row.name) in wanted}


def own_labels() -> dict[UUID, dict[str, ToolLabels]]:
    """By server and tool, as the engine's values."""
    found: dict[UUID, dict[str, ToolLabels]] = {}
    for row in OwnLabel.objects.all():
        found.setdefault(row.server_id, {})[row.tool] = _value(row)
    return found


def own_labels_at(server_id: UUID) -> dict[str, ToolLabels]:
    return {row.tool: _value(row) for row in OwnLabel.objects.filter(server_id=server_id)}


def _value(row: OwnLabel) -> ToolLabels:
    return ToolLabels(frozenset(map(FlowLabel, row.labels)), row.definition_digest)


def change(*, tenant: Tenant, wanted: Terms, actor: User | None) -> bool:
    """Have the rule say this from now on; gateways follow within a second. False when it did already. Raises InvalidError."""
    check(wanted)
    wanted = wanted.normal()
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        before = terms()
        if before == wanted:
            return False
        FlowPolicy.objects.update_or_create(
            is_only=True,
            defaults={
                "mode": wanted.mode,
                "forbidden": [list(each) for each in wanted.forbidden],
                "scope": wanted.scope,
                "window_s": wanted.window_s,
                "unlabelled": wanted.unlabelled,
                "exempt_agents": list(wanted.exempt_agents),
                "exempt_grants": list(wanted.exempt_grants),
                "changed_by_label": actor.email[:254] if actor else "system",
            },
        )
        old, new = before.told(), wanted.told()
        audit.record(
            "access:flow:rule_changed",
            actor=_party(actor),
            data={name: {"from": old[name], "to": new[name]} for name in new if old[name] != new[name]},
        )
        revisions.touch(tenant.pk)
    return True


def check(wanted: Terms) -> None:
    """Raises InvalidError with the field for what no rule can say."""
    for value, choices, name in (
        (wanted.mode, MODES, "mode"),
        (wanted.scope, SCOPES, "scope"),
        (wanted.unlabelled, UNLABELLED, "unlabelled"),
    ):
        if value not in dict(choices):
            raise InvalidError(f"It is one of {', '.join(dict(choices))}.", code="access.flow_invalid", field=name)
    if len(wanted.forbidden) > COMBINATIONS_MAX or any(not set(each) <= set(FlowLabel) for each in wanted.forbidden):
        raise InvalidError(
            f"At most {COMBINATIONS_MAX} combinations of {', '.join(FlowLabel)}.",
            code="access.flow_invalid",
            field="forbidden",
        )
    if any(not each for each in wanted.forbidden):
        raise InvalidError("A combination names a label.", code="access.flow_invalid", field="forbidden")
    if not WINDOW_LEAST_S <= wanted.window_s <= WINDOW_MOST_S:
        raise InvalidError(
            f"A session ends after {WINDOW_LEAST_S} to {WINDOW_MOST_S} seconds.",
            code="access.flow_invalid",
            field="window_s",
        )
    _check_exempt(wanted)


def _check_exempt(wanted: Terms) -> None:
    for names, field_name, most in (
        (wanted.exempt_agents, "exempt_agents", 200),
        (wanted.exempt_grants, "exempt_grants", 320),
    ):
        if len(names) > EXEMPT_MAX or any(len(each) > most or "\x00" in each for each in names):
            raise InvalidError(
                f"At most {EXEMPT_MAX} names of {most} characters.", code="access.flow_invalid", field=field_name
            )
    if wrong := [each for each in wanted.exempt_grants if each.strip() and "/" not in each]:
        raise InvalidError(
            f"Name a grant as namespace/name, not {wrong[0][:60]!r}.", code="access.flow_invalid", field="exempt_grants"
        )


def label(*, tenant: Tenant, server: Server, wanted: Mapping[str, Collection[str] | None], actor: User | None) -> bool:
    """Say what tools of a server touch in this organisation's calls; None takes its word back. False when nothing changes.

    The caller has checked that the organisation may see the server. Raises InvalidError for what is no tool or no label.
    """
    digests = confirmed.definitions(server)
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        held = {row.tool: row for row in OwnLabel.objects.filter(server=server)}
        confirmed.check(wanted, set(digests) | set(held))
        changed: dict[str, object] = {}
        for tool, labels in wanted.items():
            row = held.get(tool)
            if labels is None:
                if row is not None:
                    row.delete()
                    changed[tool] = {"from": row.labels, "to": None}
                continue
            said, digest = sorted(set(labels)), digests.get(tool, "")
            if row is not None and row.labels == said and row.definition_digest == digest:
                continue
            OwnLabel.objects.update_or_create(
                server=server,
                tool=tool,
                defaults={
                    "labels": said,
                    "definition_digest": digest,
                    "changed_by_label": actor.email[:254] if actor else "system",
                },
            )
            changed[tool] = {"from": row.labels if row is not None else None, "to": said}
        if not changed:
            return False
        audit.record(
            "access:flow:labels_changed",
            actor=_party(actor),
            target=audit.Party("server", str(server.pk), server.name),
            data={"tools": dict(list(changed.items())[:50])},
        )
        revisions.touch(tenant.pk)
    return True


def forget(*, session_id: UUID, actor: User) -> FlowSession:
    """Have a session begin afresh, as if it had touched nothing. Raises NotFoundError for one that is not there or over."""
    with transaction.atomic():
        row = FlowSession.objects.select_for_update().filter(pk=session_id, ends_at__gt=clock.now()).first()
        if row is None:
            raise NotFoundError("There is no such session that goes on.", next_step="See under Access, Flow.")
        audit.record(
            "access:flow:session_forgotten",
            actor=_party(actor),
            target=audit.Party("flow_session", str(row.pk), row.agent or str(row.api_key_id)),
            data={**row.facts(), "api_key": str(row.api_key_id)},
        )
        FlowSession.objects.filter(pk=row.pk).update(ends_at=clock.now(), updated_at=clock.now())
    return row


def _party(actor: User | None) -> audit.Party:
    return audit.Party("user", str(actor.pk), actor.email) if actor else audit.SYSTEM
