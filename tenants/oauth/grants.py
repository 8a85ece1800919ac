"""Codes and refresh tokens: rows of the library's token table, found by their hash, good for one use each.

What was used stays until it would have expired. Somebody who brings it again has stolen it, or was stolen from: the consent
that it came from ends, and with it everything that was issued under it (RFC 6749, 4.1.2 and 10.4; RFC 9700, 4.14).
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from allauth.idp.oidc.models import Client, Token
from django.db import transaction

from core import clock
from tenants.models import Consent, Membership, SpentSignIn, UsedAssertion
from tenants.services import consents

log = logging.getLogger(__name__)

CODE_LIFE = timedelta(seconds=60)
REFRESH_LIFE = timedelta(days=30)
# A client that never saw our answer asks again at once. It is refused, and not taken for a thief.
_RETRY = timedelta(seconds=10)
Type = Token.Type


@dataclass(frozen=True, slots=True)
class Held:
    """What a code or refresh token stands for."""

    token: Token
    consent: Consent
    data: dict[str, Any]


def make_code(consent: Consent, *, redirect_uri: str, code_challenge: str) -> str:
    data = {"redirect_uri": redirect_uri, "code_challenge": code_challenge}
    return _make(Type.AUTHORIZATION_CODE, consent, consent.scopes, clock.now() + CODE_LIFE, data)


def make_refresh(consent: Consent, scopes: Iterable[str]) -> str:
    ends = clock.now() + REFRESH_LIFE
    return _make(Type.REFRESH_TOKEN, consent, scopes, min(ends, consent.expires_at or ends), {})


def look_up(kind: Token.Type, value: str, client: Client) -> Held | None:
    """What this text stands for, locked; None when it is nothing, is over, or was used. Inside a transaction."""
    token = Token.objects.select_for_update().by_value(value).filter(type=kind, client=client).first()
    if token is None or token.expires_at is None or token.expires_at <= clock.now() or not isinstance(token.data, dict):
        return None
    consent = Consent.objects.select_related("tenant", "user").filter(pk=str(token.data["consent"])).first()
    if consent is None or not is_live(consent):
        return None
    if spent_at := token.data.get("spent_at"):
        if clock.now() - datetime.fromisoformat(spent_at) > _RETRY or kind == Type.AUTHORIZATION_CODE:
            log.warning("used twice, consent revoked", extra={"kind": kind.label, "client_id": client.pk})
            consents.revoke(consent.pk, actor=None)
        return None
    return Held(token, consent, token.data)


def spend(held: Held) -> None:
    held.token.data = {**held.data, "spent_at": clock.now().isoformat()}
    held.token.save(update_fields=["data"])


def is_live(consent: Consent) -> bool:
    """Whether tokens may be issued under it at this moment."""
    if consent.state != "active" or consent.tenant.suspended_at is not None:
        return False
    if consent.kind == Consent.Kind.MACHINE:
        return True
    return Membership.objects.filter(tenant=consent.tenant, user=consent.user, user__is_active=True).exists()


def clear() -> int:
    """Remove what has expired, and registrations that nobody ever used."""
    with transaction.atomic():
        over, _ = Token.objects.filter(expires_at__lte=clock.now()).delete()
        UsedAssertion.objects.filter(expires_at__lte=clock.now()).delete()
        SpentSignIn.objects.filter(expires_at__lte=clock.now()).delete()
        idle = Client.objects.filter(consents=None, created_at__lte=clock.now() - REFRESH_LIFE, data__dcr=True)
        idle.delete()
    return over


def _make(kind: Token.Type, consent: Consent, scopes: Iterable[str], expires_at: datetime, data: dict[str, Any]) -> str:
    value = secrets.token_urlsafe(32)
    token = Token(type=kind, client_id=consent.client_id, user_id=consent.user_id, expires_at=expires_at)
    token.set_value(value)
    token.set_scopes(list(scopes))
    token.data = {**data, "consent": str(consent.pk)}
    token.save(force_insert=True)
    return value
