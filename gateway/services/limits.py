"""What limits need from the control plane: sums of the past, and people who are told. Called in threads of the gateway."""

from __future__ import annotations

from django.db import transaction
from django.urls import reverse

from access.limits import LimitKind, LimitRule, Window, from_units, to_units
from billing.services import prepaid as prepaid_credit
from calls import selectors as calls
from gateway.admission.budgets import Subject
from gateway.services import prepaid
from notifications import services as notifications
from notifications.services import webhooks
from tenants.choices import Right
from tenants.context import platform_scope, tenant_scope
from tenants.models import Tenant
from tenants.selectors.people import holders

REACHED = "limits.reached"


def spent(subject: Subject, rule: LimitRule, window: Window) -> int:
    """What a quota or cap has used, from the rows of calls; in the units of the rule. Raises Tenant.DoesNotExist."""
    with platform_scope():
        tenant = Tenant.objects.get(pk=subject.tenant_id)
    if prepaid.is_prepaid(rule):
        return prepaid.spent(tenant)
    with tenant_scope(tenant):
        count, money = calls.billed_since(
            window.starts_at,
            window.ends_at,
            currency=rule.currency,
            key_id=subject.key_id,
            server_id=subject.server_id,
            tool=subject.tool,
            price_version_id=subject.price_version_id,
        )
    return count if rule.kind is LimitKind.QUOTA else to_units(money)


def tell(subject: Subject, rule: LimitRule, percent: int, used: int) -> None:
    """Tell that a quota or cap has reached a share of itself, those who look after access, and of caps those who see the bills.

    Each share is told once per period, by page, mail and webhook.
    """
    with platform_scope():
        tenant = Tenant.objects.get(pk=subject.tenant_id)
    if prepaid.is_prepaid(rule):
        # How much is left says more than a share of all that was ever bought: people choose what is little.
        prepaid_credit.look_soon(tenant)
        return
    title = f"{rule.name}: {percent} % of this {rule.period}'s limit is used"
    rights = [Right.MANAGE_ACCESS, Right.VIEW_BILLING] if rule.kind is LimitKind.CAP else [Right.MANAGE_ACCESS]
    with tenant_scope(tenant), transaction.atomic():
        url = reverse("org:limits", args=[tenant.slug])
        facts = {"limit": rule.name, "percent": percent, "used": _amount(rule, used), "of": _amount(rule, rule.amount)}
        webhooks.emit(
            tenant.pk, "access.limit.reached", {**facts, "period": rule.period, "hard": rule.hard, "url": url}
        )
        for person in {person.pk: person for right in rights for person in holders(tenant, right)}.values():
            notifications.notify(
                kind=REACHED,
                title=title,
                body=f"{_amount(rule, used)} of {_amount(rule, rule.amount)}. {_consequence(rule, percent)}",
                url=url,
                recipient_id=person.pk,
                email=person.email,
            )


def _amount(rule: LimitRule, units: int) -> str:
    if rule.kind is LimitKind.QUOTA:
        return f"{units} calls"
    return f"{from_units(units):.2f} {rule.currency}"


def _consequence(rule: LimitRule, percent: int) -> str:
    if not rule.hard:
        return "The limit is soft: calls go on."
    if percent >= 100:
        return f"Calls that count towards it are refused until the next {rule.period}, or until it is raised."
    return "At 100 % calls that count towards it are refused."
