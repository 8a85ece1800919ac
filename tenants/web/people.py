"""People of an organisation: members and their roles, teams, invitations."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from tenants.choices import Right, Role
from tenants.models import Invitation, Membership, Team
from tenants.requests import OrganisationRequest
from tenants.selectors import people
from tenants.services import invitations, memberships, rights, teams
from tenants.web.forms import InvitationForm, RoleForm, TeamForm, TeamMemberForm, others_of, show_error


@require_safe
def people_list(request: OrganisationRequest, org: str) -> HttpResponse:
    return _show(request)


@require_http_methods(["GET", "POST"])
def invitation_create(request: OrganisationRequest, org: str) -> HttpResponse:
    rights.require(request.membership, Right.MANAGE_PEOPLE)
    if request.method == "GET":
        return redirect("org:people", org)
    form = InvitationForm(request.POST, roles=memberships.assignable_roles(request.membership))
    if form.is_valid():
        try:
            sent = invitations.invite(actor=request.membership, **form.cleaned_data)
        except (ConflictError, InvalidError, ForbiddenError) as error:
            show_error(form, error)
        else:
            messages.success(request, f"{sent.invitation.email} gets an invitation by mail.")
            return redirect("org:people", org)
    return _show(request, invitation_form=form)


@require_http_methods(["GET", "POST"])
def invitation_withdraw(request: OrganisationRequest, org: str, invitation_id: UUID) -> HttpResponse:
    rights.require(request.membership, Right.MANAGE_PEOPLE)
    if request.method == "POST":
        withdrawn = invitations.withdraw(actor=request.membership, invitation_id=invitation_id)
        messages.success(request, f"The invitation of {withdrawn.email} no longer works.")
        return redirect("org:people", org)
    invitation = people.list_invitations(request.organisation).filter(pk=invitation_id).first()
    if invitation is None:
        raise NotFoundError("There is no open invitation of this kind.")
    return _confirm(request, _withdraw_question(invitation, org))


@require_http_methods(["GET", "POST"])
def member_change(request: OrganisationRequest, org: str, membership_id: UUID) -> HttpResponse:
    rights.require(request.membership, Right.MANAGE_PEOPLE)
    form = RoleForm(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        try:
            role = form.cleaned_data["role"] if form.is_valid() else request.POST.get("role", "")
            member = memberships.change_role(actor=request.membership, membership_id=membership_id, role=role)
        except (ConflictError, InvalidError) as error:
            messages.error(request, f"{error.message} {error.next_step}")
        else:
            messages.success(request, f"{member.user} is {Role(member.role).label.lower()}.")
    return redirect("org:people", org)


@require_http_methods(["GET", "POST"])
def member_remove(request: OrganisationRequest, org: str, membership_id: UUID) -> HttpResponse:
    """Removing somebody, or leaving; the last owner can do neither to themselves."""
    leaving = membership_id == request.membership.pk
    if not leaving:
        rights.require(request.membership, Right.MANAGE_PEOPLE)
    if request.method == "GET":
        member = people.list_members(request.organisation).filter(pk=membership_id).first()
        if member is None:
            raise NotFoundError("There is no such member in this organisation.")
        return _confirm(request, _remove_question(member, request.membership, org))
    try:
        member = memberships.remove(actor=request.membership, membership_id=membership_id)
    except ConflictError as error:
        messages.error(request, f"{error.message} {error.next_step}")
        return redirect("org:people", org)
    if leaving:
        request.session.pop("organisation", None)
        messages.success(request, f"You have left {request.organisation.name}.")
        return redirect("landing")
    messages.success(request, f"{member.user} no longer belongs to {request.organisation.name}.")
    return redirect("org:people", org)


@require_http_methods(["GET", "POST"])
def team_create(request: OrganisationRequest, org: str) -> HttpResponse:
    rights.require(request.membership, Right.MANAGE_PEOPLE)
    if request.method == "GET":
        return redirect("org:people", org)
    form = TeamForm(request.POST)
    if form.is_valid():
        try:
            team = teams.create(actor=request.membership, name=form.cleaned_data["name"])
        except (ConflictError, InvalidError) as error:
            show_error(form, error)
        else:
            messages.success(request, f"The team {team.name} is there. Add people to it.")
            return redirect("org:people", org)
    return _show(request, team_form=form)


@require_POST
def team_member_add(request: OrganisationRequest, org: str, team_id: UUID) -> HttpResponse:
    return _change_team(request, org, team_id, teams.add)


@require_POST
def team_member_remove(request: OrganisationRequest, org: str, team_id: UUID) -> HttpResponse:
    return _change_team(request, org, team_id, teams.take_out)


def _change_team(request: OrganisationRequest, org: str, team_id: UUID, change: Callable[..., Team]) -> HttpResponse:
    form = TeamMemberForm(request.POST)
    if not form.is_valid():
        raise InvalidError("Choose a member.", next_step="Go back and choose one from the list.", field="member")
    change(actor=request.membership, team_id=team_id, membership_id=form.member_id())
    return redirect("org:people", org)


def _show(
    request: OrganisationRequest, invitation_form: forms.Form | None = None, team_form: forms.Form | None = None
) -> HttpResponse:
    actor = request.membership
    manages = actor.can(Right.MANAGE_PEOPLE)
    assignable = memberships.assignable_roles(actor)
    members = list(people.list_members(request.organisation))
    context = {
        "manages": manages,
        "who_can": "" if manages else rights.who_can(actor, Right.MANAGE_PEOPLE),
        "members": [_member_row(member, actor, assignable) for member in members],
        "teams": [
            {"team": team, "members": team.members.all(), "others": others_of(team, members)}
            for team in people.list_teams(request.organisation)
        ],
        "invitations": [
            {"invitation": invitation, "question": _withdraw_question(invitation, request.organisation.slug)}
            for invitation in (people.list_invitations(request.organisation) if manages else [])
        ],
        "invitation_form": invitation_form or InvitationForm(roles=assignable),
        "team_form": team_form or TeamForm(),
    }
    status = 422 if invitation_form is not None or team_form is not None else 200
    return render(request, "tenants/people.html", context, status=status)


def _member_row(member: Membership, actor: Membership, assignable: list[str]) -> dict[str, object]:
    changeable = member.role in assignable
    return {
        "member": member,
        "is_you": member.pk == actor.pk,
        "roles": [(role, Role(role).label) for role in assignable] if changeable else [],
        "question": _remove_question(member, actor, actor.tenant.slug) if changeable or member.pk == actor.pk else None,
    }


def _remove_question(member: Membership, actor: Membership, org: str) -> dict[str, str]:
    leaving = member.pk == actor.pk
    name = actor.tenant.name
    return {
        "trigger": "Leave" if leaving else "Remove",
        "title": f"Leave {name}?" if leaving else f"Remove {member.user} from {name}?",
        "consequence": (
            f"{'You lose' if leaving else f'{member.user.email} loses'} access to the organisation at once. Keys that"
            f" {'you' if leaving else 'they'} created belong to {name} and keep working until somebody revokes them."
        ),
        "confirm": "Leave" if leaving else "Remove",
        "action": reverse("org:member-remove", args=[org, member.pk]),
        "back_url": reverse("org:people", args=[org]),
    }


def _withdraw_question(invitation: Invitation, org: str) -> dict[str, str]:
    return {
        "trigger": "Withdraw",
        "title": f"Withdraw the invitation of {invitation.email}?",
        "consequence": "The link in the mail stops working at once. You can invite the same address again.",
        "confirm": "Withdraw",
        "action": reverse("org:invitation-withdraw", args=[org, invitation.pk]),
        "back_url": reverse("org:people", args=[org]),
    }


def _confirm(request: OrganisationRequest, question: dict[str, str]) -> HttpResponse:
    return render(request, "tenants/confirm.html", {"question": question})
