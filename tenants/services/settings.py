"""Values of flags: reading them, and changing them with a record of who did.

An organisation's value beats the platform's, which beats the default. Nothing is cached: a change holds from the next read on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from audit import services as audit
from core.errors import ForbiddenError, InvalidError
from tenants.choices import Right
from tenants.context import platform_scope, tenant_scope
from tenants.flags import Flag, Group, get_flag, groups, type_value
from tenants.models import Membership, SettingValue, Tenant, User
from tenants.services import rights


@dataclass(frozen=True, slots=True)
class Setting:
    """A flag with its value in one place (the platform, or an organisation) and where the value comes from."""

    flag: Flag
    value: type_value
    source: str
    changed_by: str
    changed_at: datetime | None
    inherited: type_value

    @property
    def own(self) -> bool:
        """Was the value set in this very place?"""
        return self.changed_at is not None

    @property
    def shown(self) -> str:
        return self.flag.show(self.value)

    @property
    def default_shown(self) -> str:
        return self.flag.show(self.flag.default)

    @property
    def inherited_shown(self) -> str:
        return self.flag.show(self.inherited)


def get(name: str, tenant: Tenant | None = None) -> type_value:
    """The value that holds for an organisation, or for the platform. Raises NotFoundError for a flag that nobody declared."""
    return get_setting(name, tenant).value


def get_bool(name: str, tenant: Tenant | None = None) -> bool:
    return bool(get(name, tenant))


def get_int(name: str, tenant: Tenant | None = None) -> int:
    value = get(name, tenant)
    assert isinstance(value, int), f"{name} is no number"
    return value


def get_text(name: str, tenant: Tenant | None = None) -> str:
    value = get(name, tenant)
    assert isinstance(value, str), f"{name} is no text"
    return value


def get_setting(name: str, tenant: Tenant | None = None) -> Setting:
    flag = get_flag(name)
    stored = {row.tenant_id: row for row in _rows(tenant).filter(name=name)}
    return _resolve(flag, stored.get(None), stored.get(tenant.pk) if tenant else None, for_tenant=tenant is not None)


def list_settings(tenant: Tenant | None = None) -> list[tuple[Group, list[Setting]]]:
    """Every flag of the scope with its value, grouped by app; what has an effect comes first, in groups and among them."""
    stored = {(row.tenant_id, row.name): row for row in _rows(tenant)}
    listed = []
    for group in groups():
        settings = [
            _resolve(
                flag,
                stored.get((None, flag.name)),
                stored.get((tenant.pk, flag.name)) if tenant else None,
                for_tenant=tenant is not None,
            )
            for flag in group.flags
            if (flag.of_organisation if tenant else flag.of_platform)
        ]
        if settings:
            listed.append((group, sorted(settings, key=lambda setting: bool(setting.flag.awaits))))
    return sorted(listed, key=lambda pair: bool(pair[1][0].flag.awaits))


def put(*, name: str, value: object, actor: User, membership: Membership | None = None) -> Setting:
    """Set a value for the membership's organisation, or for the platform when there is none.

    Raises ForbiddenError without the right, InvalidError for a value that the flag does not take.
    """
    flag = _changeable(name, actor, membership)
    parsed = flag.parse(value)
    tenant = membership.tenant if membership else None
    with transaction.atomic():
        before = get_setting(name, tenant)
        if before.value == parsed and (before.own or parsed == before.inherited):
            return before
        SettingValue.objects.update_or_create(tenant=tenant, name=name, defaults={"value": parsed, "changed_by": actor})
        _record("tenants:setting:changed", actor, tenant, name, {"from": before.value, "to": parsed})
    return get_setting(name, tenant)


def reset(*, name: str, actor: User, membership: Membership | None = None) -> Setting:
    """Go back to what is inherited: the platform's value, or the default."""
    _changeable(name, actor, membership)
    tenant = membership.tenant if membership else None
    with transaction.atomic():
        before = get_setting(name, tenant)
        if before.own:
            SettingValue.objects.filter(tenant=tenant, name=name).delete()
            _record("tenants:setting:reset", actor, tenant, name, {"from": before.value, "to": before.inherited})
    return get_setting(name, tenant)


def _rows(tenant: Tenant | None) -> QuerySet[SettingValue]:
    rows = SettingValue.objects.select_related("changed_by").filter(tenant=None)
    if tenant is not None:
        rows = rows | SettingValue.objects.select_related("changed_by").filter(tenant=tenant)
    return rows


def _resolve(flag: Flag, platform: SettingValue | None, own: SettingValue | None, *, for_tenant: bool) -> Setting:
    # A value stored while the flag had another scope does not count.
    platform = platform if flag.of_platform else None
    own = own if flag.of_organisation else None
    platform_value = flag.default if platform is None else platform.value
    inherited = platform_value if for_tenant else flag.default
    row = own if for_tenant else platform
    source = "own" if row is not None else "platform" if for_tenant and platform is not None else "default"
    return Setting(
        flag=flag,
        value=inherited if row is None else row.value,
        source=source,
        changed_by=row.changed_by.email if row is not None and row.changed_by else "",
        changed_at=row.updated_at if row is not None else None,
        inherited=inherited,
    )


def _changeable(name: str, actor: User, membership: Membership | None) -> Flag:
    flag = get_flag(name)
    if membership is not None:
        rights.require(membership, Right.MANAGE_SETTINGS)
    elif not actor.is_staff:
        raise ForbiddenError(
            "Only an operator changes settings of the platform.", next_step="Ask an operator of the platform."
        )
    if not (flag.of_organisation if membership else flag.of_platform):
        where = "the platform" if membership else "each organisation"
        raise InvalidError(f"{name} is set by {where}.", code="tenants.setting_scope", field=name)
    return flag


def _record(action: str, actor: User, tenant: Tenant | None, name: str, data: dict[str, object]) -> None:
    with tenant_scope(tenant) if tenant else platform_scope():
        audit.record(
            action,
            actor=audit.Party("user", str(actor.pk), actor.email),
            target=audit.Party("setting", name, name),
            data=data,
        )
