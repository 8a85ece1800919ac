"""Groups of the directory: teams of the organisation, whose members it says.

A group that is removed leaves its team, empty of those whom it put there: grants and servers may hang on a team, and no directory
takes those away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from audit import services as audit
from tenants.models import DirectoryGroup, DirectoryUser, Membership, Team, Tenant
from tenants.scim import reading
from tenants.scim.errors import ScimError, invalid
from tenants.scim.filters import Attribute, Kind
from tenants.scim.reading import Change
from tenants.services import directory, onboarding

SLUG_CHARS = 40
FILTERS = {
    "displayname": Attribute("team__name", is_always=True),
    "externalid": Attribute("external_id", Kind.EXACT),
    "meta.created": Attribute("created_at", Kind.MOMENT),
    "meta.lastmodified": Attribute("updated_at", Kind.MOMENT),
    "id": Attribute("pk", Kind.ID),
}


def rows_of(tenant: Tenant) -> QuerySet[DirectoryGroup]:
    return DirectoryGroup.objects.select_related("team", "tenant").filter(tenant=tenant)


def find(tenant: Tenant, group_id: UUID) -> DirectoryGroup:
    row = rows_of(tenant).filter(pk=group_id).first()
    if row is None:
        raise ScimError(404, "There is no such group in this organisation.")
    return row


def members_of(row: DirectoryGroup) -> list[DirectoryUser]:
    """Those of the team whom the directory knows."""
    people = row.team.members.values_list("user_id", flat=True)
    return list(DirectoryUser.objects.select_related("user", "tenant").filter(tenant=row.tenant, user_id__in=people))


def create(tenant: Tenant, body: Mapping[str, Any], actor: audit.Party) -> DirectoryGroup:
    """A team of this name that people made becomes the group's. Raises ScimError: 409 where a group has it."""
    name = _name(reading.text(body, "displayName", 100))
    with transaction.atomic():
        if DirectoryGroup.objects.filter(tenant=tenant, team__name__iexact=name).exists():
            raise ScimError(409, "There is such a group already.", "uniqueness")
        team = Team.objects.filter(tenant=tenant, name__iexact=name, directory_group=None).first()
        team = team or Team.objects.create(tenant=tenant, name=name, slug=_free_slug(tenant, name))
        row = DirectoryGroup.objects.create(tenant=tenant, team=team, external_id=reading.text(body, "externalId", 255))
        _record(row, "group_added", actor, {"slug": team.slug})
        _set_members(row, reading.members_of(reading.member(body, "members")), actor)
    return row


def put(row: DirectoryGroup, body: Mapping[str, Any], actor: audit.Party) -> DirectoryGroup:
    with transaction.atomic():
        _rename(row, reading.text(body, "displayName", 100), reading.text(body, "externalId", 255), actor)
        _set_members(row, reading.members_of(reading.member(body, "members")), actor)
    return row


def patch(row: DirectoryGroup, body: Mapping[str, Any], actor: audit.Party) -> DirectoryGroup:
    changes = reading.changes_of(body)
    with transaction.atomic():
        for change in changes:
            _apply(row, change, actor)
    return row


def remove(row: DirectoryGroup, actor: audit.Party) -> None:
    with transaction.atomic():
        _set_members(row, [], actor)
        _record(row, "group_removed", actor, {})
        row.delete()


def _apply(row: DirectoryGroup, change: Change, actor: audit.Party) -> None:
    match change.attribute:
        case "displayname" if change.op != "remove":
            _rename(row, reading.plain_text(change.value, "displayName", 100), row.external_id, actor)
        case "externalid":
            gone = change.op == "remove"
            text = "" if gone else reading.plain_text(change.value, "externalId", 255)
            _rename(row, row.team.name, text, actor)
        case "members":
            _change_members(row, change, actor)
        case _:
            return  # not kept


def _change_members(row: DirectoryGroup, change: Change, actor: audit.Party) -> None:
    named = [reading.id_of(change.picked)] if change.picked else reading.members_of(change.value)
    if change.op == "replace":
        _set_members(row, named, actor)
    elif change.op == "add":
        _move(row, add=_people(row, named), remove=[], actor=actor)
    elif change.picked or change.value is not None:
        present = {each.pk: each for each in members_of(row)}
        _move(row, add=[], remove=[present[each] for each in named if each in present], actor=actor)
    else:
        _set_members(row, [], actor)


def _set_members(row: DirectoryGroup, named: Collection[UUID], actor: audit.Party) -> None:
    """Members whom people put into the team and whom the directory does not know stay."""
    wanted = _people(row, named)
    keep = {each.pk for each in wanted}
    _move(row, add=wanted, remove=[each for each in members_of(row) if each.pk not in keep], actor=actor)


def _people(row: DirectoryGroup, named: Collection[UUID]) -> list[DirectoryUser]:
    found = list(DirectoryUser.objects.select_related("user", "tenant").filter(tenant=row.tenant, pk__in=list(named)))
    if len(found) != len(set(named)):
        raise invalid("A member is not among the users of this organisation.")
    return found


def _move(
    row: DirectoryGroup, *, add: Iterable[DirectoryUser], remove: Iterable[DirectoryUser], actor: audit.Party
) -> None:
    for people, joins in ((add, True), (remove, False)):
        for person in people:
            member = Membership.objects.filter(tenant=row.tenant, user=person.user).first()
            if member is None:
                continue  # not active: in no team until they are
            teams = [row.team]
            directory.change_teams(
                member, person, add=teams if joins else [], remove=[] if joins else teams, actor=actor
            )
            _follow_rules(person, member, actor)


def _follow_rules(person: DirectoryUser, member: Membership, actor: audit.Party) -> None:
    groups = DirectoryGroup.objects.filter(tenant=person.tenant, team__in=member.teams.all())
    directory.apply_groups(person, groups.values_list("team__name", flat=True), actor=actor)


def _rename(row: DirectoryGroup, name: str, external_id: str, actor: audit.Party) -> None:
    """The team's technical name stays: grants and manifests name it."""
    name = _name(name)
    if (row.team.name, row.external_id) == (name, external_id):
        return
    before, row.team.name, row.external_id = row.team.name, name, external_id
    row.team.save(update_fields=["name", "updated_at"])
    row.save()
    _record(row, "group_changed", actor, {"from": before, "to": name})


def _name(name: str) -> str:
    if not name:
        raise invalid("displayName is missing.")
    return name


def _free_slug(tenant: Tenant, name: str) -> str:
    """A technical name for any name that a directory gives: names of other scripts, and those that differ in signs only."""
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    slug = onboarding.suggest_slug(name) or f"group-{mark}"
    if Team.objects.filter(tenant=tenant, slug=slug).exists():
        slug = f"{slug[: SLUG_CHARS - len(mark) - 1].rstrip('-')}-{mark}"
    return slug


def _record(row: DirectoryGroup, verb: str, actor: audit.Party, data: dict[str, object]) -> None:
    party = audit.Party("team", str(row.team_id), row.team.name)
    directory.record(row.tenant, f"tenants:directory:{verb}", actor, party, data)
