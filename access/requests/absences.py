"""Being away: until when, and who decides instead."""

from __future__ import annotations

from datetime import datetime

from access.models import Absence
from audit import services as audit
from core import clock
from core.errors import InvalidError
from tenants.models import Membership


def leave(*, actor: Membership, deputy: Membership, until: datetime) -> Absence:
    """Let a colleague decide as long as one is away. Raises InvalidError for oneself, a stranger or a past moment."""
    if deputy.tenant_id != actor.tenant_id or deputy.user_id == actor.user_id:
        raise InvalidError("Choose a colleague.", code="access.deputy", field="deputy")
    if until <= clock.now():
        raise InvalidError("Choose a day in the future.", code="access.until_past", field="until")
    absence, _ = Absence.objects.update_or_create(
        user_id=actor.user_id,
        defaults={
            "user_label": actor.user.email,
            "deputy_id": deputy.user_id,
            "deputy_label": deputy.user.email,
            "until": until,
        },
    )
    _record("access:absence:set", actor, deputy.user.email)
    return absence


def come_back(*, actor: Membership) -> None:
    """Decide oneself again, and alone."""
    if Absence.objects.filter(user_id=actor.user_id).delete()[0]:
        _record("access:absence:ended", actor, "")


def _record(action: str, actor: Membership, deputy: str) -> None:
    audit.record(
        action,
        actor=audit.Party("user", str(actor.user_id), actor.user.email),
        target=audit.Party("user", str(actor.user_id), actor.user.email),
        data={"deputy": deputy} if deputy else {},
    )
