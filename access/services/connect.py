"""Connecting an agent: a key and what it may call, in one transaction. Runs inside the organisation's schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from access.services import grants
from access.services.grants import Subject
from access.types import SideEffect, SubjectKind
from catalog.models import Server
from core.errors import InvalidError
from tenants.choices import ListForm
from tenants.models import Tenant, User
from tenants.oauth import client_keys
from tenants.services import api_keys, consents
from tenants.services.api_keys import IssuedKey
from tenants.services.consents import MachineClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an agent is to be given. With `only_these_servers` it is refused elsewhere, whatever else is granted."""

    name: str
    scopes: Sequence[str]
    servers: Sequence[Server]
    agent: str = ""
    networks: Sequence[str] = ()
    expires_at: datetime | None = None
    only_these_servers: bool = True
    max_trust: str = "low"
    side_effects: Sequence[str] = (SideEffect.READ,)
    list_form: str = ListForm.ALL  # of keys; an OAuth client lists all tools
    asserts_identity: bool = False  # of keys: whether they may say for whom they call
    environment: str = ""  # of keys: what they are for
    public_keys: str = ""  # of an OAuth client that signs in place of keeping a secret: a set, or its address


def connect(*, tenant: Tenant, actor: User | None, **wishes: Any) -> IssuedKey:
    """Issue a key and grant it the servers, which the caller has checked to be visible to the organisation; see `Wish`.

    The grants end with the key. Raises InvalidError for a limit to no server, which would be none at all, and what issuing a key
    and giving a grant raise; then neither exists.
    """
    wish = Wish(**wishes)
    with transaction.atomic():
        issued = api_keys.issue(
            tenant=tenant,
            actor=actor,
            list_form=wish.list_form,
            **_credential(wish),
        )
        if wish.environment:
            api_keys.set_environment(tenant=tenant, key_id=issued.key.pk, environment=wish.environment, actor=actor)
        if wish.asserts_identity:
            api_keys.set_asserts_identity(tenant=tenant, key_id=issued.key.pk, asserts=True, actor=actor)
        _grant(tenant, wish, Subject.of(SubjectKind.KEY, str(issued.key.pk), issued.key.name), actor)
    return issued


def connect_client(*, tenant: Tenant, actor: User, **wishes: Any) -> MachineClient:
    """The same with an OAuth client in place of a key: to grants, its consent is a key like any other."""
    wish = Wish(**wishes)
    keys = (
        client_keys.of_text(wish.public_keys) if wish.public_keys else None
    )  # an address is asked, before anything is locked
    with transaction.atomic():
        made = consents.make_machine(tenant=tenant, actor=actor, keys=keys, **_credential(wish))
        _grant(tenant, wish, Subject.of(SubjectKind.KEY, str(made.consent.pk), made.consent.name), actor)
    return made


def _credential(wish: Wish) -> dict[str, Any]:
    if wish.only_these_servers and not wish.servers:
        raise InvalidError(
            "Choose the servers that the key is limited to, or let it use what is granted later.",
            code="access.key_limit_empty",
            field="only_these",
        )
    return {
        "name": wish.name,
        "scopes": wish.scopes,
        "agent": wish.agent,
        "networks": wish.networks,
        "expires_at": wish.expires_at,
        "server_ids": [server.pk for server in wish.servers] if wish.only_these_servers else (),
    }


def _grant(tenant: Tenant, wish: Wish, subject: Subject, actor: User | None) -> None:
    for server in wish.servers:
        grants.give(
            tenant=tenant,
            server=server,
            subject=subject,
            actor=actor,
            max_trust=wish.max_trust,
            side_effects=wish.side_effects,
            expires_at=wish.expires_at,
        )
