"""Who decides about a request: the steps of its approval, and the people of each.

A step names groups of people, any one of whom decides. Whoever asked, whoever the right would be for, and whoever decided an
earlier step is never among them. Where a step has nobody left, the owners and admins of the organisation stand in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q

from access.models import Absence, AccessRequest, ApprovalRule, EventKind
from access.types import Trust
from catalog.choices import Badge
from catalog.models import Server
from core import clock
from core.errors import InvalidError
from tenants.choices import Right, Role
from tenants.models import APIKey, Membership, Team, Tenant, User
from tenants.selectors.people import holders

MANAGERS, OWNERS, AUDITORS, SERVER_TEAM, TEAM_LEAD, PROVIDER = (
    "managers",
    "owners",
    "auditors",
    "server_team",
    "team_lead",
    "provider",
)
GROUP_LABELS = {
    MANAGERS: "Owners and admins",
    OWNERS: "Owners",
    AUDITORS: "Auditors",
    SERVER_TEAM: "The team that owns the server",
    TEAM_LEAD: "Admins of the requester's team",
    PROVIDER: "The provider of the server",
}
STAGES_MAX = 5
DEFAULT_TARGET_H = 24


@dataclass(frozen=True, slots=True)
class Route:
    """The steps of an approval, with when it should be decided and when others are told."""

    stages: list[dict[str, Any]]
    target_h: int = DEFAULT_TARGET_H
    escalate_h: int = DEFAULT_TARGET_H


@dataclass(frozen=True, slots=True)
class Approver:
    """Somebody who may decide the present step, and for whom they would do it when not for themselves."""

    user: User
    on_behalf_of: str = ""


def route_for(tenant: Tenant, server: Server, max_trust: str, side_effects: Iterable[str]) -> Route:
    """The first rule that fits, else the default; the owner of a restricted server of another organisation decides as well."""
    effects = set(side_effects)
    rule = next((each for each in ApprovalRule.objects.all() if _fits(each, server, max_trust, effects)), None)
    if rule is not None:
        route = Route([dict(stage) for stage in rule.stages], rule.target_h, rule.escalate_h)
    else:
        own_team = server.owner_tenant_id == tenant.pk and server.owner_team_id is not None
        route = Route([stage([SERVER_TEAM, MANAGERS] if own_team else [MANAGERS])])
    if asks_provider(tenant, server):
        route.stages.append(stage([PROVIDER]))
    return route


def asks_provider(tenant: Tenant, server: Server) -> bool:
    """Whether the server is restricted by another organisation, whose people then decide as well."""
    return server.badge == Badge.RESTRICTED and server.owner_tenant_id not in {None, tenant.pk}


def stage(any_of: list[str]) -> dict[str, Any]:
    return {"label": " or ".join(_label(token) for token in any_of), "any_of": any_of}


def check_stages(tenant: Tenant, stages: list[list[str]]) -> list[dict[str, Any]]:
    """Stages as a rule keeps them. Raises InvalidError for none, too many, or a group that is not there."""
    if not 1 <= len(stages) <= STAGES_MAX:
        raise InvalidError(f"A rule has 1 to {STAGES_MAX} steps.", code="access.stages_count", field="stages")
    for token in {token for any_of in stages for token in any_of}:
        if token not in GROUP_LABELS and not _exists(tenant, token):
            raise InvalidError("Choose people and teams of this organisation.", code="access.group", field="stages")
    if not all(stages):
        raise InvalidError("Choose for each step who may decide.", code="access.stage_empty", field="stages")
    return [stage(any_of) for any_of in stages]


def is_for_provider(request: AccessRequest) -> bool:
    """Whether the step that is waited for is another organisation's."""
    return request.stage < len(request.route) and PROVIDER in request.route[request.stage]["any_of"]


def approvers(tenant: Tenant, request: AccessRequest) -> list[Approver]:
    """Who may decide the present step of a request; empty when it is the provider's, or when there is nobody."""
    if request.stage >= len(request.route) or is_for_provider(request):
        return []
    barred = barred_people(tenant, request)
    named = _people(tenant, request, request.route[request.stage]["any_of"])
    found = _with_deputies(tenant, [user for user in named if user.pk not in barred], barred)
    for user in _members(tenant, request.delegates):
        found.setdefault(user.pk, Approver(user))
    if not found or request.escalated_at:
        for user in holders(tenant, Right.MANAGE_ACCESS):
            found.setdefault(user.pk, Approver(user))
    return [approver for pk, approver in found.items() if pk not in barred]


def approver_of(tenant: Tenant, request: AccessRequest, user: User) -> Approver | None:
    return next((each for each in approvers(tenant, request) if each.user.pk == user.pk), None)


def keep_deciders(tenant: Tenant, request: AccessRequest) -> None:
    """Write down who may decide now, so that lists and counts need not work it out; decisions never rely on it."""
    people = sorted(each.user.pk for each in approvers(tenant, request))
    if people != request.deciders:
        request.deciders = people
        AccessRequest.objects.filter(pk=request.pk).update(deciders=people)


def barred_people(tenant: Tenant, request: AccessRequest) -> set[UUID]:
    """Four eyes: the requester, those whom the right would be for now and when it was asked, and earlier deciders."""
    earlier = request.events.filter(kind=EventKind.APPROVED, digest=request.digest).values_list("actor_id", flat=True)
    return {
        request.requester_id,
        *request.beneficiaries,
        *beneficiaries(
            tenant,
            user=request.subject_user,
            team=request.subject_team,
            key=request.subject_key,
        ),
        *(actor for actor in earlier if actor),
    }


def beneficiaries(tenant: Tenant, *, user: str = "", team: str = "", key: str = "") -> set[UUID]:
    """The people who would act with the right: the person, the maker of a key, the members of a team.

    An agent is the organisation's and nobody's in particular: whoever made a key for it may decide what others ask for it.
    Rights from files name people by address and teams by name as well; what means nobody here is for nobody here.
    """
    members = Membership.objects.filter(tenant=tenant)
    keys = APIKey.objects.filter(tenant=tenant, revoked_at=None).exclude(created_by=None)
    user_id, team_id, key_id = (parse_uuid(text) for text in (user, team, key))
    found = {user_id} if user_id else set(members.filter(user__email__iexact=user).values_list("user_id", flat=True))
    if team:
        found |= set(
            members.filter(Q(teams=team_id) if team_id else Q(teams__slug=team)).values_list("user_id", flat=True)
        )
    if key_id:
        found |= set(keys.filter(pk=key_id).values_list("created_by_id", flat=True))
    return found


def parse_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _fits(rule: ApprovalRule, server: Server, max_trust: str, effects: set[str]) -> bool:
    return (
        rule.server_id in {None, server.pk}
        and Trust.parse(max_trust) >= Trust.parse(rule.min_trust)
        and (not rule.side_effect or rule.side_effect in effects)
    )


def _label(token: str) -> str:
    if token in GROUP_LABELS:
        return GROUP_LABELS[token]
    kind, _, pk = token.partition(":")
    if kind == "team":
        return getattr(Team.objects.filter(pk=pk).first(), "name", "A team")
    return getattr(User.objects.filter(pk=pk).first(), "email", "A person")


def _exists(tenant: Tenant, token: str) -> bool:
    kind, _, text = token.partition(":")
    pk = parse_uuid(text)
    if pk is None:
        return False
    if kind == "team":
        return Team.objects.filter(tenant=tenant, pk=pk).exists()
    return kind == "user" and Membership.objects.filter(tenant=tenant, user_id=pk).exists()


def _people(tenant: Tenant, request: AccessRequest, tokens: Iterable[str]) -> list[User]:
    found: dict[UUID, User] = {}
    for token in tokens:
        for user in _group(tenant, request, token):
            found.setdefault(user.pk, user)
    return list(found.values())


def _group(tenant: Tenant, request: AccessRequest, token: str) -> list[User]:
    """Active members of the organisation, whatever the group."""
    match token.partition(":"):
        case (("managers" | "owners" | "auditors") as name, _, _):
            return _of_roles(tenant, name)
        case ("server_team", _, _):
            return _of_teams(tenant, Team.objects.filter(tenant=tenant, servers=request.server_id))
        case ("team_lead", _, _):
            teams = Team.objects.filter(tenant=tenant, members__user_id=request.requester_id)
            managers = {user.pk for user in holders(tenant, Right.MANAGE_ACCESS)}
            return [user for user in _of_teams(tenant, teams) if user.pk in managers]
        case ("team", _, pk):
            return _of_teams(tenant, Team.objects.filter(tenant=tenant, pk=pk))
        case ("user", _, pk):
            return _members(tenant, [UUID(pk)])
    return []


def _of_roles(tenant: Tenant, name: str) -> list[User]:
    if name == MANAGERS:
        return holders(tenant, Right.MANAGE_ACCESS)
    role = Role.OWNER if name == OWNERS else Role.AUDITOR
    return [m.user for m in _memberships(tenant).filter(role=role)]


def _of_teams(tenant: Tenant, teams: Any) -> list[User]:
    return [m.user for m in _memberships(tenant).filter(teams__in=teams).distinct()]


def _members(tenant: Tenant, ids: Iterable[UUID]) -> list[User]:
    return [m.user for m in _memberships(tenant).filter(user_id__in=list(ids))]


def _memberships(tenant: Tenant) -> Any:
    return Membership.objects.filter(tenant=tenant, user__is_active=True).select_related("user")


def _with_deputies(tenant: Tenant, people: list[User], barred: set[UUID]) -> dict[UUID, Approver]:
    """Those who are away can still decide; so can their deputies, as long as they are away."""
    found = {user.pk: Approver(user) for user in people}
    away = Absence.objects.filter(user_id__in=list(found), until__gt=clock.now())
    for absence in away:
        for deputy in _members(tenant, [absence.deputy_id]):
            if deputy.pk not in barred:
                found.setdefault(deputy.pk, Approver(deputy, absence.user_label))
    return found
