"""How django-allauth meets our people: no user names, mails through our templates, secrets encrypted at rest."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlencode, urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.stagekit import clear_login
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from tenants.services import sso


class _Site:
    """What allauth's mail templates ask of a site."""

    name = "MCP Marketplace"
    domain = urlsplit(settings.PUBLIC_URL).netloc


class AccountAdapter(DefaultAccountAdapter):
    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Mails speak in the product's name, not in that of the host that a request happened to use."""
        super().send_mail(template_prefix, email, {**context, "current_site": _Site()})

    def send_account_already_exists_mail(self, email: str) -> None:
        """Costs a password's hash, as a new account does: how long the answer takes must not tell who has an account."""
        make_password("nobody's")
        super().send_account_already_exists_mail(email)

    def get_signup_redirect_url(self, request: HttpRequest) -> str:
        return reverse("landing")

    def pre_login(self, request: HttpRequest, user: Any, **more: Any) -> HttpResponse | None:
        """Whoever's organisation lets people in by its own sign-in only is led there, whatever they showed here."""
        response: HttpResponse | None = super().pre_login(request, user, **more)
        if response is None and not getattr(request, "sso_done", False) and sso.required_for(user) is not None:
            clear_login(request)
            return redirect(f"{reverse('sso')}?{urlencode({'email': user.email, 'required': '1'})}")
        return response

    def save_user(self, request: HttpRequest, user: Any, form: Any, commit: bool = True) -> Any:
        user.name = form.cleaned_data.get("name", "").strip()
        return super().save_user(request, user, form, commit)


class MFAAdapter(DefaultMFAAdapter):
    """Second-factor secrets are encrypted with a key derived from the master secret."""

    def encrypt(self, text: str) -> str:
        return _fernet().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _fernet().decrypt(encrypted_text.encode()).decode()


def _fernet() -> Fernet:

    return Fernet(base64.urlsafe_b64encode(settings.STORAGE_KEY))
