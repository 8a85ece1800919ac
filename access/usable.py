"""What the catalog shows of grants: which servers an organisation can use, and who in it can."""

from __future__ import annotations

from uuid import UUID

from access import selectors
from access.models import Grant
from catalog.selectors.usable import Holder
from core import clock
from tenants.context import tenant_scope
from tenants.models import Tenant


class GrantSource:
    """Opens the organisation's schema itself, because catalog pages are outside `/o/<org>/`."""

    def usable_servers(self, organisation: Tenant) -> set[UUID]:
        with tenant_scope(organisation):
            return set(
                Grant.objects.filter(revoked_at=None, disabled_at=None)
                .exclude(expires_at__lte=clock.now())
                .values_list("server_id", flat=True)
            )

    def holders(self, organisation: Tenant, server_id: UUID) -> list[Holder]:
        with tenant_scope(organisation):
            return [
                Holder(
                    kind=grant.kind_words.capitalize(),
                    label=grant.who,
                    trust=grant.max_trust,
                    side_effects=tuple(grant.side_effects),
                    tools=tuple(grant.tools),
                    expires_at=grant.expires_at,
                )
                for grant in selectors.live_grants_on(server_id)
            ]
