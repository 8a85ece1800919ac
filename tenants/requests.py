"""The request as our middleware leaves it, for type checking: who looks, and through which organisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest

if TYPE_CHECKING:
    from django_htmx.middleware import HtmxDetails

    from tenants.models import Membership, Tenant, User


class MarketRequest(HttpRequest):
    """Any page's request. `organisation` is None for the anonymous and for people without one."""

    request_id: str
    htmx: HtmxDetails
    organisation: Tenant | None
    membership: Membership | None


class OrganisationRequest(MarketRequest):
    """A request under `/o/<org>/`: signed in, a member, inside the organisation's schema."""

    user: User  # type: ignore[assignment]
    organisation: Tenant
    membership: Membership
