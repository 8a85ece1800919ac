"""The authorization server's endpoints: where a person agrees, and where programs register and get tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from allauth.account.internal.decorators import login_not_required
from allauth.core.internal import ratelimit
from allauth.core.internal.httpkit import add_query_params
from allauth.idp.oidc.forms import ClientRegistrationForm
from allauth.idp.oidc.models import Client
from allauth.idp.oidc.views import ClientRegistrationView
from django import forms
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from oauthlib.common import Request
from oauthlib.oauth2.rfc6749.errors import FatalClientError, OAuth2Error

from tenants.models import Membership, User
from tenants.oauth import client_keys, grants, redirects, resources
from tenants.oauth.adapter import GRANTS, MAX_METADATA_BYTES
from tenants.oauth.assertions import proof_of
from tenants.oauth.scopes import OFFLINE, SCOPES
from tenants.oauth.server import AuthorizationServer, Validator, is_challenge
from tenants.requests import MarketRequest
from tenants.services import consents
from tenants.web.guards import person

_MAX_STATE = 2000


class OrganisationField(forms.ModelChoiceField):
    def label_from_instance(self, obj: Membership) -> str:
        return obj.tenant.name


class ConsentForm(forms.Form):
    organisation = OrganisationField(
        queryset=Membership.objects.none(),
        widget=forms.RadioSelect,
        empty_label=None,
        label="In which organisation",
        help_text="Its grants decide what can be called, and it pays for calls.",
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["organisation"]
        assert isinstance(field, forms.ModelChoiceField)
        self.memberships = (
            Membership.objects.select_related("tenant")
            .filter(user=user, tenant__suspended_at=None)
            .order_by("tenant__name")
        )
        field.queryset = self.memberships


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def authorize(request: MarketRequest) -> HttpResponse:
    """Ask the person. The whole request stands in the address and is checked again when the answer comes."""
    try:
        asked, audience = _asked(request)
    except FatalClientError as error:
        return render(request, "oauth/error.html", {"reason": error.description or error.error}, status=400)
    except OAuth2Error as error:
        return _back(error.redirect_uri or "", {**dict(error.twotuples), "state": error.state})
    user = person(request)
    last = request.session.get("organisation")
    form = ConsentForm(request.POST if request.method == "POST" else None, user=user)
    first = sorted(form.memberships, key=lambda membership: membership.tenant.slug != last)
    form.initial = {"organisation": first[0].pk} if first else {}
    if request.method == "POST":
        if request.POST.get("action") != "allow":
            return _back(asked.redirect_uri, {"error": "access_denied", "state": asked.state})
        if form.is_valid():
            return _agreed(asked, audience, form.cleaned_data["organisation"])
    return _page(request, asked, audience, form, has_organisation=bool(first))


@csrf_exempt
@login_not_required
@require_POST
def token(request: HttpRequest) -> HttpResponse:
    """Exchange a code, a refresh token, or a client's secret or signature for an access token."""
    if not ratelimit.consume(request, action="token", app="allauth.idp.oidc"):
        return _error("temporarily_unavailable", "Too many requests. Wait a minute.", status=429)
    try:
        proof = proof_of(request.POST, request.headers.get("Authorization", ""))
        validator = Validator(wanted_resources=request.POST.getlist("resource"), proof=proof)
        with transaction.atomic():
            headers, body, status = AuthorizationServer(validator).create_token_response(*_parts(request))
    except OAuth2Error as error:
        headers, body, status = dict(error.headers), error.json, error.status_code
    return _answer(headers, body, status)


@csrf_exempt
@login_not_required
@require_POST
def revoke(request: HttpRequest) -> HttpResponse:
    """RFC 7009. The answer is the same whether there was such a token or not."""
    if not ratelimit.consume(request, action="token", app="allauth.idp.oidc"):
        return _error("temporarily_unavailable", "Too many requests. Wait a minute.", status=429)
    try:
        validator = Validator(proof=proof_of(request.POST, request.headers.get("Authorization", "")))
        with transaction.atomic():
            headers, body, status = AuthorizationServer(validator).create_revocation_response(*_parts(request))
    except OAuth2Error as error:
        headers, body, status = dict(error.headers), error.json, error.status_code
    return _answer(headers, body, status)


class RegistrationForm(ClientRegistrationForm):
    """The library's, with clients that sign."""

    def clean_token_endpoint_auth_method(self) -> str:
        method = self.cleaned_data.get("token_endpoint_auth_method")
        return client_keys.METHOD if method == client_keys.METHOD else super().clean_token_endpoint_auth_method()


@method_decorator(csrf_exempt, name="dispatch")
@method_decorator(login_not_required, name="dispatch")
class RegistrationView(ClientRegistrationView):
    """RFC 7591, open to everybody and paced; `tenants.oauth.adapter` says what may be registered."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if len(request.body) > MAX_METADATA_BYTES:
            return _error("invalid_client_metadata", "The registration is too large.", status=400)
        response = self._register()
        response["Cache-Control"] = "no-store"
        return response

    def _register(self) -> HttpResponse:
        """The library's own steps, with a form that knows one way more for a client to prove itself."""
        bearer_token, token, refusal = self._authorize()
        if refusal:
            return refusal
        metadata = self._get_client_metadata()
        if metadata is None:
            return _error("invalid_client_metadata", "The registration is not a JSON object.", status=400)
        form = RegistrationForm(data=metadata)
        if not form.is_valid():
            return self._form_invalid(form)
        return self._form_valid(form, client_metadata=metadata, bearer_token=bearer_token, token=token)

    def _serialize_client(self, client: Client, form: Any, secret: str) -> dict[str, Any]:
        """What the client is told. It has just been stored, and the transaction is still open: its keys are stored here."""
        data = super()._serialize_client(client, form, secret)
        metadata = (client.data or {}).get("client_metadata", {})
        if kind := metadata.get("application_type"):
            data["application_type"] = kind
        if form.cleaned_data["token_endpoint_auth_method"] == client_keys.METHOD:
            offered = client_keys.of_metadata(metadata)
            client_keys.keep(client, offered)
            data |= {"jwks_uri": offered.address} if offered.address else {"jwks": offered.jwks}
            del data["client_secret"], data["client_secret_expires_at"]
        return data


@login_not_required
@require_safe
def metadata(request: HttpRequest) -> HttpResponse:
    """RFC 8414, and the same document where OpenID Connect clients look for it."""
    base = settings.PUBLIC_URL
    methods = ["none", "client_secret_basic", "client_secret_post", client_keys.METHOD]
    algorithms = sorted(client_keys.ALGORITHMS)
    response = JsonResponse(
        {
            "issuer": base,
            "authorization_endpoint": f"{base}/oauth/authorize",
            "token_endpoint": f"{base}/oauth/token",
            "registration_endpoint": f"{base}/oauth/register",
            "revocation_endpoint": f"{base}/oauth/revoke",
            "jwks_uri": f"{base}/.well-known/jwks.json",
            "scopes_supported": [*SCOPES, OFFLINE],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": [*GRANTS, "client_credentials"],
            "token_endpoint_auth_methods_supported": methods,
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
            "revocation_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            "client_id_metadata_document_supported": True,
            "service_documentation": f"{base}/",
            # What OpenID Connect discovery requires to be there. Identity tokens are not issued.
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }
    )
    response["Access-Control-Allow-Origin"] = "*"
    response["Cache-Control"] = "public, max-age=3600"
    return response


def _asked(request: MarketRequest) -> tuple[Request, list[str]]:
    """The request, checked, and the resources it is for. Raises OAuth2Error; a FatalClientError must not lead anywhere."""
    validator = Validator(may_fetch=True)
    query = f"/oauth/authorize?{request.META.get('QUERY_STRING', '')}"
    _, info = AuthorizationServer(validator).validate_authorization_request(query, "GET", None, {})
    asked = info["request"]
    try:
        if not is_challenge(asked.code_challenge) or len(asked.state or "") > _MAX_STATE:
            raise resources.InvalidTargetError(description="The challenge or the state is not acceptable.")
        audience = resources.chosen(request.GET.getlist("resource"))
    except OAuth2Error as error:
        error.redirect_uri, error.state = asked.redirect_uri, asked.state
        raise
    return asked, audience


def _agreed(asked: Request, audience: list[str], membership: Membership) -> HttpResponse:
    with transaction.atomic():
        consent = consents.give(membership=membership, client=asked.client, scopes=asked.scopes, resources=audience)
        code = grants.make_code(consent, redirect_uri=asked.redirect_uri, code_challenge=asked.code_challenge)
    return _back(asked.redirect_uri, {"code": code, "state": asked.state})


def _page(
    request: MarketRequest, asked: Request, audience: list[str], form: ConsentForm, *, has_organisation: bool
) -> HttpResponse:
    described = (asked.client.data or {}).get("cimd")
    context = {
        "form": form,
        "client": asked.client,
        "client_host": redirects.shown(asked.client.pk) if described else "",
        "redirect_host": redirects.shown(asked.redirect_uri),
        "is_loopback": redirects.is_loopback(asked.redirect_uri),
        "scopes": [SCOPES[scope] for scope in asked.scopes],
        "servers": [name for name in map(resources.server_name, audience) if name],
        "is_limited": all(map(resources.server_name, audience)),
        "stays": Client.GrantType.REFRESH_TOKEN in asked.client.get_grant_types(),
        "has_organisation": has_organisation,
        "life_days": consents.PERSON_LIFE.days,
    }
    response = render(request, "oauth/consent.html", context, status=422 if form.errors else 200)
    response["Cache-Control"] = "no-store"
    # The answer to the form leads to the client, which browsers count as part of sending it.
    response._csp_update = {"form-action": [redirects.form_action(asked.redirect_uri)]}  # type: ignore[attr-defined]
    return response


def _back(redirect_uri: str, parameters: Mapping[str, str | None]) -> HttpResponse:
    """To the client, with the issuer (RFC 9207). Not Django's redirect, which knows only schemes of the web."""
    sent = {name: value for name, value in parameters.items() if value} | {"iss": settings.PUBLIC_URL}
    response = HttpResponse(status=303)
    response["Location"] = add_query_params(redirect_uri, sent)
    response["Cache-Control"] = "no-store"
    return response


def _parts(request: HttpRequest) -> tuple[str, str, str, dict[str, str]]:
    """A request in the words of oauthlib."""
    headers = {"Authorization": request.headers.get("Authorization", "")}
    headers["Content-Type"] = request.headers.get("Content-Type", "")
    query = f"?{request.META['QUERY_STRING']}" if request.META.get("QUERY_STRING") else ""
    pairs = [(name, value) for name, values in request.POST.lists() if name != "resource" for value in values]
    return request.path + query, "POST", urlencode(pairs), headers


def _answer(headers: Mapping[str, str], body: Any, status: int) -> HttpResponse:
    content = json.dumps(body) if isinstance(body, dict) else body or ""
    response = HttpResponse(content, status=status, content_type="application/json")
    for name, value in headers.items():
        response[name] = value
    response["Cache-Control"] = "no-store"
    response["Access-Control-Allow-Origin"] = "*"
    return response


def _error(error: str, description: str, *, status: int) -> HttpResponse:
    response = JsonResponse({"error": error, "error_description": description}, status=status)
    response["Cache-Control"] = "no-store"
    return response
