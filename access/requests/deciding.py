"""The approvers' side: approve (also less, also for a shorter time), reject, ask back, hand on.

Whoever decides names the digest of what they saw. A request that was changed meanwhile has another one, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

from django.db import IntegrityError, transaction

from access.models import AccessRequest, EventKind, Grant, RequestState
from access.requests import providers, routing, telling
from access.requests.events import audited, locked, noted, open_terms
from access.requests.giving import give
from access.requests.routing import Approver
from access.requests.rules import Terms
from core import clock
from core.errors import ConflictError, ForbiddenError, InvalidError
from tenants.models import Membership, Tenant, User

COMMENT_MAX = 1000


def approve(
    *,
    tenant: Tenant,
    user: User,
    request_id: UUID,
    digest: str,
    terms: Terms | None = None,
    comment: str = "",
    via: str = "page",
) -> AccessRequest:
    """Approve the present step, in full or with less than what is asked. The last step gives the access.

    Raises ForbiddenError for everybody who may not decide this step, ConflictError for what was changed or decided
    meanwhile, InvalidError for terms that are more than what is left of the request.
    """
    with _decision(tenant, user, request_id, digest) as (request, approver):
        left = open_terms(request)
        if terms is not None and not terms.within(left):
            raise InvalidError(
                "An approval can only let pass what was asked, or less.",
                code="access.more_than_asked",
                next_step="Choose fewer tools, lower trust or a shorter time, or ask the requester to change the request.",
            )
        noted(
            request,
            EventKind.APPROVED,
            actor=user,
            comment=_comment(comment),
            terms=terms if terms != left else None,
            on_behalf_of=approver.on_behalf_of,
            via=via,
        )
        audited("access:request:approved", user, request, {"stage": request.stage, "via": via, **_less(terms, left)})
        advance(tenant, request, user)
    return request


def reject(
    *, tenant: Tenant, user: User, request_id: UUID, digest: str, comment: str, via: str = "page"
) -> AccessRequest:
    """Reject the request as a whole; the requester reads why."""
    comment = _comment(comment, "Say why, so that the requester knows what to do.")
    with _decision(tenant, user, request_id, digest) as (request, approver):
        noted(request, EventKind.REJECTED, actor=user, comment=comment, on_behalf_of=approver.on_behalf_of, via=via)
        audited("access:request:rejected", user, request, {"stage": request.stage, "via": via})
        end_rejected(tenant, request, comment)
    return request


def ask_back(*, tenant: Tenant, user: User, request_id: UUID, digest: str, comment: str) -> AccessRequest:
    """Ask the requester something; the request waits for the answer and stays undecided."""
    comment = _comment(comment, "Write what you want to know.")
    with _decision(tenant, user, request_id, digest) as (request, approver):
        request.state = RequestState.ASKED
        request.save(update_fields=["state", "updated_at"])
        noted(request, EventKind.ASKED, actor=user, comment=comment, on_behalf_of=approver.on_behalf_of)
        telling.tell_requester(tenant, request, "asked", comment)
    return request


def delegate(*, tenant: Tenant, user: User, request_id: UUID, to: Membership, comment: str = "") -> AccessRequest:
    """Hand the present step on to a colleague, who may decide it as well."""
    with _decision(tenant, user, request_id, "") as (request, _):
        if to.tenant_id != tenant.pk or to.user_id in routing.barred_people(tenant, request):
            raise ForbiddenError(
                "Nobody can decide about access that is for themselves.",
                code="access.four_eyes",
                next_step="Hand it to a colleague whom it does not concern.",
                field="to",
            )
        request.delegates = sorted({*request.delegates, to.user_id})
        request.save(update_fields=["delegates", "updated_at"])
        noted(request, EventKind.DELEGATED, actor=user, comment=f"To {to.user.email}. {_comment(comment)}".strip())
        audited("access:request:delegated", user, request, {"to": to.user.email})
        routing.keep_deciders(tenant, request)
        telling.tell_people(tenant, request, [Approver(to.user)], "opened")
    return request


def advance(tenant: Tenant, request: AccessRequest, user: User | None) -> Grant | None:
    """After an approval: on to the next step, or, after the last, approved with the access given."""
    if request.stage + 1 < len(request.route):
        request.stage, request.delegates = request.stage + 1, []
        request.save(update_fields=["stage", "delegates", "updated_at"])
        providers.tell(tenant, request)
        telling.tell_approvers(tenant, request, "opened")
        return None
    terms = open_terms(request)
    request.state, request.decided_at = RequestState.APPROVED, clock.now()
    request.save(update_fields=["state", "decided_at", "updated_at"])
    grant = give(tenant, request, terms, user)
    noted(request, EventKind.GIVEN, actor=user, terms=terms)
    providers.close(tenant, request)
    telling.tell_requester(tenant, request, "approved", ends=clock.now() + timedelta(hours=terms.duration_h))
    return grant


def end_rejected(tenant: Tenant, request: AccessRequest, comment: str) -> None:
    request.state, request.decided_at = RequestState.REJECTED, clock.now()
    request.save(update_fields=["state", "decided_at", "updated_at"])
    providers.close(tenant, request)
    telling.tell_requester(tenant, request, "rejected", comment)


@contextmanager
def _decision(tenant: Tenant, user: User, request_id: UUID, digest: str) -> Iterator[tuple[AccessRequest, Approver]]:
    """The transaction of a decision: the row locked, its state and the right to decide checked at this moment."""
    try:
        with transaction.atomic():
            request = locked(request_id)
            _check_undecided(request, digest)
            approver = routing.approver_of(tenant, request, user)
            if approver is None:
                raise refusal(tenant, request, user)
            yield request, approver
    except IntegrityError as error:
        # The database keeps the rule of four eyes as well; what it refuses there is refused here in words.
        if "four eyes" in str(error):
            raise four_eyes() from error
        raise


def _check_undecided(request: AccessRequest, digest: str) -> None:
    if digest and request.digest != digest:
        raise ConflictError(
            "The request was changed after you opened it.",
            code="access.request_changed",
            next_step="Read it again, and decide about what it asks now.",
        )
    if not request.undecided:
        raise ConflictError(
            f"This request is decided: {request.get_state_display().lower()}.", code="access.request_decided"
        )


def refusal(tenant: Tenant, request: AccessRequest, user: User) -> ForbiddenError:
    """Why this person cannot decide, and who can."""
    if user.pk in routing.barred_people(tenant, request):
        return four_eyes()
    if routing.is_for_provider(request):
        return ForbiddenError(
            "The provider of the server decides this step.", code="access.provider_decides", next_step="Wait for it."
        )
    names = " or ".join(each.user.email for each in routing.approvers(tenant, request)[:3])
    return ForbiddenError(
        "This request is for others to decide.",
        code="access.not_approver",
        next_step=f"Ask {names}." if names else "Invite a colleague who may manage access.",
    )


def four_eyes() -> ForbiddenError:
    return ForbiddenError(
        "Nobody approves access that they asked for, that is for themselves, or that they approved at an earlier step.",
        code="access.four_eyes",
        next_step="Another person has to decide.",
    )


def _less(terms: Terms | None, left: Terms) -> dict[str, object]:
    return {"less": terms.as_json()} if terms is not None and terms != left else {}


def _comment(text: str, missing: str = "") -> str:
    text = text.replace("\x00", "").strip()
    if missing and not text:
        raise InvalidError(missing, code="access.comment_missing", field="comment")
    if len(text) > COMMENT_MAX:
        raise InvalidError(f"Use at most {COMMENT_MAX} characters.", code="access.comment_long", field="comment")
    return text
