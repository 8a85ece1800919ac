"""What files call the people, teams, keys and servers of an organisation, and what they are here.

People are called by their address, teams by their short name, keys by the part of their text that is no secret, servers by the
name in gateway paths. A human or team that the organisation does not know is kept as it is called: a key that may assert
identity can name it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from uuid import UUID

from access.formats.entries import SubjectEntry
from access.formats.lints import Known, ServerFacts, ToolFacts
from access.services.grants import Subject
from catalog.models import Server
from catalog.policies import PolicySettings
from catalog.selectors.listing import find_server, visible_to
from catalog.types import Viewer
from core.errors import InvalidError
from tenants.context import PLATFORM, viewer
from tenants.models import APIKey, Consent, Tenant
from tenants.selectors import names
from tenants.selectors.people import list_teams


class Directory:
    """Names of one organisation, each looked up once. Every server that any of its teams may see is known to it."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self._servers: dict[str, Server | None] = {}
        self._slugs: dict[UUID, str] = {}

    @cached_property
    def viewer(self) -> Viewer:
        return Viewer(self.tenant.pk, frozenset(team.pk for team in list_teams(self.tenant)))

    @cached_property
    def _people(self) -> dict[str, str]:
        return names.people(self.tenant)

    @cached_property
    def _addresses(self) -> dict[str, str]:
        return {user_id: address for address, user_id in self._people.items()}

    @cached_property
    def _teams(self) -> dict[str, str]:
        known = names.teams(self.tenant)
        return known | {team_id: team_id for team_id in known.values()}

    @cached_property
    def _team_slugs(self) -> dict[str, str]:
        return {str(team.pk): team.slug for team in list_teams(self.tenant)}

    @cached_property
    def _keys(self) -> dict[str, tuple[str, str]]:
        """Id and name of keys and of what stands for one, by what files call them."""
        found = {key.key_id: (str(key.pk), key.name) for key in APIKey.objects.filter(tenant=self.tenant)}
        consents = Consent.objects.filter(tenant=self.tenant)
        return found | {consent.key_id: (str(consent.pk), consent.name) for consent in consents}

    @cached_property
    def _key_names(self) -> dict[str, str]:
        return {pk: key_id for key_id, (pk, _) in self._keys.items()}

    def server(self, slug: str) -> Server | None:
        """The server that a name means for the organisation, an own one before a public one."""
        if slug not in self._servers:
            self._servers[slug] = find_server(self.viewer, slug)
        return self._servers[slug]

    def learn_slugs(self, server_ids: Iterable[UUID]) -> None:
        """Look up what servers of grants are called, those that are not to be seen any more included."""
        wanted = set(server_ids) - self._slugs.keys()
        if wanted:
            with viewer(PLATFORM):
                rows = visible_to(Viewer(platform=True)).filter(pk__in=wanted)
                self._slugs.update(rows.values_list("pk", "slug"))

    def slug(self, server_id: UUID) -> str:
        self.learn_slugs([server_id])
        return self._slugs.get(server_id, "")

    def subject(self, entry: SubjectEntry) -> Subject:
        """Raises InvalidError for a key that the organisation does not have."""
        key_id, key_name = self._keys.get(entry.key, (entry.key if entry.key in self._key_names else "", ""))
        if entry.key and not key_id:
            raise InvalidError(
                f"The organisation has no key {entry.key[:40]!r}.", code="access.key_unknown", field="subject.keyID"
            )
        user = self._people.get(entry.human.lower(), entry.human)
        team = self._teams.get(entry.team, entry.team)
        label = ", ".join(
            part
            for part in (
                self._addresses.get(user, user),
                entry.agent,
                self._team_slugs.get(team, team),
                key_name or entry.key,
            )
            if part
        )
        return Subject(user=user, agent=entry.agent, team=team, key=key_id, everyone=entry.everyone, label=label)

    def subject_entry(self, subject: Subject) -> SubjectEntry:
        return SubjectEntry(
            human=self._addresses.get(subject.user, subject.user),
            agent=subject.agent,
            team=self._team_slugs.get(subject.team, subject.team),
            key=self._key_names.get(subject.key, subject.key),
            everyone=subject.everyone,
        )

    def normal(self, entry: SubjectEntry) -> SubjectEntry:
        """The same subject under the names that we write. Raises InvalidError like `subject`."""
        return self.subject_entry(self.subject(entry))

    def team_of(self, server: Server) -> str:
        """The short name of the team that owns the server, where it is one of the organisation's own."""
        if server.owner_tenant_id != self.tenant.pk or server.owner_team_id is None:
            return ""
        return self._team_slugs.get(str(server.owner_team_id), "")

    def known(self, slugs: Iterable[str]) -> Known:
        """What lints have to know of the servers that files name."""
        found = {slug: server for slug in slugs if (server := self.server(slug)) is not None}
        return Known(
            servers={slug: self._facts(server) for slug, server in found.items()},
            has_human=lambda name: name.lower() in self._people or name in self._addresses,
            has_team=lambda name: name in self._teams,
        )

    def _facts(self, server: Server) -> ServerFacts:
        tools = server.current_version.tools.all() if server.current_version else ()
        return ServerFacts(
            slug=server.slug,
            tools={tool.name: ToolFacts(tool.required_trust, tool.side_effect) for tool in tools},
            session_required=PolicySettings.of(server).session_required,
            team=self.team_of(server),
        )
