"""Pages of the catalog: home, one server, tools, comparing. Open to everybody, richer for members."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from catalog import facets
from catalog.selectors import detail
from catalog.selectors.suggestions import Suggestion
from catalog.selectors.suggestions import suggest as suggestions_for
from catalog.services import reaching, searches
from catalog.web import compare as compare_page
from catalog.web import detail as server_page
from catalog.web import home as home_page
from catalog.web import tools as tools_page
from catalog.web.detail import FIND_CHARS_MAX
from catalog.web.viewers import scene_of, viewer_of
from core.errors import ConflictError, InvalidError, NotFoundError
from tenants.requests import MarketRequest
from tenants.web.guards import person

SUGGESTIONS_MAX = 8


@require_safe
def home(request: MarketRequest) -> HttpResponse:
    return render(request, "catalog/home.html", home_page.build(request))


@require_safe
def server(request: MarketRequest, slug: str) -> HttpResponse:
    return render(request, "catalog/server.html", server_page.build(request, slug))


@require_safe
def tools(request: MarketRequest) -> HttpResponse:
    return render(request, "catalog/tools.html", tools_page.build(request))


@require_safe
def compare(request: MarketRequest) -> HttpResponse:
    return render(request, "catalog/compare.html", compare_page.build(request))


@require_safe
def suggest(request: MarketRequest) -> JsonResponse:
    """What the command palette offers for a few letters: servers, then tools, then tags."""
    found = suggestions_for(scene_of(request), request.GET.get("q", ""), SUGGESTIONS_MAX)
    items = [{"label": each.label, "url": _suggested_url(each), "kind": _suggested_as(each)} for each in found]
    return JsonResponse({"items": items})


def _suggested_as(suggestion: Suggestion) -> str:
    if suggestion.kind == "tool":
        return f"Tool of {suggestion.hint}"
    return suggestion.hint or suggestion.kind.capitalize()


def _suggested_url(suggestion: Suggestion) -> str:
    if not suggestion.server:
        return f"{reverse('catalog:home')}?{urlencode({'q': suggestion.label})}"
    page = reverse("catalog:server", args=[suggestion.server])
    if suggestion.kind == "tool":
        return f"{page}?{urlencode({'tab': 'tools', 'find': suggestion.label[:FIND_CHARS_MAX]})}"
    return page


@require_POST
@login_required
def reach(request: MarketRequest, slug: str) -> HttpResponse:
    """Ask the server whether it answers, and show the install tab with what was found."""
    wanted = detail.get_server(viewer_of(request), slug)
    if not wanted.url:
        raise NotFoundError("This server has no address that could be asked.")
    try:
        found = reaching.reach(wanted.pk, wanted.url)
        level = messages.SUCCESS if found.state == "ok" else messages.WARNING
        messages.add_message(request, level, found.words)
    except ConflictError as error:
        messages.info(request, f"{error.message} {error.next_step}")
    return redirect(f"{reverse('catalog:server', args=[wanted.slug])}?tab=install")


@require_POST
@login_required
def save_search(request: MarketRequest) -> HttpResponse:
    """Keep the search that the form repeats, under a name."""
    if request.organisation is None:
        raise NotFoundError("Searches are kept in an organisation, and you are in none.")
    query = facets.parse(dict(request.POST.lists()), personal=True)
    try:
        saved = searches.save_search(request.organisation, person(request), request.POST.get("name", ""), query)
    except (ConflictError, InvalidError) as error:
        messages.error(request, f"{error.message} {error.next_step}")
        return redirect("catalog:home")
    messages.success(request, f"“{saved.name}” is saved.")
    return redirect(f"{reverse('catalog:home')}{saved.query}")


@require_POST
@login_required
def remove_search(request: MarketRequest, search_id: UUID) -> HttpResponse:
    organisation = request.organisation
    if organisation is None or not searches.remove_search(organisation, person(request), search_id):
        raise NotFoundError("You keep no such search.")
    messages.success(request, "The search is removed.")
    return redirect("catalog:home")
