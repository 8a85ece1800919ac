"""Who is there: organisations, people, keys, and what they set. One file per aggregate."""

from tenants.models.api_key import APIKey
from tenants.models.membership import Invitation, Membership
from tenants.models.setting import SettingValue
from tenants.models.tenant import Domain, Team, Tenant
from tenants.models.user import User

__all__ = ["APIKey", "Domain", "Invitation", "Membership", "SettingValue", "Team", "Tenant", "User"]
