"""The provider's part: of a restricted server of another organisation, its owner approves as well.

The provider is told what the request says and nothing else; the copy stands in the provider's own schema, and the answer is
written back as one more step of the request. Everything happens in one transaction over both schemas.
"""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from access.models import AccessRequest, EventKind, ProviderReview
from access.requests import routing, telling
from access.requests.events import audited, locked, noted, open_terms
from audit import services as audit
from catalog.models import Server
from catalog.selectors.listing import visible_to
from catalog.types import Viewer
from core import clock
from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from tenants.choices import Right
from tenants.context import PLATFORM, platform_scope, tenant_scope, viewer
from tenants.models import Membership, Tenant
from tenants.selectors.people import holders


def tell(tenant: Tenant, request: AccessRequest, server: Server | None = None) -> None:
    """Show the request to the provider once its step is reached. A request of an earlier version is replaced."""
    owner = _owner(request, server)
    if owner is None:
        return
    if not routing.is_for_provider(request):
        close(tenant, request)
        return
    terms = open_terms(request)
    values = {
        "tenant_id": tenant.pk,
        "organisation": tenant.name,
        "server_id": request.server_id,
        "requester_label": request.requester_label,
        "tools": [tool for tool in request.tools if not terms.tools or tool["name"] in terms.tools],
        "max_trust": terms.max_trust,
        "side_effects": list(terms.side_effects),
        "reason": request.reason,
        "duration_h": terms.duration_h,
        "digest": request.digest,
        "state": "open",
    }
    with tenant_scope(owner):
        ProviderReview.objects.update_or_create(pk=request.pk, defaults=values)
        telling.tell_provider(owner, tenant, request, holders(owner, Right.PUBLISH))


def close(tenant: Tenant, request: AccessRequest) -> None:
    """Nothing is asked of the provider any more."""
    if not any(routing.PROVIDER in stage["any_of"] for stage in request.route):
        return
    owner = _owner(request)
    if owner is not None:
        with tenant_scope(owner):
            ProviderReview.objects.filter(pk=request.pk, state="open").update(state="closed", updated_at=clock.now())


def decide(*, actor: Membership, review_id: UUID, approve: bool, digest: str, comment: str = "") -> ProviderReview:
    """The provider's answer. Runs inside the provider's schema; the step is noted in the asking organisation's."""
    from access.requests import deciding  # noqa: PLC0415 - deciding tells providers, and providers decide

    if not actor.can(Right.PUBLISH):
        raise ForbiddenError("Only those who publish servers decide about them.", code="access.not_provider")
    if not approve and not comment.strip():
        raise InvalidError("Say why, so that the requester knows what to do.", field="comment")
    with transaction.atomic():
        review = ProviderReview.objects.select_for_update().filter(pk=review_id).first()
        if review is None:
            raise NotFoundError("There is no such request to this organisation.")
        if review.state != "open" or review.digest != digest:
            raise ConflictError("This request was changed or decided meanwhile.", code="access.request_changed")
        review.state, review.decided_at = "approved" if approve else "rejected", clock.now()
        review.decided_by_label, review.comment = actor.user.email, comment.strip()[:1000]
        review.save()
        audit.record(
            f"access:provider_review:{review.state}",
            actor=audit.Party("user", str(actor.user_id), actor.user.email),
            target=audit.Party("request", str(review.pk), review.organisation),
        )
        with platform_scope():
            asking = Tenant.objects.get(pk=review.tenant_id)
        with tenant_scope(asking):
            request = locked(review.pk)
            if request.digest != digest or not request.undecided or not routing.is_for_provider(request):
                raise ConflictError("This request was changed or decided meanwhile.", code="access.request_changed")
            if actor.user_id in routing.barred_people(asking, request):
                raise deciding.four_eyes()
            kind = EventKind.APPROVED if approve else EventKind.REJECTED
            noted(request, kind, actor=actor.user, comment=review.comment, via="provider")
            audited(f"access:request:{kind}", actor.user, request, {"stage": request.stage, "via": "provider"})
            if approve:
                deciding.advance(asking, request, actor.user)
            else:
                deciding.end_rejected(asking, request, review.comment)
    return review


def _owner(request: AccessRequest, server: Server | None = None) -> Tenant | None:
    if not any(routing.PROVIDER in stage["any_of"] for stage in request.route):
        return None
    if server is None:
        with viewer(PLATFORM):
            server = visible_to(Viewer(platform=True)).filter(pk=request.server_id).first()
    return server.owner_tenant if server is not None else None
