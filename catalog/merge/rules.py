"""Which claims are one server, and which of them wins. Pure.

A claim is one entry of one source. What comes out depends on the set of claims alone, never on the order in which they came.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from catalog.merge.identity import ADDRESS, PACKAGE

_LATEST_MOMENT = datetime.max.replace(tzinfo=UTC)
# Repository and package say more than an address, which may be a gateway in front of many servers.
_STAGES = (PACKAGE, ADDRESS)


@dataclass(frozen=True, slots=True)
class Claim:
    """`is_alive` is false when the source says that the entry is deleted: such a claim is kept and shows nothing."""

    source_id: UUID
    source_name: str
    external_id: str
    registry_name: str
    keys: frozenset[str]
    priority: int = 0
    is_proven: bool = False
    published_at: datetime | None = None
    is_alive: bool = True

    @property
    def rank(self) -> tuple[bool, bool, int, datetime, str, str, str]:
        """The smaller wins: what lives, then a proven namespace, then the source's priority, then the older."""
        return (
            not self.is_alive,
            not self.is_proven,
            -self.priority,
            self.published_at or _LATEST_MOMENT,
            self.source_name,
            str(self.source_id),
            self.external_id,
        )


@dataclass(slots=True)
class Group:
    """The claims of one server; the first one wins."""

    claims: list[Claim]
    keys: frozenset[str]
    sources: set[UUID] = field(default_factory=set)

    @property
    def winner(self) -> Claim:
        return self.claims[0]

    @property
    def registry_name(self) -> str:
        return next((claim.registry_name for claim in self.claims if claim.registry_name), "")


def group(claims: Collection[Claim]) -> list[Group]:
    """Claims of one registry name are one server, and two names are two.

    A claim without a name joins the server with which it shares repository and package, else an address; the one whose own
    claims rank best when there are several. One source never lists a server twice, so its claims stay apart.
    """
    groups = _named(claim for claim in claims if claim.registry_name)
    by_key: dict[str, list[Group]] = {}
    for each in groups:
        _file(each, by_key)
    for claim in sorted((claim for claim in claims if not claim.registry_name), key=lambda claim: claim.rank):
        home = _home(claim, by_key)
        if home is None:
            groups.append(Group([claim], claim.keys, {claim.source_id}))
            _file(groups[-1], by_key)
        else:
            home.claims.append(claim)
            home.sources.add(claim.source_id)
    for each in groups:
        each.claims.sort(key=lambda claim: claim.rank)
    return groups


def _named(claims: Iterable[Claim]) -> list[Group]:
    by_name: dict[str, list[Claim]] = {}
    for claim in sorted(claims, key=lambda claim: claim.rank):
        by_name.setdefault(claim.registry_name.lower(), []).append(claim)
    return [
        Group(members, frozenset().union(*(claim.keys for claim in members)), {claim.source_id for claim in members})
        for members in by_name.values()
    ]


def _file(group: Group, by_key: dict[str, list[Group]]) -> None:
    for key in group.keys:
        by_key.setdefault(key, []).append(group)


def _home(claim: Claim, by_key: Mapping[str, list[Group]]) -> Group | None:
    for stage in _STAGES:
        near = (each for key in claim.keys if key.startswith(stage) for each in by_key.get(key, ()))
        found = [each for each in near if claim.source_id not in each.sources]
        if found:
            return min(found, key=lambda each: (not each.registry_name, each.claims[0].rank))
    return None
