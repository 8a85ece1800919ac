"""What every step of a request does: lock its row, note what happened, and record it in the audit log."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from access.models import AccessRequest, EventKind, RequestEvent
from access.requests.rules import Terms, digest, narrowed
from audit import services as audit
from core.errors import NotFoundError
from tenants.models import User

_FACTS = (
    "server_id", "subject_user", "subject_agent", "subject_team", "subject_key", "requester_id", "tools", "max_trust",
    "side_effects", "reason", "duration_h", "wants_session", "route", "version", "renews_id",
)  # fmt: skip


def locked(request_id: UUID) -> AccessRequest:
    """The request, held until the transaction ends: decisions about it come one after the other."""
    request = AccessRequest.objects.select_for_update().filter(pk=request_id).first()
    if request is None:
        raise NotFoundError("There is no such request in this organisation.")
    return request


def digest_of(request: AccessRequest) -> str:
    values = {name: getattr(request, name) for name in _FACTS}
    return digest({name: str(value) if isinstance(value, UUID) else value for name, value in values.items()})


def asked_terms(request: AccessRequest) -> Terms:
    return Terms.of(request.tool_names, request.max_trust, request.side_effects, request.duration_h)


def open_terms(request: AccessRequest) -> Terms:
    """What the approvals so far have left of what was asked."""
    given = request.events.filter(kind=EventKind.APPROVED, digest=request.digest).exclude(terms=None)
    return narrowed(asked_terms(request), [Terms.stored(event.terms or {}) for event in given.order_by("stage")])


def noted(
    request: AccessRequest,
    kind: EventKind,
    *,
    actor: User | None,
    comment: str = "",
    terms: Terms | None = None,
    on_behalf_of: str = "",
    via: str = "page",
) -> RequestEvent:
    return RequestEvent.objects.create(
        request=request,
        kind=kind,
        actor_id=actor.pk if actor else None,
        actor_label=actor.email if actor else "system",
        on_behalf_of=on_behalf_of,
        stage=request.stage,
        digest=request.digest,
        comment=comment,
        terms=terms.as_json() if terms else None,
        via=via,
    )


def audited(action: str, actor: User | None, request: AccessRequest, data: dict[str, Any]) -> None:
    audit.record(
        action,
        actor=audit.Party("user", str(actor.pk), actor.email) if actor else audit.SYSTEM,
        # The server, so that its page shows who asked for it and what was decided.
        target=audit.Party("server", str(request.server_id), request.server_name),
        data={"request": str(request.pk), "subject": request.subject_label, "digest": request.digest, **data},
    )
