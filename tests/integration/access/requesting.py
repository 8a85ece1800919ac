"""Asking and deciding in tests, with the fixed cast: bob asks, alice and carol decide."""

from __future__ import annotations

from access.models import AccessRequest
from access.requests import deciding, opening
from access.requests.opening import Ask
from tenants.choices import Role
from tenants.context import tenant_scope
from tenants.models import Membership
from tests.support.cast import make_person


def member(tenant, user) -> Membership:
    return Membership.objects.select_related("tenant", "user").get(tenant=tenant, user=user)


def join(tenant, name: str, role: str = Role.ADMIN) -> Membership:
    """Another person of the organisation."""
    person = make_person(name.capitalize(), f"{name}@{tenant.slug}.example")
    return Membership.objects.create(tenant=tenant, user=person, role=role)


def wish(cast, **changes) -> Ask:
    values = {
        "tools": ("list_invoices",),
        "reason": "Month end",
        "duration_h": 24,
        "user": str(cast.bob.pk),
    } | changes
    return Ask(**values)


def ask(cast, *, by=None, server=None, **changes) -> AccessRequest:
    """bob asks for payments, unless something else is said. The caller is in acme's scope."""
    actor = by or member(cast.acme, cast.bob)
    return opening.open_request(actor=actor, server=server or cast.payments, ask=wish(cast, **changes))


def approve(cast, request: AccessRequest, user=None, **more) -> AccessRequest:
    values = {"digest": request.digest} | more
    return deciding.approve(tenant=cast.acme, user=user or cast.alice, request_id=request.pk, **values)


def within(cast):
    return tenant_scope(cast.acme)
