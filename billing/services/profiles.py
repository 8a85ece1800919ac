"""Who an organisation's invoices are addressed to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from audit import services as audit
from billing.models import BillingProfile
from core.errors import InvalidError
from tenants.models import Tenant

EMAILS_MAX = 10
_TEXTS = (
    "legal_name",
    "street",
    "street_more",
    "postal_code",
    "city",
    "region",
    "country",
    "tax_id",
    "reference",
)


def change(*, tenant: Tenant, values: Mapping[str, Any], actor: audit.Party) -> BillingProfile:
    """Write what is given and leave the rest. Invoices that are open keep what they say.

    Raises InvalidError, which names the field, for a value that an invoice cannot carry.
    """
    with transaction.atomic():
        profile, _ = BillingProfile.objects.select_for_update().get_or_create(tenant=tenant)
        for name in _TEXTS:
            if name in values:
                setattr(profile, name, _text(name, values[name]))
        if "emails" in values:
            profile.emails = _emails(values["emails"])
        profile.country = _country(profile.country)
        # In capitals a text can be longer than it was.
        profile.tax_id = _text("tax_id", profile.tax_id.replace(" ", "").upper())
        profile.save()
        # Names only: addresses of people stay out of the log.
        audit.record(
            "billing:profile:changed",
            actor=actor,
            target=audit.Party("organisation", str(tenant.pk), tenant.name),
            data={"fields": sorted(set(values) & {*_TEXTS, "emails"})},
        )
    return profile


def seller() -> dict[str, str]:
    """The selling company as documents say it, and as it is kept on them."""
    return dict(settings.BILLING_SELLER)


def buyer(tenant: Tenant) -> dict[str, Any]:
    """The organisation as documents say it. Without a profile, by its name alone."""
    profile = BillingProfile.objects.filter(tenant=tenant).first() or BillingProfile(tenant=tenant)
    return {name: getattr(profile, name) for name in _TEXTS} | {
        "legal_name": profile.legal_name or tenant.name,
        "emails": list(profile.emails),
        "organisation": tenant.slug,
    }


def _text(name: str, value: object) -> str:
    text = " ".join(str(value or "").replace("\x00", "").split())
    limit = getattr(BillingProfile._meta.get_field(name), "max_length", 0)
    if name != "country" and len(text) > limit:
        raise InvalidError(f"Use up to {limit} characters.", code="billing.profile_too_long", field=name)
    return text


def _country(text: str) -> str:
    country = text.upper()
    if country and not (len(country) == 2 and country.isascii() and country.isalpha()):
        raise InvalidError(
            "A country is two letters, such as DE or US.", code="billing.profile_country", field="country"
        )
    return country


def _emails(values: object) -> list[str]:
    given = values if isinstance(values, list) else str(values or "").replace(",", " ").split()
    found = list(dict.fromkeys(str(each).strip() for each in given if str(each).strip()))
    if len(found) > EMAILS_MAX:
        raise InvalidError(f"Give up to {EMAILS_MAX} addresses.", code="billing.profile_emails", field="emails")
    for each in found:
        try:
            validate_email(each)
        except ValidationError as error:
            raise InvalidError(
                f"{each[:80]} is no mail address.", code="billing.profile_emails", field="emails"
            ) from error
    return found
