"""Pages of who decides: rules, being away; and reviews of the access that was given."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from access import selectors as access
from access.models import Absence, ApprovalRule, Campaign, CampaignItem, Grant, ProviderReview, ReviewOutcome
from access.requests import absences, approval_rules, campaigns, providers, routing, selectors
from access.requests.telling import duration_words
from access.services import grants
from access.web.request_forms import AbsenceForm, CampaignForm, RuleForm
from access.web.requests import tabs
from access.web.viewing import get_server, servers_by_id, viewer_of
from core import clock
from core.errors import MarketplaceError, NotFoundError
from tenants.choices import Right
from tenants.models import Membership
from tenants.requests import OrganisationRequest
from tenants.selectors.people import list_members
from tenants.services.rights import require, who_can


@require_http_methods(["GET", "HEAD", "POST"])
def rules(request: OrganisationRequest, org: str) -> HttpResponse:
    """Everybody reads who decides; those who manage access change it. Anybody may say that they are away."""
    can_manage = request.membership.can(Right.MANAGE_ACCESS)
    servers = access.callable_servers(viewer_of(request)).order_by("name")[:500] if can_manage else []
    form = RuleForm(request.POST or None, tenant=request.organisation, servers=servers)
    if request.method == "POST":
        require(request.membership, Right.MANAGE_ACCESS)
        if form.is_valid() and _add_rule(request, form):
            messages.success(request, "The rule holds for requests from now on.")
            return redirect("org:request-rules", org)
    found = list(ApprovalRule.objects.all())
    named = servers_by_id(request, [rule.server_id for rule in found])
    away = Absence.objects.filter(user_id=request.user.pk, until__gt=clock.now()).first()
    context = {
        "rules": [
            {"rule": rule, "server": named.get(rule.server_id) if rule.server_id else None, "steps": rule.stages}
            for rule in found
        ],
        "default": routing.GROUP_LABELS[routing.MANAGERS],
        "form": form if can_manage else None,
        "can_manage": can_manage,
        "helpers": "" if can_manage else who_can(request.membership, Right.MANAGE_ACCESS),
        "away": away,
        "absence": AbsenceForm(colleagues=_colleagues(request)),
        "tabs": tabs(request, "rules"),
    }
    return render(request, "access/request_rules.html", context)


@require_POST
def rule_remove(request: OrganisationRequest, org: str, rule_id: UUID) -> HttpResponse:
    approval_rules.remove(actor=request.membership, rule_id=rule_id)
    messages.success(request, "The rule is removed. Requests that wait keep their route.")
    return redirect("org:request-rules", org)


@require_POST
def absence(request: OrganisationRequest, org: str) -> HttpResponse:
    """Go away, or come back when nothing is named."""
    if "back" in request.POST:
        absences.come_back(actor=request.membership)
        messages.success(request, "You decide yourself again.")
        return redirect("org:request-rules", org)
    form = AbsenceForm(request.POST, colleagues=_colleagues(request))
    if not form.is_valid():
        messages.error(request, "Choose a colleague and a day.")
        return redirect("org:request-rules", org)
    deputy = Membership.objects.select_related("user").get(
        tenant=request.organisation, user_id=UUID(form.cleaned_data["deputy"])
    )
    try:
        absences.leave(actor=request.membership, deputy=deputy, until=form.moment())
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}")
    else:
        messages.success(request, f"{deputy.user.email} can decide instead of you.")
    return redirect("org:request-rules", org)


@require_http_methods(["GET", "HEAD", "POST"])
def reviews(request: OrganisationRequest, org: str) -> HttpResponse:
    """Reviews of who has access, and rights that nobody uses."""
    require(request.membership, Right.MANAGE_ACCESS)
    form = CampaignForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = campaigns.open_campaign(
                actor=request.membership,
                name=form.cleaned_data["name"],
                due_at=form.moment(),
                revoke_unanswered=form.cleaned_data["revoke_unanswered"],
            )
        except MarketplaceError as error:
            form.refuse(error)
        else:
            return redirect("org:review", org, made.pk)
    unused = selectors.unused_rights()
    named = servers_by_id(request, [each.grant.server_id for each in unused])
    context = {
        "campaigns": [
            {
                "campaign": each,
                "open": each.items.filter(outcome=ReviewOutcome.PENDING).count() if each.closed_at is None else 0,
                "all": each.items.count(),
            }
            for each in Campaign.objects.all()[:50]
        ],
        "unused": [{"right": each, "server": named.get(each.grant.server_id)} for each in unused],
        "form": form,
        "tabs": tabs(request, "reviews"),
    }
    return render(request, "access/reviews.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def review(request: OrganisationRequest, org: str, campaign_id: UUID) -> HttpResponse:
    require(request.membership, Right.MANAGE_ACCESS)
    campaign = Campaign.objects.filter(pk=campaign_id).first()
    if campaign is None:
        raise NotFoundError("There is no such review in this organisation.")
    if request.method == "POST":
        try:
            item = campaigns.decide(
                actor=request.membership,
                item_id=routing.parse_uuid(request.POST.get("item", "")) or UUID(int=0),
                keep=request.POST.get("act") == "keep",
                comment=request.POST.get("comment", ""),
            )
            messages.success(request, f"{item.get_outcome_display()}.")
        except MarketplaceError as error:
            messages.error(request, f"{error.message} {error.next_step}")
        return redirect("org:review", org, campaign.pk)
    items = list(campaign.items.all())
    held = Grant.objects.in_bulk([item.grant_id for item in items])
    named = servers_by_id(request, [grant.server_id for grant in held.values()])
    context = {
        "campaign": campaign,
        "rows": [_row(request, item, held[item.grant_id], named) for item in items],
        "over": campaign.closed_at is not None,
    }
    return render(request, "access/review.html", context)


@require_POST
def shrink(request: OrganisationRequest, org: str, grant_id: UUID) -> HttpResponse:
    """Leave of a right what was used: fewer tools, or nothing."""
    require(request.membership, Right.MANAGE_ACCESS)
    found = next((each for each in selectors.unused_rights() if each.grant.pk == grant_id), None)
    if found is None:
        raise NotFoundError("This right is used, or is not there any more.")
    server = servers_by_id(request, [found.grant.server_id]).get(found.grant.server_id)
    if found.used and found.named and server is not None:
        grants.replace(
            tenant=request.organisation,
            grant_id=grant_id,
            actor=request.user,
            server=server,
            tools=list(found.used),
        )
        messages.success(request, f"Only {', '.join(found.used)} may still be called.")
    else:
        grants.revoke(tenant=request.organisation, grant_id=grant_id, actor=request.user)
        messages.success(request, "The access is revoked.")
    return redirect("org:reviews", org)


@require_http_methods(["GET", "HEAD", "POST"])
def provider_request(request: OrganisationRequest, org: str, request_id: UUID) -> HttpResponse:
    """What another organisation asks of the owner of a restricted server."""
    require(request.membership, Right.PUBLISH)
    found = ProviderReview.objects.filter(pk=request_id).first()
    if found is None:
        raise NotFoundError("There is no such request to this organisation.")
    if request.method == "POST":
        try:
            providers.decide(
                actor=request.membership,
                review_id=found.pk,
                approve=request.POST.get("act") == "approve",
                digest=request.POST.get("digest", ""),
                comment=request.POST.get("comment", ""),
            )
            messages.success(request, "Your decision is recorded, and the other organisation was told.")
        except MarketplaceError as error:
            messages.error(request, f"{error.message} {error.next_step}")
        return redirect("org:provider-request", org, found.pk)
    facts = [
        {"label": "Organisation", "value": found.organisation},
        {"label": "Asked by", "value": found.requester_label},
        {"label": "Tools", "value": ", ".join(tool["name"] for tool in found.tools) or "every tool"},
        {"label": "May", "value": ", ".join(found.side_effects)},
        {"label": "Trust", "value": f"up to {found.max_trust}"},
        {"label": "For how long", "value": duration_words(found.duration_h)},
    ]
    server = servers_by_id(request, [found.server_id]).get(found.server_id)
    return render(request, "access/provider_request.html", {"found": found, "facts": facts, "server": server})


def _add_rule(request: OrganisationRequest, form: RuleForm) -> bool:
    data = form.cleaned_data
    wanted = approval_rules.Wanted(
        name=data["name"],
        stages=form.stages(),
        server=get_server(request, data["server"]) if data["server"] else None,
        min_trust=data["min_trust"],
        side_effect=data["side_effect"],
        target_h=data["target_h"],
        escalate_h=data["escalate_h"],
    )
    try:
        approval_rules.add(actor=request.membership, wanted=wanted)
    except MarketplaceError as error:
        form.refuse(error)
        return False
    return True


def _row(request: OrganisationRequest, item: CampaignItem, grant: Grant, named: dict[UUID, Any]) -> dict[str, Any]:
    own = request.user.pk in campaigns.beneficiaries_of(request.organisation, grant)
    return {"item": item, "grant": grant, "server": named.get(grant.server_id), "own": own}


def _colleagues(request: OrganisationRequest) -> list[tuple[str, str]]:
    people = list_members(request.organisation)
    return [(str(each.user_id), each.user.email) for each in people if each.user_id != request.user.pk]
