"""Reading plans: what may be chosen, and which terms hold for an organisation."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db.models import F, Q, QuerySet

from billing.models import Plan, PlanVersion, Subscription
from core import clock


def offered(at: datetime | None = None) -> list[PlanVersion]:
    """The terms of every plan for everybody, the smallest plan first."""
    return list(
        PlanVersion.objects.filter(tenant=None, effective_from__lte=at or clock.now())
        .select_related("plan")
        .order_by("plan__rank", "-effective_from")
        .distinct("plan__rank")
    )


def terms_for(plan: Plan, tenant_id: UUID, at: datetime | None = None) -> PlanVersion | None:
    """What an organisation gets when it takes a plan: what was agreed with it, else the terms for everybody."""
    return (
        PlanVersion.objects.filter(Q(tenant=None) | Q(tenant_id=tenant_id), plan=plan)
        .filter(effective_from__lte=at or clock.now())
        .select_related("plan")
        .order_by(F("tenant").asc(nulls_last=True), "-effective_from")
        .first()
    )


def stretches(tenant_id: UUID) -> QuerySet[Subscription]:
    """Every subscription of an organisation that held, holds or will hold, in order."""
    return (
        Subscription.objects.filter(tenant_id=tenant_id)
        .exclude(ends_at=F("starts_at"))
        .select_related("plan_version__plan")
        .order_by("starts_at")
    )


def subscription(tenant_id: UUID, at: datetime | None = None) -> Subscription | None:
    """What an organisation chose that holds at a moment; None: nothing."""
    moment = at or clock.now()
    held = stretches(tenant_id).filter(starts_at__lte=moment)
    return held.filter(Q(ends_at=None) | Q(ends_at__gt=moment)).first()


def upcoming(tenant_id: UUID, at: datetime | None = None) -> Subscription | None:
    """What an organisation chose for a later moment."""
    return stretches(tenant_id).filter(starts_at__gt=at or clock.now()).first()


def current(tenant_id: UUID, at: datetime | None = None) -> PlanVersion | None:
    """The terms that hold for an organisation: of its subscription, else of the plan for those who chose none, if any."""
    held = subscription(tenant_id, at)
    return held.plan_version if held is not None else default_terms(at)


def default_terms(at: datetime | None = None) -> PlanVersion | None:
    slug = settings.BILLING_DEFAULT_PLAN
    if not slug:
        return None
    return (
        PlanVersion.objects.filter(plan__slug=slug, tenant=None, effective_from__lte=at or clock.now())
        .select_related("plan")
        .order_by("-effective_from")
        .first()
    )


def due_to_apply(at: datetime) -> Iterable[Subscription]:
    """Stretches that began, or after which nothing follows, of which gateways have not been told."""
    return Subscription.objects.filter(
        Q(applied_at=None, starts_at__lte=at) | Q(applied_at__lt=F("ends_at"), ends_at__lte=at)
    ).select_related("tenant")
