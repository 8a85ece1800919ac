"""What a member may see and do about money by a key that they made: the rights of the pages, counted by the minute."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from audit import services as audit
from tenants.api.members import ForMembersAPI
from tenants.api.throttles import CallerThrottle
from tenants.choices import Right
from tenants.models import Membership
from tenants.services.rights import require


class BillingAPI(ForMembersAPI):
    throttle_classes = [CallerThrottle]
    throttle_name = "billing"

    def viewer(self, request: Request) -> Membership:
        """Raises ForbiddenError for a member who may not see bills."""
        return self._with(request, Right.VIEW_BILLING)

    def payer(self, request: Request) -> Membership:
        """Raises ForbiddenError for a member who may not pay."""
        return self._with(request, Right.MANAGE_BILLING)

    def _with(self, request: Request, right: Right) -> Membership:
        member = self.actor(request)
        require(member, right)
        return member


def party(member: Membership) -> audit.Party:
    return audit.Party("user", str(member.user_id), member.user.email)


def valid(body: serializers.Serializer[Any]) -> dict[str, Any]:
    """What was sent, checked. Raises ValidationError."""
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)
