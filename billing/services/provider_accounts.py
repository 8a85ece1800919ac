"""Where a provider is paid to. Who takes over an account must not get its money: a change needs a second factor, rests for
days, and every owner is told at once."""

from __future__ import annotations

import re
from datetime import timedelta

from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.core import signing
from django.db import transaction
from django.urls import reverse

from audit import services as audit
from billing.models import PayoutRail, ProviderAccount
from billing.services import payout_news
from catalog.models import Provider
from core import clock
from core.errors import ConflictError, ForbiddenError, InvalidError
from notifications import services as notifications
from tenants.models import User

_SALT = "billing.payout-address"
_PROOF_AGE = timedelta(days=2)
_COUNTRY = re.compile(r"[A-Z]{2}\Z")
_State = ProviderAccount.State


def account_of(provider: Provider) -> ProviderAccount:
    """The account of a provider, made when it is first asked for."""
    account, _ = ProviderAccount.objects.select_related("provider__tenant").get_or_create(provider=provider)
    return account


def save_tax_form(
    *, provider: Provider, legal_name: str, address: str, country: str, tax_id: str, actor: User
) -> ProviderAccount:
    """Who earns, as statements and tax offices name them. A new name or country is checked by an operator again."""
    country = country.strip().upper()
    if not legal_name.strip() or not address.strip():
        raise InvalidError("Give the legal name and the address.", code="billing.payee_missing", field="legal_name")
    if not _COUNTRY.match(country):
        raise InvalidError("Write the country as two letters, such as DE.", code="billing.country", field="country")
    with transaction.atomic():
        account = _locked(provider)
        if (account.legal_name, account.country) != (legal_name.strip(), country):
            account.known_at = None
        account.legal_name, account.address = legal_name.strip(), address.strip()
        account.country, account.tax_id, account.tax_form_at = country, tax_id.strip(), clock.now()
        _settle(account)
        _record("billing:payee:save", account, _person(actor), {"country": country})
    return account


def choose_method(*, provider: Provider, rail: str, destination: str, actor: User) -> ProviderAccount:
    """Choose where earnings go. It is used when its owner has proven that it is theirs, and after it has rested.

    Raises ForbiddenError for a person without a second factor.
    """
    destination = _destination(rail, destination)
    need_second_factor(actor)
    with transaction.atomic():
        account = _locked(provider)
        if (account.rail, account.destination) == (rail, destination):
            return account
        account.rail, account.destination, account.destination_verified_at = rail, destination, None
        account.rests_until = clock.now() + timedelta(hours=settings.PAYOUT_REST_HOURS)
        _settle(account)
        _record("billing:payout_method:change", account, _person(actor), {"rail": rail, "ends": destination[-8:]})
        payout_news.method_changed(account, actor, f"{account.rests_until:%Y-%m-%d %H:%M}")
    if rail == PayoutRail.PAYPAL:
        ask_for_proof(account)
    return account


def need_second_factor(actor: User) -> None:
    """Raises ForbiddenError for a person without one."""
    if not is_mfa_enabled(actor):
        raise ForbiddenError(
            "Where money is paid to is changed with a second factor only.",
            code="billing.second_factor_missing",
            next_step="Turn on an authenticator app or a passkey in your account, then come back.",
        )


def ask_for_proof(account: ProviderAccount) -> None:
    """Mail a link to the PayPal address: who opens it reads that address's mail."""
    token = signing.dumps([str(account.pk), account.destination], salt=_SALT)
    organisation = account.provider.tenant
    notifications.notify(
        kind="billing.payout_proof",
        title=f"Confirm that {account.provider.name} is paid to this address",
        body="Open the link while you are signed in. If you do not know of this, do nothing: nothing is paid then.",
        url=reverse("org:earnings-proof", args=[organisation.slug, token]),
        email=account.destination,
    )


def proves(account: ProviderAccount, token: str) -> bool:
    """Whether a mailed link is of this account, of the address that it has now, and not too old."""
    try:
        named = signing.loads(token, salt=_SALT, max_age=_PROOF_AGE)
    except signing.BadSignature:
        return False
    return bool(named == [str(account.pk), account.destination])


def confirm_method(*, provider: Provider, token: str, actor: User) -> ProviderAccount:
    """Raises InvalidError for a link that is old, or of another account or address."""
    with transaction.atomic():
        account = _locked(provider)
        if not proves(account, token):
            raise InvalidError(
                "This link is not valid any more.",
                code="billing.proof_invalid",
                next_step="Ask for another one on the page of the payout account.",
            )
        return _verified(account, _person(actor))


def mark_connected(*, provider: Provider, destination: str) -> ProviderAccount:
    """Stripe says that it may pay out to the connected account."""
    with transaction.atomic():
        return _verified(_connected(provider, destination), audit.SYSTEM)


def mark_unconnected(*, provider: Provider, destination: str) -> ProviderAccount:
    """Stripe does not pay out to the connected account, or not any more: nothing is sent there until it does."""
    with transaction.atomic():
        account = _connected(provider, destination)
        if account.destination_verified_at is not None:
            account.destination_verified_at = None
            _settle(account)
            _record("billing:payout_method:unprove", account, audit.SYSTEM, {"rail": account.rail})
        return account


def check_identity(*, provider: Provider, known: bool, operator: User) -> ProviderAccount:
    """An operator has seen who the payee is, or takes that back."""
    with transaction.atomic():
        account = _locked(provider)
        if known and not account.tax_form_at:
            raise ConflictError("The provider has not given its tax form yet.", code="billing.payee_missing")
        account.known_at = clock.now() if known else None
        _settle(account)
        actor = audit.Party("operator", str(operator.pk), operator.email)
        _record("billing:payee:check", account, actor, {"known": known})
    return account


def suspend(*, provider: Provider, suspended: bool, operator: User) -> ProviderAccount:
    """Pay nothing to a provider until an operator lets it again. What it earns waits."""
    with transaction.atomic():
        account = _locked(provider)
        account.state = _State.SUSPENDED if suspended else _State.ONBOARDING
        _settle(account)
        actor = audit.Party("operator", str(operator.pk), operator.email)
        _record("billing:payee:suspend", account, actor, {"suspended": suspended})
    return account


def _connected(provider: Provider, destination: str) -> ProviderAccount:
    """Raises ConflictError when another payout method was chosen meanwhile."""
    account = _locked(provider)
    if (account.rail, account.destination) != (PayoutRail.CONNECT, destination):
        raise ConflictError("The payout method has changed since.", code="billing.payout_method_changed")
    return account


def _verified(account: ProviderAccount, actor: audit.Party) -> ProviderAccount:
    if account.destination_verified_at is None:
        account.destination_verified_at = clock.now()
        _settle(account)
        _record("billing:payout_method:prove", account, actor, {"rail": account.rail})
    return account


def _settle(account: ProviderAccount) -> None:
    """Let the state follow from what is there, and save it."""
    if account.state != _State.SUSPENDED:
        account.state = _State.ONBOARDING if account.missing else _State.ACTIVE
    if account.state == _State.ACTIVE and account.active_since is None:
        account.active_since = clock.now()
    account.save()


def _locked(provider: Provider) -> ProviderAccount:
    account_of(provider)
    rows = ProviderAccount.objects.select_for_update(of=("self",)).select_related("provider__tenant")
    return rows.get(provider=provider)


def _destination(rail: str, destination: str) -> str:
    destination = destination.strip()
    if rail == PayoutRail.PAYPAL and re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", destination):
        return destination.lower()
    if rail == PayoutRail.CONNECT and re.fullmatch(r"acct_\w+", destination):
        return destination
    raise InvalidError("Give the address of a PayPal account.", code="billing.destination", field="destination")


def _person(actor: User) -> audit.Party:
    return audit.Party("user", str(actor.pk), actor.email)


def _record(action: str, account: ProviderAccount, actor: audit.Party, data: dict[str, object]) -> None:
    target = audit.Party("provider", str(account.provider_id), account.provider.name)
    audit.record(action, actor=actor, target=target, data=data)
