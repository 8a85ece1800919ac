"""Signing in at one's organisation: naming it, leaving for its provider, coming back."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from allauth.account import app_settings as account_settings
from allauth.account.internal.flows.login import record_authentication
from allauth.account.utils import perform_login
from allauth.core.internal import ratelimit
from django import forms
from django.contrib import messages
from django.core.cache import cache
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core import clock
from core.errors import LimitReachedError, MarketplaceError
from tenants import oidc
from tenants.models import IdentityProvider, Membership, User
from tenants.models.identity import Protocol
from tenants.oidc import Attempt, Claims
from tenants.requests import MarketRequest
from tenants.services import identity, sso

SESSION_KEY = "sso_attempt"
ATTEMPT_S = 600
SIGN_IN, TEST = "sign_in", "test"
ANSWER_CHARS, ANSWER_S = 180_000, 120
_ANSWER = "saml-answer:"
_Reading = Callable[[MarketRequest, dict[str, Any]], tuple[IdentityProvider, Claims]]


class AddressForm(forms.Form):
    email = forms.EmailField(
        label="Work email address", max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: MarketRequest) -> HttpResponse:
    """Find the organisation by the address's domain."""
    form = AddressForm(
        request.POST if request.method == "POST" else None, initial={"email": request.GET.get("email", "")}
    )
    if request.method == "POST" and form.is_valid():
        email = form.cleaned_data["email"]
        found = sso.of_address(email)
        if found is not None:
            return leave(request, found, mode=SIGN_IN, hint=email, onward=request.GET.get("next", ""))
        form.add_error(
            "email", "No organisation has set up its own sign-in for this address. Sign in with your password."
        )
    return render(request, "sso/sign_in.html", {"form": form}, status=422 if form.errors else 200)


@never_cache
@require_safe
def start(request: MarketRequest, organisation: str) -> HttpResponse:
    """The address that an organisation gives to its people."""
    provider = sso.of_organisation(organisation)
    return leave(request, provider, mode=SIGN_IN, onward=request.GET.get("next", ""))


def leave(
    request: MarketRequest, provider: IdentityProvider, *, mode: str, hint: str = "", onward: str = ""
) -> HttpResponse:
    """A page that leads on by itself: a form's answer may not, because forms lead to us alone (form-action)."""
    attempt = Attempt.begin()
    try:
        if not ratelimit.consume(request, app="allauth.account", action="login", limit_get=True):
            raise LimitReachedError("Too many attempts.", next_step="Wait a minute.")
        url = sso.way_out(provider, attempt, hint)
    except MarketplaceError as error:
        return _refused(request, error)
    request.session[SESSION_KEY] = {
        **attempt.as_dict(),
        "provider": str(provider.pk),
        "mode": mode,
        "onward": onward,
        "began_s": clock.unix_ms() // 1000,
    }
    context = {"url": url, "host": urlsplit(url).netloc, "organisation": provider.owner_tenant.name}
    return render(request, "sso/leave.html", context)


@never_cache
@require_safe
def callback(request: MarketRequest) -> HttpResponse:
    """Back from an OpenID provider. The attempt is used up whatever comes of it."""
    return _come_back(request, _claims)


def _come_back(request: MarketRequest, read: _Reading) -> HttpResponse:
    kept: dict[str, Any] = request.session.pop(SESSION_KEY, None) or {}
    try:
        provider, claims = read(request, kept)
        if kept["mode"] == TEST:
            return _tested(request, provider, claims)
        present = request.user if isinstance(request.user, User) else None
        user = sso.enter(provider, claims, present=present)
    except MarketplaceError as error:
        return _refused(request, error)
    return _let_in(request, provider, user, str(kept.get("onward", "")))


@never_cache
@require_safe
def saml_metadata(request: MarketRequest) -> HttpResponse:
    """What organisations give to their SAML providers."""
    from tenants import saml  # noqa: PLC0415 - XML is made where an organisation uses it, and nowhere else

    return HttpResponse(saml.our_metadata(sso.saml_us()), content_type="application/samlmetadata+xml")


@csrf_exempt
@never_cache
@require_POST
def saml_answer(request: MarketRequest) -> HttpResponse:
    """Where SAML providers have browsers post to. Our cookies do not come along from another site, so that nothing is known
    here of who began: the answer is put by for a moment, and a page of ours goes on with it."""
    try:
        if not ratelimit.consume(request, app="allauth.account", action="login"):
            raise LimitReachedError("Too many attempts.", next_step="Wait a minute.")
        answer, relay = request.POST.get("SAMLResponse", ""), request.POST.get("RelayState", "")
        if not answer or len(answer) > ANSWER_CHARS or len(relay) > 200:
            raise oidc.SignInError("The provider's answer is empty or too long.")
    except MarketplaceError as error:
        return _refused(request, error)
    handle = secrets.token_urlsafe(32)
    cache.set(_ANSWER + handle, {"answer": answer, "relay": relay}, ANSWER_S)
    return render(request, "sso/back.html", {"url": f"{reverse('sso-saml-back')}?answer={handle}"})


@never_cache
@require_safe
def saml_back(request: MarketRequest) -> HttpResponse:
    """Back from a SAML provider, in the browser that began. Attempt and answer are used up whatever comes of it."""
    return _come_back(request, _saml_claims)


def _saml_claims(request: MarketRequest, kept: dict[str, Any]) -> tuple[IdentityProvider, Claims]:
    place = _ANSWER + request.GET.get("answer", "")[:100]
    given: dict[str, str] = cache.get(place) or {}
    cache.delete(place)
    provider, attempt = _attempt(kept, given.get("relay", ""))
    return provider, sso.claims_of_answer(provider, attempt, given.get("answer", ""))


def _claims(request: MarketRequest, kept: dict[str, Any]) -> tuple[IdentityProvider, Claims]:
    if kept and request.GET.get("state", "") == kept["state"] and "error" in request.GET:
        words = request.GET.get("error_description") or request.GET["error"]
        raise oidc.SignInError(f"Your organisation's sign-in said: {words[:200]}")
    provider, attempt = _attempt(kept, request.GET.get("state", ""))
    if provider.protocol != Protocol.OPENID:
        raise oidc.SignInError("Another kind of provider answered.")
    said_by = request.GET.get("iss")
    if said_by is not None and said_by != provider.issuer:  # RFC 9207
        raise oidc.SignInError("Another provider answered.")
    code = request.GET.get("code", "")
    return provider, oidc.claims_of(sso.described(provider), attempt, code, sso.redirect_uri(), sso.allow())


def _attempt(kept: dict[str, Any], state: str) -> tuple[IdentityProvider, Attempt]:
    """The attempt that this browser began, and its provider. Raises SignInError."""
    age_s = clock.unix_ms() // 1000 - int(kept.get("began_s", 0))
    if not kept or state != kept["state"] or age_s > ATTEMPT_S:
        raise oidc.SignInError("This sign-in was not begun here, or too long ago.", next_step="Begin again.")
    rows = IdentityProvider.objects.select_related("owner_tenant").filter(pk=kept["provider"])
    provider = rows.filter(owner_tenant__suspended_at=None).first()
    if provider is None or (not provider.enabled and kept["mode"] != TEST):
        raise oidc.SignInError("This sign-in was turned off meanwhile.")
    return provider, Attempt(kept["state"], kept["nonce"], kept["verifier"])


def _let_in(request: MarketRequest, provider: IdentityProvider, user: User, onward: str) -> HttpResponse:
    home = reverse("org:home", args=[provider.owner_tenant.slug])
    if not url_has_allowed_host_and_scheme(onward, allowed_hosts=None):
        onward = home
    if request.user == user:
        messages.success(request, f"Your account is connected with the sign-in of {provider.owner_tenant.name}.")
        return redirect(onward)
    request.sso_done = True  # type: ignore[attr-defined]  # read by the account adapter
    record_authentication(request, user, method="sso", provider=str(provider.pk))
    return perform_login(
        request, user, email_verification=account_settings.EmailVerificationMethod.NONE, redirect_url=onward
    )


def _tested(request: MarketRequest, provider: IdentityProvider, claims: Claims) -> HttpResponse:
    """Nobody is let in: the admin who tests sees what the provider says."""
    tenant = provider.owner_tenant
    member = Membership.objects.select_related("tenant", "user").filter(tenant=tenant, user=request.user.pk).first()
    if member is None:
        raise oidc.SignInError("The test was begun by somebody else.")
    identity.note_test(provider, actor=member)
    groups = ", ".join(claims.groups or ()) if claims.groups is not None else "not sent"
    messages.success(
        request,
        f"The sign-in works. Subject {claims.subject}, address {claims.email or 'not sent'}, groups {groups or 'none'}.",
    )
    return redirect("org:identity", tenant.slug)


def _refused(request: MarketRequest, error: MarketplaceError) -> HttpResponse:
    return render(request, "sso/refused.html", {"error": error}, status=403)
