"""Who is there: organisations, people, keys, and what they set. One file per aggregate."""

from tenants.models.api_key import APIKey
from tenants.models.client_keys import ClientKeys, SpentSignIn, UsedAssertion
from tenants.models.consent import Consent
from tenants.models.elevation import Elevation
from tenants.models.identity import (
    DirectoryGroup,
    DirectoryUser,
    EmailDomain,
    GroupRule,
    IdentityProvider,
    ScimToken,
)
from tenants.models.membership import Invitation, Membership
from tenants.models.setting import SettingValue
from tenants.models.tenant import Domain, FormerSlug, Team, Tenant
from tenants.models.user import User
from tenants.models.vault import DataKey, SigningKey

__all__ = [
    "APIKey",
    "ClientKeys",
    "Consent",
    "DataKey",
    "DirectoryGroup",
    "DirectoryUser",
    "Domain",
    "Elevation",
    "EmailDomain",
    "FormerSlug",
    "GroupRule",
    "IdentityProvider",
    "Invitation",
    "Membership",
    "ScimToken",
    "SettingValue",
    "SigningKey",
    "SpentSignIn",
    "Team",
    "Tenant",
    "UsedAssertion",
    "User",
]
