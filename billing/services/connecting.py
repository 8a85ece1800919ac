"""Payouts to a bank account by Stripe Connect: the provider's account there, its onboarding, and whether Stripe pays it out."""

from __future__ import annotations

from uuid import UUID

from billing.gateways import stripe
from billing.models import PayoutRail, ProviderAccount
from billing.services import provider_accounts
from catalog.models import Provider
from core import jobs
from core.errors import ConflictError, NotFoundError
from tenants.models import User


def begin(*, provider: Provider, actor: User, back: str, again: str) -> str:
    """Choose Connect, and give the address of Stripe's page that asks who is paid and where to.

    It leads `back` when it was filled in or left, and to `again` when it had expired. Raises ForbiddenError for a person without
    a second factor, ConflictError before the country is known.
    """
    provider_accounts.need_second_factor(actor)
    account = provider_accounts.account_of(provider)
    if account.rail != PayoutRail.CONNECT:
        account = _chosen(account, actor)
    return stripe.gateway().onboarding_url(account.destination, back=back, again=again)


def refresh(account: ProviderAccount) -> bool:
    """Ask Stripe whether it pays out to the account, and write that down. It says so by itself too, or takes it back."""
    if account.rail != PayoutRail.CONNECT:
        return False
    is_ready = stripe.gateway().account_ready(account.destination)
    write = provider_accounts.mark_connected if is_ready else provider_accounts.mark_unconnected
    write(provider=account.provider, destination=account.destination)
    return is_ready


def told_of(destination: str) -> None:
    """Stripe told of a change. An account that nobody is paid to any more says nothing."""
    rows = ProviderAccount.objects.select_related("provider__tenant")
    for account in rows.filter(rail=PayoutRail.CONNECT, destination=destination):
        refresh(account)


def sweep() -> int:
    """Have Stripe asked about every connected account, because its news may be lost; how many. A job each."""
    found = ProviderAccount.objects.filter(rail=PayoutRail.CONNECT).exclude(destination="").values_list("pk", flat=True)
    for account_id in found:
        jobs.enqueue("billing.refresh_account", account_id=str(account_id))
    return len(found)


def ask(account_id: UUID) -> bool:
    """Ask about one account; what Stripe does not know any more is not paid to. Whether it pays out there."""
    account = ProviderAccount.objects.select_related("provider__tenant").get(pk=account_id)
    try:
        return refresh(account)
    except NotFoundError:
        provider_accounts.mark_unconnected(provider=account.provider, destination=account.destination)
        return False


def _chosen(account: ProviderAccount, actor: User) -> ProviderAccount:
    if not account.country:
        raise ConflictError(
            "Stripe asks for the country of whom it pays.",
            code="billing.payee_missing",
            next_step="Fill in the tax form first.",
        )
    made = stripe.gateway().create_account(
        provider=str(account.provider_id), email=actor.email, country=account.country
    )
    return provider_accounts.choose_method(
        provider=account.provider, rail=PayoutRail.CONNECT, destination=made, actor=actor
    )
