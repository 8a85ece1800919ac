"""What needs two operators: who may decide, and who is told. Payouts and proposals are decided by the same rules."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from audit import services as audit
from core.errors import ForbiddenError, InvalidError
from notifications import services as notifications
from tenants.context import platform_scope
from tenants.models import Membership, User


def need_operator(person: User, what: str) -> None:
    """Raises ForbiddenError for everybody else. `what` is in words, such as "Payouts"."""
    if not (person.is_staff and person.is_active):
        raise ForbiddenError(f"{what} are approved by operators of the platform.", code="billing.operators_only")


def need_stranger(person: User, organisations: Iterable[UUID], *, what: str, code: str) -> None:
    """Nobody decides over money of an organisation of theirs. Raises ForbiddenError."""
    if Membership.objects.filter(user=person, tenant_id__in=list(organisations)).exists():
        raise ForbiddenError(what, code=code, next_step="Ask two operators who are not.")


def reason_of(text: str, *, message: str) -> str:
    """A reason as it is kept. Raises InvalidError for none."""
    reason = " ".join(text.replace("\x00", "").split())[:300]
    if not reason:
        raise InvalidError(message, code="billing.reason_missing", field="reason", next_step="Fill in the reason.")
    return reason


def tell_operators(*, kind: str, title: str, body: str, url: str, but: User | None = None) -> None:
    """Every operator who could decide."""
    with platform_scope():
        people = User.objects.filter(is_staff=True, is_active=True)
        for person in people.exclude(pk=but.pk) if but else people:
            notifications.notify(kind=kind, title=title, body=body, url=url, recipient_id=person.pk)


def party(operator: User) -> audit.Party:
    return audit.Party("operator", str(operator.pk), operator.email)
