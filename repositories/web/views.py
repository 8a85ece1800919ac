"""Pages of sources, for operators (`/operations/sources/`) and for organisations (`/o/<org>/sources/`)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from catalog.selectors import sources as catalog_sources
from core.errors import MarketplaceError
from repositories import selectors
from repositories.adapters import registry
from repositories.choices import AuthType
from repositories.models import Repository
from repositories.services import rules, sources
from repositories.web.desk import desk_of, managing_desk
from repositories.web.forms import KEEP, SourceForm, auth_choices
from tenants.requests import MarketRequest
from tenants.web.forms import show_error

_RUNS_SHOWN = 20
_ENTRIES_SHOWN = 25


@require_safe
def source_list(request: MarketRequest, org: str = "") -> HttpResponse:
    desk = desk_of(request, org)
    rows = [selectors.line_of(row, desk.url("source", row.pk)) for row in sources.list_of(desk.keeper)]
    return render(request, "repositories/list.html", {"desk": desk, "rows": rows, "busy": any(r.is_busy for r in rows)})


@require_http_methods(["GET", "HEAD", "POST"])
def source_create(request: MarketRequest, org: str = "") -> HttpResponse:
    desk = managing_desk(request, org)
    adapters = [adapter for adapter in registry.adapters(of_platform=not desk.org) if rules.is_allowed(adapter.kind)]
    wanted = request.GET.get("kind", "")
    adapter = next((each for each in adapters if each.kind == wanted), adapters[0])
    auth = _chosen_auth(request, None)
    form = SourceForm(_posted(request), desk=desk, adapter=adapter, auth=auth, source=None)
    if request.method == "POST" and form.is_valid():
        try:
            row = sources.add(desk.keeper, form.draft(None))
        except MarketplaceError as error:
            show_error(form, error)
        else:
            begun = row.enabled and row.auto_sync
            messages.success(request, f"{row.name} is added{' and being read' if begun else ''}.")
            return redirect(desk.url("source", row.pk))
    kinds = [
        {"label": each.label, "url": f"?kind={each.kind}&auth={auth}", "active": each is adapter} for each in adapters
    ]
    auths = _auth_chips(None, auth, f"kind={adapter.kind}&")
    context = {"desk": desk, "form": form, "kinds": kinds, "auths": auths, "adapter": adapter}
    return render(request, "repositories/form.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def source_change(request: MarketRequest, source_id: UUID, org: str = "") -> HttpResponse:
    desk = managing_desk(request, org)
    source = sources.find(desk.keeper, source_id)
    auth = _chosen_auth(request, source)
    adapter = registry.find(source.kind)
    form = SourceForm(_posted(request), desk=desk, adapter=adapter, auth=auth, source=source)
    if request.method == "POST" and form.is_valid():
        try:
            row = sources.change(desk.keeper, source_id, form.draft(source))
        except MarketplaceError as error:
            show_error(form, error)
        else:
            messages.success(request, f"{row.name} is changed.")
            return redirect(desk.url("source", row.pk))
    context = {
        "desk": desk,
        "form": form,
        "source": source,
        "auths": _auth_chips(source, auth, ""),
        "adapter": adapter,
        "back": desk.url("source", source.pk),
    }
    return render(request, "repositories/form.html", context, status=422 if form.errors else 200)


@require_safe
def source_detail(request: MarketRequest, source_id: UUID, org: str = "") -> HttpResponse:
    """One source. The part that shows a reading's progress asks for itself again while there is one."""
    desk = desk_of(request, org)
    source = sources.find(desk.keeper, source_id)
    context: dict[str, Any] = {
        "desk": desk,
        "source": source,
        "run": selectors.open_run(source),
        "last": selectors.last_ended(source),
        "here": desk.url("source", source.pk),
        **{page: desk.url(f"source-{page}", source.pk) for page in ("change", "sync", "stop", "release", "remove")},
    }
    if request.htmx and not request.htmx.boosted:
        response = render(request, "repositories/_progress.html", context)
        if context["run"] is None:
            # The reading has ended: history, counts and problems are others.
            response["HX-Refresh"] = "true"
        return response
    context |= {
        "line": selectors.line_of(source, context["here"]),
        "facts": selectors.facts(source),
        "runs": selectors.history(source, _RUNS_SHOWN),
        "entries": catalog_sources.newest_entries(source.pk, _ENTRIES_SHOWN) if desk.may_manage else None,
        "entries_shown": _ENTRIES_SHOWN,
    }
    return render(request, "repositories/detail.html", context)


@require_POST
def source_sync(request: MarketRequest, source_id: UUID, org: str = "") -> HttpResponse:
    desk = managing_desk(request, org)
    try:
        sources.ask(desk.keeper, source_id, full="full" in request.POST)
    except MarketplaceError as error:
        if error.status == 404:
            raise
        messages.error(request, f"{error.message} {error.next_step}")
    else:
        messages.success(request, "The source is being read.")
    return redirect(desk.url("source", source_id))


@require_POST
def source_stop(request: MarketRequest, source_id: UUID, org: str = "") -> HttpResponse:
    desk = managing_desk(request, org)
    if sources.stop(desk.keeper, source_id):
        messages.success(request, "The reading is stopped. What it had kept stays.")
    return redirect(desk.url("source", source_id))


@require_POST
def source_release(request: MarketRequest, source_id: UUID, org: str = "") -> HttpResponse:
    desk = managing_desk(request, org)
    try:
        source = sources.release(desk.keeper, source_id)
    except MarketplaceError as error:
        if error.status == 404:
            raise
        messages.error(request, f"{error.message} {error.next_step}".strip())
    else:
        messages.success(request, f"{source.name} is released. Its entries appear within a minute.")
    return redirect(desk.url("source", source_id))


@require_http_methods(["GET", "HEAD", "POST"])
def source_remove(request: MarketRequest, source_id: UUID, org: str = "") -> HttpResponse:
    desk = managing_desk(request, org)
    source = sources.find(desk.keeper, source_id)
    if request.method != "POST":
        context = {"desk": desk, "source": source, "back": desk.url("source", source.pk)}
        return render(request, "repositories/remove.html", context)
    try:
        sources.remove(desk.keeper, source_id)
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}")
        return redirect(desk.url("source", source_id))
    messages.success(request, f"{source.name} is removed. What only it listed goes within a minute.")
    return redirect(desk.list_url)


def _posted(request: MarketRequest) -> Any:
    return request.POST if request.method == "POST" else None


def _chosen_auth(request: MarketRequest, source: Repository | None) -> str:
    known = [value for value, _ in auth_choices(source)]
    wanted = request.GET.get("auth", "")
    default = KEEP if KEEP in known else AuthType.NONE.value
    return wanted if wanted in known else default


def _auth_chips(source: Repository | None, auth: str, before: str) -> list[dict[str, Any]]:
    return [
        {"label": label, "url": f"?{before}auth={value}", "active": value == auth}
        for value, label in auth_choices(source)
    ]
