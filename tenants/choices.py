"""Closed vocabularies of people and keys."""

from django.db import models


class Role(models.TextChoices):
    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    MEMBER = "member", "Member"
    BILLING = "billing", "Billing"
    AUDITOR = "auditor", "Auditor"


class Scope(models.TextChoices):
    INVOKE = "invoke", "Call servers"
    CATALOG_READ = "catalog:read", "Read the catalog"
    ADMIN = "admin", "Administer the organisation"


class ListForm(models.TextChoices):
    """What `POST /mcp` lists for a key. What the key may call is the same in all of them."""

    ALL = "all", "All tools"
    SEARCH = "search", "Search only"
    CHOSEN = "chosen", "Chosen tools"


class Right(models.TextChoices):
    """What a membership may do inside its organisation; pages and services ask for rights, never for roles."""

    VIEW_CALLS = "view_calls"
    RUN_TOOLS = "run_tools"
    MANAGE_KEYS = "manage_keys"
    MANAGE_ACCESS = "manage_access"
    PUBLISH = "publish"
    MANAGE_PEOPLE = "manage_people"
    MANAGE_SETTINGS = "manage_settings"
    VIEW_AUDIT = "view_audit"
    VIEW_BILLING = "view_billing"
    MANAGE_BILLING = "manage_billing"
    MANAGE_SOURCES = "manage_sources"


ROLE_RIGHTS: dict[str, frozenset[Right]] = {
    Role.OWNER: frozenset(Right),
    Role.ADMIN: frozenset(Right) - {Right.MANAGE_BILLING},
    Role.MEMBER: frozenset({Right.VIEW_CALLS, Right.RUN_TOOLS}),
    Role.BILLING: frozenset({Right.VIEW_CALLS, Right.VIEW_BILLING, Right.MANAGE_BILLING}),
    Role.AUDITOR: frozenset({Right.VIEW_CALLS, Right.VIEW_AUDIT, Right.VIEW_BILLING}),
}
