"""Setting the limits of an organisation. Runs inside the organisation's schema; gateways keep to a change within a second."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.db import transaction

from access.limits import MAX_CAP, MAX_COUNT, MONEY_SCALE, LimitKind, LimitScope, Period
from access.models import Limit
from audit import services as audit
from catalog.models import Server
from core.errors import InvalidError, NotFoundError
from tenants.models import Tenant, User
from tenants.services import revisions

LIMITS_MAX = 100
_WINDOWS = {Period.DAY, Period.MONTH}


@dataclass(frozen=True, slots=True)
class Terms:
    """What a limit says. The caller has checked that the organisation may see `server` and owns `key_id`."""

    name: str
    scope: LimitScope
    kind: LimitKind
    amount: Decimal
    period: Period
    hard: bool = True
    key_id: UUID | None = None
    server: Server | None = None
    tool: str = ""
    subject_label: str = ""


def add(*, tenant: Tenant, terms: Terms, actor: User | None) -> Limit:
    """Raises InvalidError for an amount that means nothing, and beyond LIMITS_MAX limits."""
    _check(terms)
    with transaction.atomic():
        if Limit.objects.count() >= LIMITS_MAX:
            raise InvalidError(f"An organisation has at most {LIMITS_MAX} limits.", code="access.limits_too_many")
        limit = Limit.objects.create(**_fields(terms), created_by_label=actor.email if actor else "system")
        _audit("access:limit:added", actor, limit)
        revisions.touch(tenant.pk)
    return limit


def change(*, tenant: Tenant, limit_id: UUID, terms: Terms, actor: User | None) -> Limit:
    """What is used of it stays used. Raises InvalidError, NotFoundError."""
    _check(terms)
    with transaction.atomic():
        limit = _get(limit_id)
        for name, value in _fields(terms).items():
            setattr(limit, name, value)
        limit.save()
        _audit("access:limit:changed", actor, limit)
        revisions.touch(tenant.pk)
    return limit


def remove(*, tenant: Tenant, limit_id: UUID, actor: User | None) -> None:
    """Raises NotFoundError."""
    with transaction.atomic():
        limit = _get(limit_id)
        _audit("access:limit:removed", actor, limit)
        limit.delete()
        revisions.touch(tenant.pk)


def _get(limit_id: UUID) -> Limit:
    limit = Limit.objects.select_for_update().filter(pk=limit_id).first()
    if limit is None:
        raise NotFoundError("There is no such limit in this organisation.")
    return limit


def _fields(terms: Terms) -> dict[str, object]:
    return {
        "name": terms.name.strip(),
        "scope": terms.scope,
        "kind": terms.kind,
        "amount": terms.amount,
        "period": terms.period,
        "hard": terms.hard,
        "key_id": terms.key_id,
        "server": terms.server,
        "tool": terms.tool,
        "subject_label": terms.subject_label[:254],
    }


def _check(terms: Terms) -> None:
    if not terms.name.strip():
        raise InvalidError("Name the limit; refusals show the name.", code="access.limit_unnamed", field="name")
    is_window = terms.period in _WINDOWS
    if terms.kind is LimitKind.RATE:
        if terms.period is Period.MONTH:
            raise InvalidError("A rate is per second, minute, hour or day.", code="access.limit_period", field="what")
    elif not is_window:
        raise InvalidError("Quotas and caps are per day or month.", code="access.limit_period", field="what")
    _check_amount(terms)
    known = _tools(terms.server)
    if terms.scope is LimitScope.TOOL and terms.tool not in known:
        raise InvalidError(f"The server has no tool named {terms.tool!r}.", code="access.tool_unknown", field="tool")


def _tools(server: Server | None) -> set[str]:
    version = server.current_version if server is not None else None
    return set(version.tools.values_list("name", flat=True)) if version is not None else set()


def _check_amount(terms: Terms) -> None:
    amount, least = terms.amount, 1 if terms.kind is LimitKind.RATE else 0
    most = MAX_CAP if terms.kind is LimitKind.CAP else MAX_COUNT
    if not least <= amount <= most:
        raise InvalidError(f"The amount is from {least} to {most}.", code="access.limit_amount", field="amount")
    if terms.kind is not LimitKind.CAP and amount != int(amount):
        raise InvalidError("Requests and calls are whole numbers.", code="access.limit_amount", field="amount")
    if amount * MONEY_SCALE != int(amount * MONEY_SCALE):
        raise InvalidError("Money has at most ten decimals.", code="access.limit_amount", field="amount")


def _audit(action: str, actor: User | None, limit: Limit) -> None:
    audit.record(
        action,
        actor=audit.Party("user", str(actor.pk), actor.email) if actor else audit.SYSTEM,
        target=audit.Party("limit", str(limit.pk), limit.name),
        data={
            "kind": str(limit.kind),
            "amount": f"{limit.amount.normalize():f}",
            "period": str(limit.period),
            "hard": limit.hard,
            "scope": str(limit.scope),
        },
    )
