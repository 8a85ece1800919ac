"""Issuing and revoking API keys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction

from audit import services as audit
from core import addresses, clock, keys
from core.errors import InvalidError, NotFoundError
from tenants.choices import ListForm, Scope
from tenants.context import tenant_scope
from tenants.models import APIKey, Team, Tenant, User
from tenants.services import revisions

_ENV = {"production": "live", "development": "dev", "test": "test"}


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key and its text: the only moment at which the text exists."""

    key: APIKey
    text: str


ENVIRONMENT = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,38}[a-z0-9])?\Z")


def issue(
    *,
    tenant: Tenant,
    name: str,
    scopes: Sequence[str],
    actor: User | None,
    server_ids: Sequence[UUID] = (),
    networks: Sequence[str] = (),
    agent: str = "",
    team: Team | None = None,
    expires_at: datetime | None = None,
    list_form: str = ListForm.ALL,
) -> IssuedKey:
    """Make a key. Raises InvalidError for an empty name, an unknown scope, a wrong address range or a past expiry.

    `list_form` is all or search: which tools there are to choose is not known before the key is; see `set_lists`.
    """
    name = name.strip()
    if not name:
        raise InvalidError("A key needs a name.", code="tenants.key_name_missing", field="name")
    if not scopes or not set(scopes) <= set(Scope.values):
        raise InvalidError(
            f"Choose at least one of the scopes {', '.join(Scope.values)}.",
            code="tenants.key_scope_unknown",
            field="scopes",
        )
    if expires_at is not None and expires_at <= clock.now():
        raise InvalidError("The expiry must be in the future.", code="tenants.key_expiry_past", field="expires_at")
    if team is not None and team.tenant_id != tenant.pk:
        raise NotFoundError("There is no such team in this organisation.")
    if list_form not in {ListForm.ALL, ListForm.SEARCH}:
        raise InvalidError("Choose what is listed.", code="tenants.key_list_form_unknown", field="lists")
    text = keys.mint(_ENV[settings.ENVIRONMENT])
    with transaction.atomic():
        key = APIKey.objects.create(
            tenant=tenant,
            name=name[:100],
            key_id=text.key_id,
            secret_digest=keys.digest(text.secret, settings.KEY_PEPPER),
            env=text.env,
            scopes=sorted(set(scopes)),
            server_ids=sorted(set(server_ids)),
            networks=addresses.parse_ranges(networks),
            agent=agent.strip()[:100],
            team=team,
            created_by=actor,
            expires_at=expires_at,
            list_form=list_form,
        )
        _audit(tenant, "tenants:api_key:issued", actor, key, {"scopes": key.scopes})
        revisions.touch(tenant.pk)
    return IssuedKey(key, str(text))


def revoke(*, tenant: Tenant, key_id: UUID, actor: User) -> APIKey:
    """Take a key back; a second time changes nothing. Raises NotFoundError for a key of another organisation."""
    with transaction.atomic():
        key = APIKey.objects.select_for_update().filter(tenant=tenant, pk=key_id).first()
        if key is None:
            raise NotFoundError("There is no such key in this organisation.")
        if key.revoked_at is None:
            key.revoked_at = clock.now()
            key.save(update_fields=["revoked_at", "updated_at"])
            _audit(tenant, "tenants:api_key:revoked", actor, key, {})
            revisions.touch(tenant.pk, ended=[key.pk])
    return key


def set_environment(*, tenant: Tenant, key_id: UUID, environment: str, actor: User | None) -> APIKey:
    """Say what a key is for. Raises InvalidError for what is no short name, NotFoundError for a key of somebody else."""
    if environment and not ENVIRONMENT.match(environment):
        raise InvalidError(
            "An environment is a short name such as production or staging: lower-case letters, digits, dots and hyphens.",
            code="tenants.key_environment_invalid",
            field="environment",
        )
    with transaction.atomic():
        key = APIKey.objects.select_for_update().filter(tenant=tenant, pk=key_id).first()
        if key is None:
            raise NotFoundError("There is no such key in this organisation.")
        if key.environment != environment:
            key.environment = environment
            key.save(update_fields=["environment", "updated_at"])
            _audit(tenant, "tenants:api_key:environment_changed", actor, key, {"environment": environment})
            revisions.touch(tenant.pk)
    return key


def set_asserts_identity(*, tenant: Tenant, key_id: UUID, asserts: bool, actor: User | None) -> APIKey:
    """Let a key say for whom it calls, or no longer; the same again changes nothing.

    Raises NotFoundError for a key of another organisation.
    """
    with transaction.atomic():
        key = APIKey.objects.select_for_update().filter(tenant=tenant, pk=key_id).first()
        if key is None:
            raise NotFoundError("There is no such key in this organisation.")
        if key.asserts_identity != asserts:
            key.asserts_identity = asserts
            key.save(update_fields=["asserts_identity", "updated_at"])
            _audit(tenant, "tenants:api_key:assertion_changed", actor, key, {"asserts_identity": asserts})
            revisions.touch(tenant.pk)
    return key


def set_lists(*, tenant: Tenant, key_id: UUID, form: str, tools: Sequence[str] = (), actor: User) -> APIKey:
    """Say what the aggregated endpoint lists for a key; `tools` are names there and count in the form chosen only.

    Raises NotFoundError for a key of another organisation, InvalidError for an unknown form or a choice of nothing.
    """
    if form not in ListForm.values:
        raise InvalidError("Choose what is listed.", code="tenants.key_list_form_unknown", field="form")
    chosen = sorted(set(tools)) if form == ListForm.CHOSEN else []
    if form == ListForm.CHOSEN and not chosen:
        raise InvalidError("Choose at least one tool.", code="tenants.key_tools_missing", field="tools")
    with transaction.atomic():
        key = APIKey.objects.select_for_update().filter(tenant=tenant, pk=key_id).first()
        if key is None:
            raise NotFoundError("There is no such key in this organisation.")
        if (key.list_form, key.chosen_tools) != (form, chosen):
            key.list_form, key.chosen_tools = form, chosen
            key.save(update_fields=["list_form", "chosen_tools", "updated_at"])
            _audit(tenant, "tenants:api_key:lists_changed", actor, key, {"form": form, "tools": len(chosen)})
            revisions.touch(tenant.pk)
    return key


def _audit(tenant: Tenant, action: str, actor: User | None, key: APIKey, data: dict[str, object]) -> None:
    with tenant_scope(tenant):
        audit.record(
            action,
            actor=audit.Party("user", str(actor.pk), actor.email) if actor else audit.SYSTEM,
            target=audit.Party("api_key", str(key.pk), key.name),
            data=data,
        )
