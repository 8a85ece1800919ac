"""People of one organisation as its directory says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet, Value
from django.db.models.functions import Coalesce, Concat, NullIf, Trim

from audit import services as audit
from core.errors import ConflictError, MarketplaceError
from tenants.choices import Role
from tenants.models import DirectoryUser, IdentityProvider, Tenant
from tenants.scim import reading
from tenants.scim.errors import ScimError, invalid
from tenants.scim.filters import Attribute, Kind
from tenants.scim.reading import Change
from tenants.services import directory

FILTERS = {
    "username": Attribute("user_name", is_always=True),
    "externalid": Attribute("external_id", Kind.EXACT),
    "displayname": Attribute("shown_name", is_always=True),
    "name.givenname": Attribute("given_name"),
    "name.familyname": Attribute("family_name"),
    "emails.value": Attribute("user__email", is_always=True),
    "emails": Attribute("user__email", is_always=True),
    "active": Attribute("active", Kind.FLAG),
    "meta.created": Attribute("created_at", Kind.MOMENT),
    "meta.lastmodified": Attribute("updated_at", Kind.MOMENT),
    "id": Attribute("pk", Kind.ID),
}
_WHOLE_NAME = Trim(Concat("given_name", Value(" "), "family_name"))
_SHOWN_NAME = Coalesce(NullIf("display_name", Value("")), NullIf(_WHOLE_NAME, Value("")), "user_name")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person is to be like. `address` names the account, and only when one is made or found."""

    user_name: str
    address: str
    external_id: str = ""
    given_name: str = ""
    family_name: str = ""
    display_name: str = ""
    active: bool = True

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Wanted:
        user_name = reading.text(body, "userName", 254)
        if not user_name:
            raise invalid("userName is missing.")
        given, family = reading.name_of(body)
        active = reading.member(body, "active")
        return cls(
            user_name,
            reading.address_of(body),
            reading.text(body, "externalId", 255),
            given,
            family,
            reading.text(body, "displayName", 200),
            True if active is None else reading.as_bool(active),
        )


def rows_of(tenant: Tenant) -> QuerySet[DirectoryUser]:
    return DirectoryUser.objects.select_related("user", "tenant").filter(tenant=tenant)


def searchable(tenant: Tenant) -> QuerySet[DirectoryUser]:
    """With the name that is shown for them, which filters are about."""
    return rows_of(tenant).annotate(shown_name=_SHOWN_NAME)


def find(tenant: Tenant, user_id: UUID) -> DirectoryUser:
    row = rows_of(tenant).filter(pk=user_id).first()
    if row is None:
        raise ScimError(404, "There is no such user in this organisation.")
    return row


def create(tenant: Tenant, body: Mapping[str, Any], actor: audit.Party) -> DirectoryUser:
    """Raises ScimError: 409 for somebody who is there, 400 for an address that is not the organisation's."""
    wanted = Wanted.of(body)
    with _translated(), transaction.atomic():
        address = directory.require_address(tenant, wanted.address)
        user, _ = directory.account_for(
            address, wanted.display_name or f"{wanted.given_name} {wanted.family_name}".strip()
        )
        row = rows_of(tenant).filter(user=user).first()
        if row is not None and row.provisioned:
            raise ScimError(409, "There is such a user already.", "uniqueness")
        if row is None:
            row = DirectoryUser(tenant=tenant, user=user, active=False, provisioned=True)
        else:
            row.provisioned = True
            row.save(update_fields=["provisioned", "updated_at"])
        _fill(row, wanted, actor)
    return row


def put(row: DirectoryUser, body: Mapping[str, Any], actor: audit.Party) -> DirectoryUser:
    """Replace everything but the account."""
    wanted = Wanted.of(body)
    with _translated(), transaction.atomic():
        _fill(row, wanted, actor)
    return row


def patch(row: DirectoryUser, body: Mapping[str, Any], actor: audit.Party) -> DirectoryUser:
    wanted = Wanted(
        row.user_name, row.user.email, row.external_id, row.given_name, row.family_name, row.display_name, row.active
    )
    for change in reading.changes_of(body):
        wanted = _changed(wanted, change)
    with _translated(), transaction.atomic():
        _fill(row, wanted, actor)
    return row


def remove(row: DirectoryUser, actor: audit.Party) -> None:
    """The directory knows the person no more. Their account stays, because it is theirs."""
    with _translated(), transaction.atomic():
        directory.put_out(row, actor=actor)
        party = audit.Party("user", str(row.user_id), row.user.email)
        directory.record(row.tenant, "tenants:directory:user_removed", actor, party, {"user_name": row.user_name})
        row.delete()


_TEXTS = {
    "username": ("user_name", 254),
    "externalid": ("external_id", 255),
    "displayname": ("display_name", 200),
    "name.givenname": ("given_name", 150),
    "name.familyname": ("family_name", 150),
}


def _changed(wanted: Wanted, change: Change) -> Wanted:
    """Attributes that we do not keep are taken and left, as the standard allows."""
    gone = change.op == "remove"
    if change.attribute == "active":
        return replace(wanted, active=False if gone else reading.as_bool(change.value))
    if change.attribute == "name" and isinstance(change.value, Mapping):
        given, family = reading.name_of({"name": change.value})
        return replace(wanted, given_name=given or wanted.given_name, family_name=family or wanted.family_name)
    if change.attribute in _TEXTS:
        field, most = _TEXTS[change.attribute]
        value = "" if gone else reading.plain_text(change.value, change.attribute, most)
        if field == "user_name" and not value:
            raise invalid("userName cannot be removed.", "mutability")
        return replace(wanted, **{field: value})  # type: ignore[arg-type]  # fields of text only
    return wanted


def _fill(row: DirectoryUser, wanted: Wanted, actor: audit.Party) -> None:
    before = {name: getattr(row, name) for name in _KEPT}
    is_new = row._state.adding
    for name in _KEPT:
        setattr(row, name, getattr(wanted, name))
    changed = sorted(name for name in _KEPT if before[name] != getattr(row, name))
    if is_new or changed:
        row.save()
        verb = "user_added" if is_new else "user_changed"
        data: dict[str, object] = {"user_name": row.user_name, "fields": changed}
        party = audit.Party("user", str(row.user_id), row.user.email)
        directory.record(row.tenant, f"tenants:directory:{verb}", actor, party, data)
    if wanted.active and not row.active:
        directory.admit(row, role=_role(row.tenant), actor=actor)
    elif not wanted.active and (row.active or is_new):
        directory.put_out(row, actor=actor)


_KEPT = ("user_name", "external_id", "given_name", "family_name", "display_name")


def _role(tenant: Tenant) -> str:
    provider = IdentityProvider.objects.filter(owner_tenant=tenant).first()
    return provider.default_role if provider else str(Role.MEMBER)


class _translated:  # noqa: N801 - reads as a word in a with statement
    """Our refusals in the standard's words."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, IntegrityError):
            raise ScimError(409, "Another user has this userName.", "uniqueness") from error
        if isinstance(error, ConflictError):
            raise ScimError(409, error.message) from error
        if isinstance(error, MarketplaceError):
            raise invalid(f"{error.message} {error.next_step}") from error
