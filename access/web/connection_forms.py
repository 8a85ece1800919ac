"""One form per kind of credential. What was typed is sent on to the service and never back to the browser."""

from __future__ import annotations

from typing import ClassVar

from django import forms

from access.services import connections
from access.services.connections import Secret
from access.web.forms import ServiceForm
from catalog.models import Server
from tenants.models import Tenant, User


def _password(label: str, help_text: str = "", *, required: bool = True) -> forms.CharField:
    widget = forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"})
    return forms.CharField(
        label=label, max_length=8192, strip=True, widget=widget, help_text=help_text, required=required
    )


class SecretForm(ServiceForm):
    label: ClassVar[str]

    def secret(self) -> Secret:
        raise NotImplementedError

    def save(self, *, tenant: Tenant, server: Server, actor: User) -> None:
        connections.store(tenant=tenant, server=server, secret=self.secret(), actor=actor)


class BearerForm(SecretForm):
    label = "Bearer token"
    token = _password("Token", "Sent in the Authorization header. It is not shown again.")

    def secret(self) -> Secret:
        return connections.bearer(self.cleaned_data["token"])


class HeaderForm(SecretForm):
    label = "Header"
    header = forms.CharField(max_length=64, help_text="Such as X-Api-Key.")
    value = _password("Value", "It is not shown again.")

    def secret(self) -> Secret:
        return connections.header(self.cleaned_data["header"], self.cleaned_data["value"])


class BasicForm(SecretForm):
    label = "User name and password"
    user = forms.CharField(label="User name", max_length=200)
    password = _password("Password", "It is not shown again.")

    def secret(self) -> Secret:
        return connections.basic(self.cleaned_data["user"], self.cleaned_data["password"])


class OAuthClientForm(SecretForm):
    label = "OAuth client"
    client_id = forms.CharField(label="Client id", max_length=500)
    client_secret = _password(
        "Client secret", "Tokens are asked for with it, ahead of their end. It is not shown again."
    )
    scope = forms.CharField(
        max_length=1000, required=False, help_text="Empty: what the server says that it needs. Separate by spaces."
    )

    def save(self, *, tenant: Tenant, server: Server, actor: User) -> None:
        data = self.cleaned_data
        connections.store_client(
            tenant=tenant,
            server=server,
            client_id=data["client_id"],
            client_secret=data["client_secret"],
            scope=data["scope"],
            actor=actor,
        )


class SignInClientForm(ServiceForm):
    """The client through which people of the organisation connect their accounts, where it has to be registered by hand."""

    issuer = forms.CharField(max_length=500, widget=forms.HiddenInput)
    client_id = forms.CharField(
        label="Client id", max_length=500, widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})
    )
    client_secret = _password("Client secret", "Empty for a public client. It is not shown again.", required=False)


FORMS: dict[str, type[SecretForm]] = {
    "bearer": BearerForm,
    "header": HeaderForm,
    "basic": BasicForm,
    "oauth": OAuthClientForm,
}
