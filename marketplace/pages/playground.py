"""The playground: choose a server and a tool, fill in its form, run it through the gateway, and see what was decided and why.

It stands here because it says a run together with the catalog, prices, keys, grants and calls that it is about.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from access import foresight
from access import selectors as access
from access.models import PlaygroundRun, RunShows
from access.reasons import trace_rows, words_for
from access.services import playground
from access.types import Decision, SideEffect
from access.web.requests import denied_url
from access.web.viewing import get_server, grant_url, servers_by_id, tool_to_try, viewer_of
from billing.selectors import prices as billing
from calls import selectors as calls
from calls.models import Call
from catalog.models import Server, Tool
from core import addresses, clock
from core.errors import InvalidError, NotFoundError
from core.ids import lowest_at
from marketplace.pages.calls import story_of
from marketplace.playground import building, encoding, exchange, fields, forms, runner, showing, snippets
from tenants.choices import Right
from tenants.models import APIKey
from tenants.requests import OrganisationRequest
from tenants.services import acting
from tenants.services.rights import require, who_can

ME = "me"
_SERVERS_SHOWN = 24
_KEYS_SHOWN = 200
_WORDS_MAX = 100
# Most runs are over by then, and their page needs no second look.
_WAIT_S = 2.5
_RUN_FORM, _RUN_JSON = "run-form", "run-json"
_NOTE_CALL_LATE_S = 5


@dataclass(frozen=True, slots=True)
class Actor:
    """As whom a tool is run: as the person (`key` is None), or as a key of theirs."""

    value: str
    label: str
    key: APIKey | None
    decision: Decision


@require_safe
def playground_home(request: OrganisationRequest, org: str) -> HttpResponse:
    require(request.membership, Right.RUN_TOOLS)
    words = request.GET.get("q", "").strip().replace("\x00", "")[:_WORDS_MAX]
    rows = access.callable_servers(viewer_of(request)).select_related("provider", "current_version")
    if words:
        rows = rows.filter(
            Q(name__icontains=words)
            | Q(slug__icontains=words)
            | Q(summary__icontains=words)
            | Q(current_version__tools__name__icontains=words)
        ).distinct()
    found = list(rows.prefetch_related("current_version__tools").order_by("name")[: _SERVERS_SHOWN + 1])
    context = {
        "q": words,
        "servers": [_entry(server, words) for server in found[:_SERVERS_SHOWN]],
        "more": len(found) > _SERVERS_SHOWN,
        "recent": playground.recent(request.user),
        "shared": _seen_by(request, playground.shared(request.user)),
    }
    return render(request, "playground/home.html", context)


def _entry(server: Server, words: str) -> dict[str, Any]:
    tools = [tool.name for tool in server.current_version.tools.all()] if server.current_version else []
    fitting = [name for name in tools if words and words.lower() in name.lower()]
    return {"server": server, "count": len(tools), "tools": (fitting or tools)[:6], "first": tool_to_try(server)}


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
def playground_tool(request: OrganisationRequest, org: str, slug: str) -> HttpResponse:
    """The form of one tool. What is not a run shows the form again: another row, another variant, another caller."""
    require(request.membership, Right.RUN_TOOLS)
    server = get_server(request, slug)
    tools = list(server.current_version.tools.all()) if server.current_version else []
    if not tools:
        raise NotFoundError("This server has no tools to run.", next_step="Choose another server.")
    asked = request.POST.get("tool") or request.GET.get("tool") or tool_to_try(server)
    tool = next((each for each in tools if each.name == asked), None)
    if tool is None:
        raise NotFoundError(f"The server has no tool named “{asked[:60]}”.", next_step="Choose one of its tools.")
    page = _Page(request, server, tools, tool)
    return page.post() if request.method == "POST" else page.get()


class _Page:
    def __init__(self, request: OrganisationRequest, server: Server, tools: list[Tool], tool: Tool) -> None:
        self._request, self._server, self._tools, self._tool = request, server, tools, tool
        self._schema = tool.definition.get("inputSchema") or {}
        self._actors = _actors(request, server, tool.name)
        asked = request.POST.get("as") or request.GET.get("as", "")
        chosen = next((each for each in self._actors if each.value == asked), None)
        self._is_lost = bool(asked) and chosen is None
        self._actor = chosen or _likeliest(self._actors)

    def get(self) -> HttpResponse:
        given = self._given()
        if given is None:
            return self._show(building.build(self._schema), "")
        text = json.dumps(given, ensure_ascii=False, indent=2)
        try:
            return self._show(building.build(self._schema, encoding.encode(self._schema, given)), text)
        except encoding.NotShownError:
            return self._show(building.build(self._schema), text, json_first=True)

    def _given(self) -> dict[str, Any] | None:
        """Arguments to begin with, of a run that the person may see."""
        run_id = _uuid(self._request.GET.get("run"))
        if run_id is None:
            return None
        run = _find(self._request, run_id)
        if run.tool != self._tool.name or run.server_id != self._server.pk:
            return None
        return _shown(self._request, run).arguments

    def post(self) -> HttpResponse:
        post = self._request.POST
        sent = {name: post.getlist(name) for name in post}
        text = post.get("json", "")
        act = post.get("act", "")
        if act == _RUN_JSON:
            arguments, errors = forms.read_json(self._schema, text)
            form = building.build(self._schema, sent)
            if arguments is None:
                return self._show(form, text, errors=errors, json_first=True)
        elif act == _RUN_FORM:
            reading = forms.read(self._schema, sent)
            form, arguments = reading.form, reading.arguments
            if arguments is None:
                words = f"{reading.errors} of the values {'is' if reading.errors == 1 else 'are'} not right yet."
                return self._show(form, text, errors=[words])
        else:
            return self._show(building.build(self._schema, sent), text)
        if words := self._doubt():
            return self._show(form, text, errors=[words], json_first=act == _RUN_JSON)
        return self._run(arguments)

    def _doubt(self) -> str:
        """What stands against running it although the arguments are right."""
        if self._is_lost:
            return "You cannot run it as that key any more. Choose as whom, and run it again."
        if self._must_confirm and not self._request.POST.get("confirm"):
            return f"Confirm that you want to run {self._tool.name}: it changes things."
        return ""

    @property
    def _must_confirm(self) -> bool:
        return self._tool.side_effect != SideEffect.READ

    def _run(self, arguments: dict[str, Any]) -> HttpResponse:
        request, server, actor = self._request, self._server, self._actor
        runner.require_place()
        try:
            token = _token(request, actor, server)
            run = playground.begin(
                tenant=request.organisation,
                user=request.user,
                server=server,
                tool=self._tool.name,
                key=actor.key,
                arguments=arguments,
            )
            prepared = exchange.prepare(
                public_url=settings.PUBLIC_URL,
                gateway=settings.PLAYGROUND_GATEWAY_URL,
                server=server.slug,
                tool=self._tool.name,
                arguments=arguments,
                schema=self._schema,
                mark=str(run.pk),
                token=token,
            )
        except BaseException:
            runner.give_back()
            raise
        runner.start(request.organisation, run, prepared, _WAIT_S)
        return redirect("org:playground-run", request.organisation.slug, run.pk)

    def _show(
        self, form: fields.Field, text: str, *, errors: list[str] | None = None, json_first: bool = False
    ) -> HttpResponse:
        request, server, tool, actor = self._request, self._server, self._tool, self._actor
        context = {
            "server": server,
            "tool": tool,
            "tools": self._tools,
            "form": form,
            "json_text": text or "{}",
            "json_first": json_first,
            "errors": errors or [],
            "actors": self._actors,
            "actor": actor,
            "price": _price(request, server, tool.name),
            "must_confirm": self._must_confirm,
            "confirmed": bool(request.POST.get("confirm")),
            "schema": self._schema,
            "run_form": _RUN_FORM,
            "run_json": _RUN_JSON,
        } | _foreseen(request, server, tool.name, actor)
        return render(request, "playground/tool.html", context, status=422 if errors and not request.htmx else 200)


def _actors(request: OrganisationRequest, server: Server, tool: str) -> list[Actor]:
    """Everybody whom this person may act as, with what would be decided."""
    address = _address(request)
    myself = foresight.person(request.user.pk)
    me = foresight.would(myself, request.organisation, server, "tools/call", tool, address=address)
    found = [Actor(ME, f"Yourself ({request.user.email})", None, me)]
    for key in acting.own_keys(request.membership).select_related("tenant", "team")[:_KEYS_SHOWN]:
        decision = access.explain_call(key, server, "tools/call", tool, address=address)
        label = f"{key.name}, agent {key.agent}" if key.agent else key.name
        found.append(Actor(str(key.pk), f"Key {label}", key, decision))
    return found


def _likeliest(actors: list[Actor]) -> Actor:
    return next((actor for actor in actors if actor.decision.allowed), actors[0])


def _foreseen(request: OrganisationRequest, server: Server, tool: str, actor: Actor) -> dict[str, Any]:
    """What would be decided for the chosen caller, in words."""
    decision, org = actor.decision, request.organisation.slug
    words = words_for(
        decision.reason,
        tool=tool,
        effect=decision.side_effect,
        required=decision.trust_required,
        effective=decision.trust_effective,
    )
    can_give = request.membership.can(Right.MANAGE_ACCESS)
    return {
        "decision": decision,
        "words": words,
        "trace": trace_rows(decision.reason, words.why),
        "grant": access.list_grants().filter(pk=decision.grant_id).first() if decision.grant_id else None,
        "give_url": grant_url(org, server.slug, key=actor.key.pk, tool=tool, decision=decision)
        if actor.key and can_give and words.remedy == "access"
        else "",
        "request_url": _request_url(org, server.slug, tool, decision, actor) if words.remedy == "access" else "",
        "helpers": "" if can_give or decision.allowed else who_can(request.membership, Right.MANAGE_ACCESS),
    }


def _request_url(org: str, server: str, tool: str, decision: Decision, actor: Actor) -> str:
    """The form that asks for what a call would lack, filled in."""
    asked = {"server": server, "tool": tool, "trust": decision.trust_required, "effect": decision.side_effect}
    if actor.key is not None:
        asked["subject"] = f"key:{actor.key.pk}"
    return denied_url(org, **asked)


def _price(request: OrganisationRequest, server: Server, tool: str) -> dict[str, Any]:
    """What a successful call costs the organisation at this moment, at most; at an own server nothing."""
    tenant = request.organisation
    is_own = server.owner_tenant_id == tenant.pk
    price = None if is_own else billing.for_call(tenant_id=tenant.pk, server_id=server.pk, tool=tool)
    return {"amount": price.rate, "currency": price.currency} if price else {"amount": Decimal(0), "currency": "USD"}


def _token(request: OrganisationRequest, actor: Actor, server: Server) -> str:
    address = _address(request)
    if actor.key is None:
        return acting.token_of_person(request.membership, server.slug, address)
    return acting.token_of_key(request.membership, actor.key.pk, server.slug, address)


def _address(request: OrganisationRequest) -> str:
    """Where the person is, as far as our proxies tell."""
    meta = request.META
    found = addresses.origin(
        meta.get("REMOTE_ADDR", ""), meta.get("HTTP_X_FORWARDED_FOR", ""), settings.TRUSTED_PROXIES
    )
    return str(found) if found is not None else ""


# ------------------------------------------------------------------------------------------------------------------- runs


@require_safe
def playground_run(request: OrganisationRequest, org: str, run_id: UUID) -> HttpResponse:
    """A run: its result beside its story. While it is under way the page looks again by itself."""
    require(request.membership, Right.VIEW_CALLS)
    run = _find(request, run_id)
    is_own = run.user_id == request.user.pk
    seen = _shown(request, run)
    call = _call(run)
    context: dict[str, Any] = {
        "run": run,
        "is_own": is_own,
        "can_run": request.membership.can(Right.RUN_TOOLS),
        "seen": seen,
        "request_url": _own_path(seen.request_url),
        "approve_url": _own_path(seen.approve_url),
        "outcome": _OUTCOMES.get(run.outcome, ("Not known", "warn")),
        "took_ms": _exchange(request, run).get("total_ms"),
        "first_byte_ms": _exchange(request, run).get("first_byte_ms"),
        "limits": [
            (name, value)
            for name, value in _exchange(request, run).get("headers") or []
            if name.lower().startswith("ratelimit")
        ],
        "again_url": f"{reverse('org:playground-tool', args=[org, run.server_slug])}?tool={run.tool}&run={run.pk}",
        "shows": RunShows.choices,
        "keep_days": playground.KEEP_DAYS,
        "call_late": call is None and bool(run.finished_at) and _age_s(run) < _NOTE_CALL_LATE_S,
    }
    if seen.arguments is not None:
        context["snippets"] = snippets.snippets(settings.PUBLIC_URL, run.server_slug, run.tool, seen.arguments)
    if call is not None:
        context |= story_of(request, call)
    return render(request, "playground/run.html", context)


@require_POST
def playground_cancel(request: OrganisationRequest, org: str, run_id: UUID) -> HttpResponse:
    require(request.membership, Right.RUN_TOOLS)
    playground.cancel(playground.own(run_id, request.user))
    messages.info(request, "The run is being cancelled. What the server has begun may still happen.")
    return redirect("org:playground-run", org, run_id)


@require_POST
def playground_keep(request: OrganisationRequest, org: str, run_id: UUID) -> HttpResponse:
    """Save a run under a name, and share it."""
    require(request.membership, Right.RUN_TOOLS)
    run = playground.own(run_id, request.user)
    post = request.POST
    days = post.get("days", "")
    try:
        playground.keep(
            run,
            name=post.get("name", ""),
            days=int(days) if days.isdecimal() and len(days) < 4 else 0,
            shared=bool(post.get("shared")),
            shows=post.get("shows", ""),
            shows_result=bool(post.get("shows_result")),
        )
    except InvalidError as error:
        messages.error(request, f"{error.message} {error.next_step}")
    else:
        messages.success(request, f"“{run.name}” is kept{' and shared with your organisation' if run.shared else ''}.")
    return redirect("org:playground-run", org, run_id)


@require_POST
def playground_remove(request: OrganisationRequest, org: str, run_id: UUID) -> HttpResponse:
    require(request.membership, Right.RUN_TOOLS)
    playground.remove(playground.own(run_id, request.user))
    messages.success(request, "The run is removed. The call stays on record.")
    return redirect("org:playground", org)


_OUTCOMES = {
    "ok": ("The tool answered", "ok"),
    "tool_error": ("The tool answered with an error", "warn"),
    "refused": ("Refused", "bad"),
    "no_answer": ("No answer", "warn"),
}


def _own_path(url: str) -> str:
    """An address on this site as a path; empty for any other: what is in an answer may be a stranger's."""
    start = f"{settings.PUBLIC_URL}/o/"
    return url.removeprefix(settings.PUBLIC_URL) if url.startswith(start) else ""


def _find(request: OrganisationRequest, run_id: UUID) -> PlaygroundRun:
    """A run that this person may see: of colleagues, only those of servers that the person may know of. Raises NotFoundError."""
    run = playground.find(run_id, request.user)
    if not _seen_by(request, [run]):
        raise NotFoundError("There is no such run that you may see.", next_step="Run the tool again.")
    return run


def _seen_by(request: OrganisationRequest, runs: list[PlaygroundRun]) -> list[PlaygroundRun]:
    known = servers_by_id(request, (run.server_id for run in runs))
    return [run for run in runs if run.user_id == request.user.pk or run.server_id in known]


def _shown(request: OrganisationRequest, run: PlaygroundRun) -> showing.Shown:
    """The owner sees everything but credentials; others what the owner shows."""
    content = playground.content_of(request.organisation, run)
    if run.user_id == request.user.pk:
        return showing.shown(content)
    return showing.shown(content, arguments=run.shows, result=run.shows_result, masked=run.shows != RunShows.ALL)


def _exchange(request: OrganisationRequest, run: PlaygroundRun) -> dict[str, Any]:
    found = playground.content_of(request.organisation, run).get("exchange")
    return found if isinstance(found, dict) else {}


def _call(run: PlaygroundRun) -> Call | None:
    """The call of a run: by the id that the gateway told, else by the mark that the run gave its request."""
    if run.call_id is not None:
        return calls.find_call(run.call_id)
    if run.finished_at is None:
        return None
    rows = Call.objects.filter(call_id__gte=lowest_at(run.created_at), server_id=run.server_id, request_id=str(run.pk))
    return rows.filter(call_id__lt=lowest_at(run.finished_at + playground.KEPT_FOR)).first()


def _age_s(run: PlaygroundRun) -> float:
    return (clock.now() - (run.finished_at or run.created_at)).total_seconds()


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None
