"""How a server's owner has it served: at which addresses, how fast, with which proof of who calls, and whether at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from audit import services as audit
from audit.models import AuditEvent
from catalog.choices import Status, UpstreamAuth
from catalog.models import Server
from catalog.services import servers
from core import egress
from core.errors import ForbiddenError, InvalidError, NotFoundError
from tenants.context import platform_scope

URLS_MAX = 8
TIMEOUT_S_MAX = 300
RATE_MAX = 2_147_483_647  # what the column holds
_URL_CHARS_MAX = 500


@dataclass(frozen=True, slots=True)
class Serving:
    """What gateways do with a server beyond its policy. Rates are requests a minute, `timeout_s` seconds to the first byte."""

    further_urls: tuple[str, ...] = ()
    rate_per_caller: int | None = None
    rate_in_all: int | None = None
    timeout_s: int | None = None
    upstream_auth: str = UpstreamAuth.HEADER

    @classmethod
    def of(cls, server: Server) -> Serving:
        return cls(
            further_urls=tuple(server.further_urls),
            rate_per_caller=server.rate_per_caller,
            rate_in_all=server.rate_in_all,
            timeout_s=server.timeout_s,
            upstream_auth=server.upstream_auth,
        )


def change(*, server_id: UUID, owner_id: UUID | None, serving: Serving, actor: audit.Party) -> Server:
    """Have a server served so from now on; gateways follow within a second. `owner_id` is None for operators alone.

    Raises NotFoundError for a server of another owner, InvalidError with the field for what is wrong.
    """
    # Names are looked up before anything is locked: a slow resolver holds nobody up.
    check(_find(server_id, owner_id), serving)
    with transaction.atomic():
        server = _find(server_id, owner_id, lock=True)
        before = Serving.of(server)
        changed = [name for name, value in asdict(serving).items() if value != getattr(before, name)]
        if not changed:
            return server
        for name in changed:
            value = getattr(serving, name)
            setattr(server, name, list(value) if name == "further_urls" else value)
        server.save(update_fields=[*changed, "updated_at"])
        audit.record(
            "catalog:server:serving_changed",
            actor=actor,
            target=servers.party(server),
            data={
                name: {"from": _plain(getattr(before, name)), "to": _plain(getattr(serving, name))} for name in changed
            },
        )
        servers.touch(server)
    return server


def open_own(*, server_id: UUID, owner_id: UUID, is_open: bool, actor: audit.Party) -> Server:
    """Let calls through, or stop all of them, as the owner. Raises ForbiddenError while operators keep the server closed."""
    server = _find(server_id, owner_id)
    if is_open and not server.gateway_enabled and is_closed_by_operators(server):
        raise ForbiddenError(
            "Operators of the platform have closed this server.",
            code="catalog.closed_by_operators",
            next_step="Ask an operator what has to change.",
        )
    return servers.open_gateway(server=server, is_open=is_open, actor=actor)


def is_closed_by_operators(server: Server) -> bool:
    """Whether the platform's audit log says that operators closed it last; what an owner does stands in the owner's log."""
    if server.gateway_enabled:
        return False
    with platform_scope():
        last = (
            AuditEvent.objects.filter(
                target_type="server",
                target_id=str(server.pk),
                action__in=[servers.GATEWAY_OPENED, servers.GATEWAY_CLOSED],
            )
            .order_by("-sequence")
            .values_list("action", flat=True)
            .first()
        )
    return last == servers.GATEWAY_CLOSED


def check(server: Server, serving: Serving) -> None:
    """Raises InvalidError with the field for what a server cannot be given. Addresses that it has already are not looked up."""
    _check_values(server, serving)
    kept = Server.objects.filter(pk=server.pk).values_list("further_urls", flat=True).first() or []
    _check_urls([url for url in serving.further_urls if url not in kept])


def _check_urls(urls: Sequence[str]) -> None:
    """Raises InvalidError, naming the address, for one that gateways would refuse to connect to, or cannot find."""
    allow = egress.parse_allow_list(settings.EGRESS_ALLOW)
    for url in urls:
        if len(url) > _URL_CHARS_MAX:
            raise _bad_url(url, f"An address has at most {_URL_CHARS_MAX} characters.")
        try:
            egress.resolve(egress.parse_url(url, allow), allow)
        except egress.EgressRefusedError as error:
            raise _bad_url(url, f"{error.message} {error.next_step}") from error
        except egress.NameUnresolvedError as error:
            raise _bad_url(url, error.message) from error


def _check_values(server: Server, serving: Serving) -> None:
    urls = serving.further_urls
    if len(urls) > URLS_MAX:
        raise InvalidError(
            f"A server has at most {URLS_MAX} further addresses.", code="catalog.urls_max", field="further_urls"
        )
    if twice := next((url for index, url in enumerate(urls) if url in (server.url, *urls[:index])), ""):
        raise _bad_url(twice, "This address is named twice.")
    for name, most in (("rate_per_caller", RATE_MAX), ("rate_in_all", RATE_MAX), ("timeout_s", TIMEOUT_S_MAX)):
        value = getattr(serving, name)
        if value is not None and not 1 <= value <= most:
            raise InvalidError(f"This is a number from 1 to {most:,}.", code="catalog.serving_bounds", field=name)
    if serving.upstream_auth not in UpstreamAuth.values:
        raise InvalidError("Choose one of the ways.", code="catalog.upstream_auth_unknown", field="upstream_auth")


def _bad_url(url: str, why: str) -> InvalidError:
    return InvalidError(f"{url[:100]}: {why}", code="catalog.url_refused", field="further_urls")


def _find(server_id: UUID, owner_id: UUID | None, *, lock: bool = False) -> Server:
    rows = Server.objects.exclude(status=Status.REMOVED).filter(pk=server_id)
    if owner_id is not None:
        rows = rows.filter(owner_tenant_id=owner_id)
    found = (rows.select_for_update() if lock else rows).first()
    if found is None:
        raise NotFoundError("There is no such server in this organisation.")
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
