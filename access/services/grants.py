"""Giving, changing and revoking access. Runs inside the organisation's schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, Unpack
from uuid import UUID

from django.db import IntegrityError, transaction

from access import conditions as conditions_
from access.models import Grant, Origin
from access.types import SideEffect, SubjectKind, Trust
from audit import services as audit
from catalog.models import Server
from core import clock
from core.errors import ConflictError, InvalidError, NotFoundError
from core.ids import uuid7
from notifications.services import webhooks
from tenants.models import Tenant, User
from tenants.services import revisions

# Names as files and other platforms write them.
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?\Z")
_NAMESPACE = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?\Z")
RULES_MAX = 500
DECISIONS = ("allow", "deny")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Who a right is for. Every part that is set must match the caller; `everyone` is the whole organisation."""

    user: str = ""
    agent: str = ""
    team: str = ""
    key: str = ""
    everyone: bool = False
    label: str = ""

    @classmethod
    def of(cls, kind: str, value: str = "", label: str = "") -> Subject:
        """A subject of one part. Raises InvalidError for a kind that there is none of, and for a part without a value."""
        if kind == SubjectKind.ORGANISATION:
            return cls(everyone=True, label=label)
        if kind not in set(SubjectKind) or not value:
            raise InvalidError(
                "Name the user, agent, team or key that the grant is for.",
                code="access.subject_missing",
                field="subject",
            )
        return cls(**{str(kind): value}, label=label)  # type: ignore[arg-type]

    @property
    def is_set(self) -> bool:
        return bool(self.everyone or self.user or self.agent or self.team or self.key)


class Terms(TypedDict, total=False):
    """What a grant says beside who may use what; everything has a default (`_Terms`)."""

    max_trust: str
    side_effects: Sequence[str]
    tools: Sequence[str]  # the short form of rules that allow them
    tool_rules: Sequence[Mapping[str, Any]]
    conditions: Mapping[str, Any] | None
    expires_at: datetime | None
    policy_version: str
    note: str
    is_disabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    max_trust: str = Trust.LOW.word
    side_effects: Sequence[str] = (SideEffect.READ,)
    tools: Sequence[str] = ()
    tool_rules: Sequence[Mapping[str, Any]] = ()
    conditions: Mapping[str, Any] | None = None
    expires_at: datetime | None = None
    policy_version: str = ""
    note: str = ""
    is_disabled: bool = False


def give(
    *,
    tenant: Tenant,
    server: Server,
    subject: Subject,
    actor: User | None,
    name: str = "",
    namespace: str = "",
    origin: str = Origin.PAGE,
    request_id: UUID | None = None,
    **terms: Unpack[Terms],
) -> Grant:
    """Let a subject use a server that the organisation may see (the caller has checked that).

    Without a `name` one is made up, without a `namespace` it is the organisation's. Raises InvalidError for an unknown word, an
    unknown tool or a past expiry, and ConflictError when a live grant of that namespace has the name.
    """
    wanted = _Terms(**terms)
    fields = _checked(server, subject, wanted, origin)
    key = uuid7()
    name, namespace = check_name(name or f"grant-{key.hex[-12:]}"), check_namespace(namespace or tenant.slug)
    with transaction.atomic():
        _free_name(name, namespace)
        grant = _create(
            Grant(
                id=key,
                server=server,
                name=name,
                namespace=namespace,
                origin=origin,
                request_id=request_id,
                disabled_at=clock.now() if wanted.is_disabled else None,
                **_by(actor),
                **fields,
            )
        )
        _audit("access:grant:given", actor, grant, _facts(grant, server))
        webhooks.emit(tenant.pk, "access.grant.given", event_data(grant))
        revisions.touch(tenant.pk)
    return grant


def replace(*, tenant: Tenant, grant_id: UUID, actor: User | None, server: Server, **changes: Any) -> Grant:
    """Revoke a grant and give its successor of the same name, with what `changes` says instead; see `give`.

    `server` is the grant's own, as the caller may see it. Raises what `give` raises, NotFoundError, and ConflictError for a grant
    that is revoked.
    """
    with transaction.atomic():
        old = _get(grant_id)
        if old.revoked_at is not None:
            raise ConflictError(
                "A revoked grant cannot be changed.", code="access.grant_revoked", next_step="Give access again."
            )
        if "tools" in changes:
            changes.setdefault("tool_rules", ())
        same: dict[str, Any] = {
            "subject": subject_of(old),
            "max_trust": old.max_trust,
            "side_effects": old.side_effects,
            "tool_rules": old.tool_rules,
            "conditions": old.conditions,
            "expires_at": old.expires_at,
            "policy_version": old.policy_version,
            "note": old.note,
            "origin": old.origin,
            "is_disabled": old.disabled_at is not None,
        }
        now = clock.now()
        Grant.objects.filter(pk=old.pk).update(revoked_at=now, updated_at=now)
        grant = give(
            tenant=tenant,
            server=server,
            actor=actor,
            **(same | changes | {"name": old.name, "namespace": old.namespace}),
        )
        Grant.objects.filter(pk=old.pk).update(replaced_by=grant.pk)
        _audit("access:grant:replaced", actor, old, {"by": str(grant.pk)})
    return grant


def revoke(*, tenant: Tenant, grant_id: UUID, actor: User | None) -> Grant:
    """End a grant; a second time changes nothing. Gateways refuse within a second."""

    def end(grant: Grant) -> bool:
        was_live, grant.revoked_at = grant.revoked_at is None, grant.revoked_at or clock.now()
        if was_live:
            webhooks.emit(tenant.pk, "access.grant.revoked", event_data(grant))
        return was_live

    return _change(tenant, grant_id, actor, "access:grant:revoked", end, "revoked_at")


def disable(*, tenant: Tenant, grant_id: UUID, actor: User | None) -> Grant:
    """Switch a grant off until it is switched on again; a second time changes nothing."""

    def switch_off(grant: Grant) -> bool:
        was_on, grant.disabled_at = grant.disabled_at is None, grant.disabled_at or clock.now()
        return was_on

    return _change(tenant, grant_id, actor, "access:grant:disabled", switch_off, "disabled_at")


def enable(*, tenant: Tenant, grant_id: UUID, actor: User | None) -> Grant:
    """Switch a grant on again. Raises ConflictError for one that is revoked, which stays so."""

    def switch_on(grant: Grant) -> bool:
        if grant.revoked_at is not None:
            raise ConflictError(
                "A revoked grant stays revoked.", code="access.grant_revoked", next_step="Give access again."
            )
        was_off, grant.disabled_at = grant.disabled_at is not None, None
        return was_off

    return _change(tenant, grant_id, actor, "access:grant:enabled", switch_on, "disabled_at")


def subject_of(grant: Grant) -> Subject:
    return Subject(
        user=grant.subject_user,
        agent=grant.subject_agent,
        team=grant.subject_team,
        key=grant.subject_key,
        everyone=grant.for_everyone,
        label=grant.subject_label,
    )


def check_name(name: str) -> str:
    """Raises InvalidError for what is no name of a grant or session."""
    if not _NAME.match(name):
        raise InvalidError(
            "A name has at most 253 lower-case letters, digits, hyphens and dots, and begins and ends with a letter or digit.",
            code="access.name_invalid",
            field="name",
        )
    return name


def check_namespace(namespace: str) -> str:
    if not _NAMESPACE.match(namespace):
        raise InvalidError(
            "A namespace has at most 63 lower-case letters, digits and hyphens.",
            code="access.namespace_invalid",
            field="namespace",
        )
    return namespace


def check_subject(subject: Subject) -> None:
    """Raises InvalidError for a subject with nothing set, or with everybody and somebody."""
    parts = [subject.user, subject.agent, subject.team, subject.key]
    if not subject.is_set:
        raise InvalidError(
            "Name the user, agent, team or key that the grant is for.", code="access.subject_missing", field="subject"
        )
    if subject.everyone and any(parts):
        raise InvalidError(
            "A grant for the whole organisation names nobody besides.", code="access.subject_both", field="subject"
        )
    if any(len(part) > 200 for part in parts):
        raise InvalidError(
            "A part of a subject has at most 200 characters.", code="access.subject_too_long", field="subject"
        )


def check_trust(word: str, field: str = "max_trust") -> str:
    if word not in {trust.word for trust in Trust}:
        raise InvalidError("Trust is low, medium or high.", code="access.trust_unknown", field=field)
    return word


def check_expiry(expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= clock.now():
        raise InvalidError("The expiry must be in the future.", code="access.expiry_past", field="expires_at")


def _checked(server: Server, subject: Subject, terms: _Terms, origin: str) -> dict[str, Any]:
    """The fields of the row that say what the grant is."""
    check_subject(subject)
    check_trust(terms.max_trust)
    check_expiry(terms.expires_at)
    if not set(terms.side_effects) <= set(SideEffect) or not (terms.side_effects or origin == Origin.IMPORT):
        raise InvalidError(
            "Choose at least one of read, write and destructive.",
            code="access.side_effect_unknown",
            field="side_effects",
        )
    named = [{"name": tool} for tool in dict.fromkeys(terms.tools)]
    rules = _check_rules([*terms.tool_rules, *named], server, may_be_unknown=origin == Origin.IMPORT)
    return {
        "subject_user": subject.user,
        "subject_agent": subject.agent,
        "subject_team": subject.team,
        "subject_key": subject.key,
        "for_everyone": subject.everyone,
        "subject_label": subject.label[:254],
        "max_trust": terms.max_trust,
        "side_effects": sorted({str(effect) for effect in terms.side_effects}),
        "tool_rules": rules,
        "conditions": conditions_.to_json(conditions_.parse(terms.conditions)),
        "expires_at": terms.expires_at,
        "policy_version": terms.policy_version[:63],
        "note": terms.note[:500],
    }


def _check_rules(rules: Sequence[Mapping[str, Any]], server: Server, *, may_be_unknown: bool) -> list[dict[str, Any]]:
    """Rules in order of their names, with what was left out filled in. A file may name tools that are still to come."""
    if len(rules) > RULES_MAX:
        raise InvalidError(f"A grant has at most {RULES_MAX} rules.", code="access.rules_too_many", field="tool_rules")
    found: dict[str, dict[str, Any]] = {}
    for rule in rules:
        tool, decision = str(rule.get("name", "")), str(rule.get("decision") or "allow").lower()
        if not tool or len(tool) > 256:
            raise InvalidError("A rule needs the name of a tool.", code="access.rule_unnamed", field="tool_rules")
        if decision not in DECISIONS:
            raise InvalidError("A rule allows or denies.", code="access.rule_decision", field="tool_rules")
        if tool in found:
            raise InvalidError(
                f"There are two rules for {tool[:60]!r}.", code="access.rule_twice", field="tool_rules", tool=tool
            )
        trust = check_trust(str(rule.get("required_trust") or "low"), "tool_rules")
        found[tool] = {"name": tool, "decision": decision, "required_trust": trust}
        if rule.get("approval") is True:
            if decision == "deny":
                raise InvalidError(
                    "A rule that denies needs no approval.", code="access.rule_approval", field="tool_rules", tool=tool
                )
            found[tool]["approval"] = True
    known = set(server.current_version.tools.values_list("name", flat=True)) if server.current_version else set()
    unknown = sorted(found.keys() - known)
    if unknown and not may_be_unknown:
        raise InvalidError(
            f"The server has no tool named {unknown[0]!r}.", code="access.tool_unknown", field="tools", unknown=unknown
        )
    return [found[tool] for tool in sorted(found)]


def _free_name(name: str, namespace: str) -> None:
    """An expired grant gives up its name; a live one keeps it."""
    now = clock.now()
    Grant.objects.filter(name=name, namespace=namespace, revoked_at=None, expires_at__lte=now).update(revoked_at=now)
    if Grant.objects.filter(name=name, namespace=namespace, revoked_at=None).exists():
        raise _name_taken(name)


def _create(grant: Grant) -> Grant:
    try:
        with transaction.atomic():
            grant.save(force_insert=True)
    except IntegrityError as error:
        if "grant_name_unique" not in str(error):
            raise
        raise _name_taken(grant.name) from error
    return grant


def _name_taken(name: str) -> ConflictError:
    return ConflictError(
        f"There is a grant named {name!r} in this namespace.",
        code="access.name_taken",
        next_step="Choose another name, or change that grant.",
        field="name",
    )


def _get(grant_id: UUID) -> Grant:
    grant = Grant.objects.select_for_update().filter(pk=grant_id).first()
    if grant is None:
        raise NotFoundError("There is no such grant in this organisation.")
    return grant


def _change(
    tenant: Tenant, grant_id: UUID, actor: User | None, action: str, change: Callable[[Grant], bool], field: str
) -> Grant:
    with transaction.atomic():
        grant = _get(grant_id)
        if change(grant):
            grant.save(update_fields=[field, "updated_at"])
            _audit(action, actor, grant, {})
            revisions.touch(tenant.pk, ended=[] if grant.revoked_at is None else [grant.pk])
    return grant


def event_data(grant: Grant) -> dict[str, Any]:
    """What an organisation's own systems are told of a grant."""
    return {
        "grant_id": str(grant.pk),
        "name": grant.name,
        "namespace": grant.namespace,
        "server_id": str(grant.server_id),
        "subject": {str(kind): value for kind, value in grant.parts},
        "max_trust": grant.max_trust,
        "side_effects": list(grant.side_effects),
        "tools": grant.tools,
        "expires_at": grant.expires_at.isoformat() if grant.expires_at else None,
    }


def _by(actor: User | None) -> dict[str, Any]:
    return {
        "granted_by_id": actor.pk if actor else None,
        "granted_by_label": actor.email if actor else "system",
    }


def _facts(grant: Grant, server: Server) -> dict[str, object]:
    """What the audit keeps of a grant: small, without the values of conditions."""
    found: dict[str, object] = {"server": server.slug, "trust": grant.max_trust, "effects": grant.side_effects}
    if grant.tool_rules:
        found |= {"tools": grant.tools[:50], "denied": grant.denied_tools[:50]}
    if grant.conditions:
        found["conditions"] = sorted(grant.conditions)
    if grant.request_id:
        found["request"] = str(grant.request_id)
    return found


def _audit(action: str, actor: User | None, grant: Grant, data: dict[str, object]) -> None:
    audit.record(
        action,
        actor=audit.Party("user", str(actor.pk), actor.email) if actor else audit.SYSTEM,
        target=audit.Party("grant", str(grant.pk), grant.who[:254]),
        data=data,
    )
