"""How a server's owner has it governed: mode, defaults, sessions, and whether callers may be named in headers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from audit import services as audit
from catalog.choices import PolicyMode, Status
from catalog.models import Server
from catalog.policies import PolicySettings
from catalog.services import servers
from core.errors import InvalidError, NotFoundError


@dataclass(frozen=True, slots=True)
class Policy:
    mode: str
    settings: PolicySettings
    identity_headers: bool = False

    @classmethod
    def of(cls, server: Server) -> Policy:
        return cls(server.policy_mode, PolicySettings.of(server), server.identity_headers)

    def told(self) -> dict[str, Any]:
        return {"mode": self.mode, "identity_headers": self.identity_headers, **asdict(self.settings)}


def change(*, server_id: UUID, owner_id: UUID, policy: Policy, actor: audit.Party) -> Server:
    """Have an own server governed so from now on; gateways follow within a second. The same again changes nothing.

    Raises NotFoundError for a server of another owner, InvalidError with the field for what is wrong.
    """
    if policy.mode not in PolicyMode.values:
        raise InvalidError(
            f"A mode is one of {', '.join(PolicyMode.values)}.", code="catalog.policy_invalid", field="mode"
        )
    policy.settings.checked()
    with transaction.atomic():
        rows = Server.objects.select_for_update(of=("self",)).exclude(status=Status.REMOVED)
        server = rows.filter(pk=server_id, owner_tenant_id=owner_id).first()
        if server is None:
            raise NotFoundError("There is no such server of yours.")
        before, after = Policy.of(server).told(), policy.told()
        changed = {name: {"from": before[name], "to": after[name]} for name in after if before[name] != after[name]}
        if not changed:
            return server
        server.policy_mode, server.policy_settings = policy.mode, policy.settings.to_json()
        server.identity_headers = policy.identity_headers
        server.save(update_fields=["policy_mode", "policy_settings", "identity_headers", "updated_at"])
        audit.record("catalog:server:policy_changed", actor=actor, target=servers.party(server), data=changed)
        servers.touch(server)
    return server
