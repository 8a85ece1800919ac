"""The page about how an organisation's people sign in: provider, domains, groups, tokens for SCIM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from core.errors import ForbiddenError, InvalidError, MarketplaceError, NotFoundError
from tenants.choices import Right, Role
from tenants.models import EmailDomain, GroupRule, IdentityProvider, Membership, Team
from tenants.models.identity import ASSIGNED_ROLES, Protocol
from tenants.requests import OrganisationRequest
from tenants.services import domain_proofs, identity, rights, sso
from tenants.services import settings as flags
from tenants.web import sso as sso_web
from tenants.web.forms import show_error

_PLAIN = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}


class ProviderForm(forms.Form):
    """Checks shape; the service keeps the rules."""

    protocol = forms.ChoiceField(
        choices=Protocol.choices, initial=Protocol.OPENID, widget=forms.RadioSelect, label="Speaks"
    )
    issuer = forms.CharField(
        max_length=500,
        required=False,
        help_text=(
            "OpenID: the address that your provider calls issuer; its document is read at /.well-known/openid-configuration."
        ),
        widget=forms.URLInput(attrs=_PLAIN),
    )
    client_id = forms.CharField(
        label="Client id", max_length=500, required=False, help_text="OpenID.", widget=forms.TextInput(attrs=_PLAIN)
    )
    secret = forms.CharField(
        label="Client secret",
        max_length=2000,
        required=False,
        help_text="OpenID. Stored sealed and never shown. Leave it empty to keep the stored one.",
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )
    metadata_url = forms.CharField(
        label="Address of the provider's metadata",
        max_length=500,
        required=False,
        help_text="SAML: read when you save, so save again after the provider's keys changed.",
        widget=forms.URLInput(attrs=_PLAIN),
    )
    metadata = forms.CharField(
        label="Or the metadata itself",
        max_length=512 * 1024,
        required=False,
        help_text="SAML. Leave both empty to keep what was read before.",
        widget=forms.Textarea(attrs={**_PLAIN, "rows": 3, "class": "mono"}),
    )
    groups_claim = forms.CharField(
        label="Claim or attribute with groups", max_length=100, initial="groups", widget=forms.TextInput(attrs=_PLAIN)
    )
    # Whoever saves without looking makes nobody an admin.
    default_role = forms.ChoiceField(label="Role of newcomers", choices=ASSIGNED_ROLES, initial=Role.MEMBER)
    enabled = forms.BooleanField(label="People can sign in with it", required=False, initial=True)
    joins = forms.BooleanField(
        label="Whoever signs in becomes a member",
        required=False,
        initial=True,
        help_text="Otherwise only members get in.",
    )
    enforced = forms.BooleanField(
        label="People of proven domains get in by no other way",
        required=False,
        help_text="Owners with a second factor keep their password, so that a broken sign-in can be repaired.",
    )


class DomainForm(forms.Form):
    domain = forms.CharField(max_length=253, widget=forms.TextInput(attrs={**_PLAIN, "placeholder": "example.com"}))


class RuleForm(forms.Form):
    group = forms.CharField(max_length=200, help_text="As the provider sends it: a name or an id.")
    team = forms.ModelChoiceField(Team.objects.none(), required=False, empty_label="No team")
    role = forms.ChoiceField(required=False)

    def __init__(self, data: Any = None, *, member: Membership) -> None:
        super().__init__(data, auto_id="rule_%s")
        team, role = self.fields["team"], self.fields["role"]
        assert isinstance(team, forms.ModelChoiceField)
        assert isinstance(role, forms.ChoiceField)
        team.queryset = Team.objects.filter(tenant=member.tenant).order_by("name")
        role.choices = [("", "Role as it is"), *ASSIGNED_ROLES]


class TokenForm(forms.Form):
    name = forms.CharField(max_length=100, widget=forms.TextInput(attrs={"placeholder": "Okta", "autocomplete": "off"}))

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, auto_id="token_%s")


@require_http_methods(["GET", "HEAD", "POST"])
def page(request: OrganisationRequest, org: str) -> HttpResponse:
    """Posting names what to do (`action`)."""
    rights.require(request.membership, Right.MANAGE_SETTINGS)
    if request.method != "POST":
        return _show(request)
    act = _ACTIONS.get(request.POST.get("action", ""))
    if act is None:
        raise InvalidError("Say what to do.", next_step="Go back and use a button of the page.")
    return act(request)


@require_POST
def test(request: OrganisationRequest, org: str) -> HttpResponse:
    """Leave for the provider as a sign-in would; whoever comes back learns what it says."""
    rights.require(request.membership, Right.MANAGE_SETTINGS)
    provider = identity.provider_of(request.organisation)
    if provider is None:
        raise NotFoundError("There is no provider to test.", next_step="Enter one first.")
    return sso_web.leave(request, provider, mode=sso_web.TEST, hint=request.membership.user.email)


def _show(request: OrganisationRequest, **refused: forms.Form) -> HttpResponse:
    tenant = request.organisation
    provider = identity.provider_of(tenant)
    context = {
        "provider": provider,
        "redirect_uri": sso.redirect_uri(),
        "saml_metadata_url": sso.saml_us().entity_id,
        "saml_acs_url": sso.saml_us().acs_url,
        "sign_in_url": f"{settings.PUBLIC_URL}{reverse('sso-start', args=[tenant.slug])}",
        "scim_url": f"{settings.PUBLIC_URL}/scim/v2/{tenant.slug}",
        "domains": EmailDomain.objects.filter(tenant=tenant),
        "domain_looks_max": domain_proofs.LOOKS_MAX,
        "rules": GroupRule.objects.select_related("team").filter(tenant=tenant),
        "groups_count": flags.get_bool("group_based_permissions", tenant),
        "tokens": identity.live_tokens(tenant),
        "provider_form": ProviderForm(initial=_initial(provider)),
        "domain_form": DomainForm(),
        "rule_form": RuleForm(member=request.membership),
        "token_form": TokenForm(),
        **refused,
    }
    return render(request, "tenants/identity.html", context, status=422 if refused else 200)


def _initial(provider: IdentityProvider | None) -> dict[str, Any]:
    names = ["protocol", "groups_claim", "default_role", "enabled", "joins", "enforced"]
    if provider and provider.protocol == Protocol.OPENID:
        names += ["issuer", "client_id"]
    return {name: getattr(provider, name) for name in names} if provider else {}


def _save(request: OrganisationRequest) -> HttpResponse:
    form = ProviderForm(request.POST)
    if form.is_valid():
        try:
            identity.save_provider(actor=request.membership, draft=identity.Draft(**form.cleaned_data))
        except InvalidError as error:
            show_error(form, error)
        else:
            messages.success(request, "Saved. Test the sign-in before people rely on it.")
            return _back(request)
    return _show(request, provider_form=form)


def _add_domain(request: OrganisationRequest) -> HttpResponse:
    form = DomainForm(request.POST)
    if form.is_valid():
        try:
            identity.add_domain(actor=request.membership, text=form.cleaned_data["domain"])
        except MarketplaceError as error:
            show_error(form, error)
        else:
            return _back(request, "domains")
    return _show(request, domain_form=form)


def _check_domain(request: OrganisationRequest) -> HttpResponse:
    return _try(
        request,
        "domains",
        "The domain is yours.",
        lambda: identity.check_domain(actor=request.membership, domain_id=_id(request)),
    )


def _remove_domain(request: OrganisationRequest) -> HttpResponse:
    return _try(
        request,
        "domains",
        "The domain is removed.",
        lambda: identity.remove_domain(actor=request.membership, domain_id=_id(request)),
    )


def _add_rule(request: OrganisationRequest) -> HttpResponse:
    form = RuleForm(request.POST, member=request.membership)
    if form.is_valid():
        team = form.cleaned_data["team"]
        try:
            identity.add_rule(
                actor=request.membership,
                group=form.cleaned_data["group"],
                team_id=team.pk if team else None,
                role=form.cleaned_data["role"],
            )
        except (MarketplaceError, ForbiddenError) as error:
            show_error(form, error)
        else:
            return _back(request, "groups")
    return _show(request, rule_form=form)


def _remove_rule(request: OrganisationRequest) -> HttpResponse:
    return _try(
        request,
        "groups",
        "The rule is removed.",
        lambda: identity.remove_rule(actor=request.membership, rule_id=_id(request)),
    )


def _issue_token(request: OrganisationRequest) -> HttpResponse:
    form = TokenForm(request.POST)
    if form.is_valid():
        try:
            issued = identity.issue_token(actor=request.membership, name=form.cleaned_data["name"])
        except MarketplaceError as error:
            show_error(form, error)
        else:
            context = {"issued": issued, "scim_url": f"{settings.PUBLIC_URL}/scim/v2/{request.organisation.slug}"}
            return render(request, "tenants/identity_token.html", context)
    return _show(request, token_form=form)


def _revoke_token(request: OrganisationRequest) -> HttpResponse:
    return _try(
        request,
        "scim",
        "The token no longer works.",
        lambda: identity.revoke_token(actor=request.membership, token_id=_id(request)),
    )


def _try(request: OrganisationRequest, place: str, done: str, act: Callable[[], object]) -> HttpResponse:
    try:
        act()
    except NotFoundError:
        raise
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}".strip())
    else:
        messages.success(request, done)
    return _back(request, place)


def _id(request: OrganisationRequest) -> UUID:
    try:
        return UUID(request.POST.get("id", ""))
    except ValueError as error:
        raise NotFoundError("There is no such thing here.") from error


def _back(request: OrganisationRequest, place: str = "") -> HttpResponse:
    url = reverse("org:identity", args=[request.organisation.slug])
    return redirect(f"{url}#{place}" if place else url)


_ACTIONS: dict[str, Callable[[OrganisationRequest], HttpResponse]] = {
    "save": _save,
    "add-domain": _add_domain,
    "check-domain": _check_domain,
    "remove-domain": _remove_domain,
    "add-rule": _add_rule,
    "remove-rule": _remove_rule,
    "issue-token": _issue_token,
    "revoke-token": _revoke_token,
}
