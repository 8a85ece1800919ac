"""The install tab: which way to the server, which client, and the snippet, with what must be known before it is used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.conf import settings

from catalog import snippets
from catalog.cards import Card
from catalog.choices import Origin, TrustLevel
from catalog.formats.normal import Entry
from catalog.models import Server
from catalog.services.reaching import last_reach
from catalog.snippets import checks, targets
from catalog.snippets.targets import Target

WAYS_MAX = 12
DIRECT_WARNING = (
    "A direct call goes past the gateway: nobody decides it, nothing is recorded, no limit or price applies."
)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to the server: `id` as the address of the page says it. Without a target `why` says what is missing."""

    id: str
    label: str
    target: Target | None
    direct: bool
    why: str = ""


def build(server: Server, card: Card, given: dict[str, str], first_tool: str) -> dict[str, Any]:
    """The tab's context. `given` are the parameters of the page, `first_tool` one that only reads (or blank)."""
    ways = list(_ways(server, card))
    way = next((each for each in ways if each.id == given.get("way")), ways[0] if ways else None)
    clients = snippets.for_target(way.target) if way and way.target else []
    client = next((each for each in clients if each.id == given.get("client")), clients[0] if clients else None)

    def url(**changed: str) -> str:
        chosen = {"tab": "install", "way": way.id if way else "", "client": client.id if client else ""} | changed
        return f"{card.url}?{urlencode({name: value for name, value in chosen.items() if value})}"

    return {
        "ways": [{"label": each.label, "url": url(way=each.id), "active": each is way} for each in ways],
        "way": way,
        "clients": [{"label": each.label, "url": url(client=each.id), "active": each is client} for each in clients],
        "client": client,
        "snippets": _checked(client.snippets, way.target) if client and way and way.target else [],
        "blanks": _blanks(way.target) if way and way.target else [],
        "curl": _curl(server, way, first_tool),
        "gateway_url": f"{settings.PUBLIC_URL}/mcp/{server.slug}"
        if server.origin == Origin.PUBLISHED or card.gateway.ready
        else "",
        "broker": broker_words(server, card),
        "direct_warning": DIRECT_WARNING if way and way.direct and card.gateway.ready else "",
        "reach": last_reach(server.pk),
        "reachable": bool(server.url),
    }


def broker_words(server: Server, card: Card) -> str:
    """Why calls go through the gateway, or why they cannot."""
    if server.origin == Origin.IMPORTED and not card.gateway.ready:
        return (
            "This server is known from a source only. Nobody here has approved it, so the gateway does not carry calls to it; "
            "what stands below is what its publisher says of direct use."
        )
    reasons = ["its address is known to the gateway only"] if server.origin == Origin.PUBLISHED else []
    if server.policy_mode == "allow-list":
        reasons.append("whatever no grant allows must be refused before it reaches the server")
    if server.required_trust == TrustLevel.HIGH:
        reasons.append("its tools need high trust, which only a grant gives")
    if card.price is not None:
        reasons.append("calls have a price and are counted where they pass")
    if not reasons:
        return "The gateway is the way on which calls are decided and recorded."
    return f"The gateway is required, because {_listed(reasons)}."


def _through_gateway(server: Server, card: Card) -> bool:
    """Governed servers, those that are closed for a while included."""
    return server.origin == Origin.PUBLISHED or card.gateway.ready


def _ways(server: Server, card: Card) -> Iterable[Way]:
    if _through_gateway(server, card):
        for id_, label, oauth in (("key", "Gateway, API key", False), ("oauth", "Gateway, sign-in by OAuth", True)):
            yield Way(id_, label, targets.through_gateway(settings.PUBLIC_URL, server.slug, oauth=oauth), direct=False)
    version = server.current_version
    if server.origin != Origin.IMPORTED or version is None or not version.manifest:
        return
    declared = targets.ways_of(Entry.from_dict(version.manifest), server.slug)
    for number, each in enumerate(declared[:WAYS_MAX], start=1):
        yield Way(f"direct-{number}", f"Direct, {each.label}", each.target, direct=True, why=each.why)


def _checked(made: Iterable[snippets.Snippet], target: Target) -> list[dict[str, Any]]:
    return [{"snippet": each, "check": checks.check(each, target)} for each in made]


def _blanks(target: Target) -> list[dict[str, Any]]:
    """What the reader has to fill in, each once."""
    found = {blank.fill: blank for text in target.texts for blank in text.blanks}
    return [{"fill": fill, "label": blank.label, "secret": blank.secret} for fill, blank in found.items()]


def _curl(server: Server, way: Way | None, tool: str) -> snippets.Snippet | None:
    if way is None or way.id != "key" or not tool:
        return None
    return snippets.invoke_with_curl(settings.PUBLIC_URL, server.slug, tool)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])}, and {words[-1]}"
