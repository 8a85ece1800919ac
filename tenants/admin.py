"""People, organisations and what they hold, for operators. Secrets and digests are never shown."""

from __future__ import annotations

from typing import Any, ClassVar

from allauth.account import admin as account_admin
from allauth.account.models import EmailAddress
from allauth.mfa import admin as mfa_admin
from allauth.mfa.models import Authenticator
from allauth.socialaccount import admin as social_admin
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions import admin as sessions_admin
from allauth.usersessions.models import UserSession
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as PlainGroupAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import action

from audit.admin import AuditedAdmin, operator
from core.admin import ReadOnlyAdmin
from core.errors import MarketplaceError
from tenants.models import APIKey, EmailDomain, Invitation, Membership, SettingValue, Team, Tenant, User
from tenants.services import api_keys, identity, organisations, revisions
from tenants.web.guards import person

# allauth registers its own pages when these modules are loaded. Ours replace them: they show no second-factor secret, no
# token of a social login and no session key.
assert all((account_admin, mfa_admin, social_admin, sessions_admin))
admin.site.unregister([EmailAddress, Authenticator, SocialApp, SocialAccount, SocialToken, UserSession, Group])


@admin.register(User)
class UserAdmin(AuditedAdmin):
    """People sign up and reset passwords themselves. Only superusers make operators."""

    list_display = ("email", "name", "is_staff", "is_active", "last_login", "created_at")
    list_filter = ("is_staff", "is_active")
    search_fields = ("email", "name")
    fields = ("email", "name", "is_active", "is_staff", "is_superuser", "groups", "last_login", "created_at")

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if "is_active" in form.changed_data:
            # Keys act on behalf of the people who made them, and gateways hold who may.
            for tenant_id in obj.memberships.values_list("tenant_id", flat=True):
                revisions.touch(tenant_id)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fixed = ("email", "last_login", "created_at")
        return fixed if request.user.is_superuser else (*fixed, "is_staff", "is_superuser", "groups")

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if obj is not None and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)


@admin.register(Group)
class GroupAdmin(AuditedAdmin, PlainGroupAdmin):
    """What groups of operators may do in this admin."""


@admin.register(Tenant)
class TenantAdmin(ReadOnlyAdmin):
    """Organisations make themselves; operators suspend and resume them."""

    list_display = ("name", "slug", "created_at", "suspended_at")
    search_fields = ("name", "slug")
    list_filter = (("suspended_at", admin.EmptyFieldListFilter),)
    actions: ClassVar[list[str]] = ["suspend", "resume"]

    @action(description="Suspend: nobody enters, no call is allowed", permissions=["operate"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> None:
        for tenant in queryset:
            organisations.suspend(tenant_id=tenant.pk, operator=person(request))
            messages.success(request, f"{tenant.name} is suspended.")

    @action(description="Resume", permissions=["operate"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> None:
        for tenant in queryset:
            organisations.resume(tenant_id=tenant.pk, operator=person(request))
            messages.success(request, f"{tenant.name} is open again.")


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    list_display = ("user", "tenant", "role", "created_at")
    list_select_related = ("user", "tenant")
    list_filter = ("role",)
    search_fields = ("user__email", "tenant__name", "tenant__slug")


@admin.register(Team)
class TeamAdmin(ReadOnlyAdmin):
    list_display = ("name", "namespace", "tenant")
    list_select_related = ("tenant",)
    search_fields = ("name", "slug", "tenant__name")


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    list_display = ("email", "tenant", "role", "created_at", "expires_at", "accepted_at", "withdrawn_at")
    list_select_related = ("tenant",)
    search_fields = ("email", "tenant__name", "tenant__slug")
    exclude: ClassVar[list[str]] = ["token_digest"]


@admin.register(APIKey)
class APIKeyAdmin(ReadOnlyAdmin):
    list_display = ("name", "prefix", "tenant", "state", "scopes", "expires_at", "last_used_at")
    list_select_related = ("tenant",)
    search_fields = ("name", "key_id", "tenant__name", "tenant__slug")
    exclude: ClassVar[list[str]] = ["secret_digest"]
    actions: ClassVar[list[str]] = ["revoke"]

    @action(description="Revoke", permissions=["operate"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> None:
        for key in queryset.select_related("tenant"):
            api_keys.revoke(tenant=key.tenant, key_id=key.pk, actor=person(request))
            messages.success(request, f"{key.name} of {key.tenant.name} is revoked.")


@admin.register(EmailDomain)
class EmailDomainAdmin(ReadOnlyAdmin):
    """Domains that organisations say are theirs; what no record proves an operator may confirm."""

    list_display = ("domain", "tenant", "proven_at", "proven_by")
    list_select_related = ("tenant",)
    list_filter = (("proven_at", admin.EmptyFieldListFilter),)
    search_fields = ("domain", "tenant__name", "tenant__slug")
    actions: ClassVar[list[str]] = ["confirm"]

    @action(description="Confirm: the organisation holds the domain", permissions=["operate"])
    def confirm(self, request: HttpRequest, queryset: QuerySet[EmailDomain]) -> None:
        actor = operator(request)
        for row in queryset.select_related("tenant").filter(proven_at=None):
            try:
                identity.prove_domain(row, how=f"Confirmed by {actor.label}", actor=actor)
            except MarketplaceError as error:
                messages.error(request, f"{row.domain}: {error.message}")
            else:
                messages.success(request, f"{row.domain} is a domain of {row.tenant.name}.")


@admin.register(SettingValue)
class SettingValueAdmin(ReadOnlyAdmin):
    """Values that differ from their default. Those of the platform are changed on the page of settings and flags."""

    list_display = ("name", "tenant", "value", "changed_by", "updated_at")
    list_select_related = ("tenant", "changed_by")
    search_fields = ("name", "tenant__slug")


@admin.register(EmailAddress)
class EmailAddressAdmin(ReadOnlyAdmin):
    list_display = ("email", "user", "primary", "verified")
    list_select_related = ("user",)
    list_filter = ("primary", "verified")
    search_fields = ("email", "user__email")


@admin.register(Authenticator)
class AuthenticatorAdmin(AuditedAdmin):
    """Second factors. Deleting one lets somebody who lost it sign in and set up another."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_select_related = ("user",)
    list_filter = ("type",)
    search_fields = ("user__email",)
    exclude: ClassVar[list[str]] = ["data"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
