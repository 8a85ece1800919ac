"""Who a grant can be for: people, keys, teams and agents of one organisation, as form values `kind:id`."""

from __future__ import annotations

from collections.abc import Sequence

from access.models import Grant
from access.selectors import list_keys
from access.services.grants import Subject
from access.types import SubjectKind
from tenants.models import Membership, Team, Tenant

Choices = list[tuple[str, Sequence[tuple[str, str]]]]


def subject_choices(tenant: Tenant) -> Choices:
    """Groups of (value, label) for a select; groups without entries are left out."""
    members = Membership.objects.filter(tenant=tenant).select_related("user").order_by("user__email")
    keys = [key for key in list_keys(tenant).filter(revoked_at=None) if key.state == "active"]
    agents = {key.agent for key in keys if key.agent} | set(
        Grant.objects.exclude(subject_agent="").values_list("subject_agent", flat=True)
    )
    groups: Choices = [
        ("Keys", [(f"key:{key.pk}", f"{key.name} ({key.prefix})") for key in keys]),
        ("Agents", [(f"agent:{name}", name) for name in sorted(agents)]),
        ("People", [(f"user:{member.user_id}", _person(member)) for member in members]),
        ("Teams", [(f"team:{team.pk}", team.name) for team in Team.objects.filter(tenant=tenant)]),
        ("Organisation", [(f"{SubjectKind.ORGANISATION}:", f"Everybody in {tenant.name}")]),
    ]
    return [(name, entries) for name, entries in groups if entries]


def chosen_subject(choices: Choices, value: str, agent: str) -> Subject:
    """The subject that a checked form means."""
    if agent:
        return Subject.of(SubjectKind.AGENT, agent.strip(), agent.strip())
    kind, _, identity = value.partition(":")
    label = next(label for _, entries in choices for entry, label in entries if entry == value)
    return Subject.of(kind, identity, label)


def _person(member: Membership) -> str:
    return f"{member.user.name} ({member.user.email})" if member.user.name else member.user.email
