"""The picture of a server, served by us: a page that showed it from elsewhere would tell its host who reads what."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from catalog.choices import Visibility
from catalog.selectors.icons import icon_of
from catalog.selectors.listing import find_server
from catalog.web.viewers import viewer_of
from core.errors import NotFoundError
from tenants.requests import MarketRequest

_DAY_S = 24 * 60 * 60


@require_safe
def icon(request: MarketRequest, slug: str, digest: str) -> HttpResponse:
    """Its address changes with it, so it may be kept; by shared caches only what everybody may see."""
    server = find_server(viewer_of(request), slug)
    picture = icon_of(server, digest) if server is not None else None
    if server is None or picture is None:
        raise NotFoundError("There is no such picture of a server that you may see.")
    answer = HttpResponse(picture.data, content_type=picture.media_type)
    kept_by = "public" if server.visibility == Visibility.PUBLIC else "private"
    answer["Cache-Control"] = f"{kept_by}, max-age={_DAY_S}"
    answer["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer["Content-Disposition"] = "inline"
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Cross-Origin-Resource-Policy"] = "same-origin"
    return answer
