"""Pages of access as files: download what there is, upload what shall be, look at the plan, apply it."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from access.filing import apply, plan
from access.filing.plan import CHANGES, Plan
from access.filing.rows import export
from access.formats import files
from access.web.grants import tabs
from core.errors import ConflictError, MarketplaceError
from tenants.choices import Right
from tenants.requests import OrganisationRequest
from tenants.services.rights import require

# The files travel with the page of their plan, so that what is applied is what was looked at.
BYTES_MAX = 2**20
SHOWN = 300


class _ManyFiles(forms.FileInput):
    allow_multiple_selected = True


class FilesForm(forms.Form):
    upload = forms.FileField(
        label="Files",
        widget=_ManyFiles(attrs={"multiple": True, "accept": ".yaml,.yml,.json"}),
        help_text="YAML or JSON, up to 1 MiB together. First you see what would change; nothing is changed before you apply it.",
    )
    prune = forms.BooleanField(
        label="These files are all there is",
        required=False,
        help_text="Whatever grant or session they do not name is revoked, but for the sessions of adapters.",
    )


@require_http_methods(["GET", "HEAD", "POST"])
def access_files(request: OrganisationRequest, org: str) -> HttpResponse:
    require(request.membership, Right.MANAGE_ACCESS)
    if request.method != "POST":
        return _page(request, org)
    try:
        contents = files.bounded(_contents(request), bytes_max=BYTES_MAX)
        if not contents:
            return _page(request, org, error="Choose at least one file.")
        prune, digest = request.POST.get("prune") == "on", request.POST.get("digest", "")
        return _apply(request, org, contents, digest, prune=prune) if digest else _plan(request, org, contents, prune)
    except MarketplaceError as error:
        return _page(request, org, error=f"{error.message} {error.next_step}")


@require_safe
def access_export(request: OrganisationRequest, org: str) -> HttpResponse:
    require(request.membership, Right.MANAGE_ACCESS)
    answer = HttpResponse(export(request.organisation), content_type="application/yaml; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{request.organisation.slug}-access.yaml"'
    answer["Cache-Control"] = "no-store"
    return answer


def _contents(request: OrganisationRequest) -> list[tuple[str, bytes]]:
    """Uploaded files, or those that the page of a plan sends back."""
    uploads = [(upload.name or "file", upload.read(BYTES_MAX + 1)) for upload in request.FILES.getlist("upload")]
    names, texts = request.POST.getlist("name"), request.POST.getlist("text")
    return uploads or [(name, text.encode(errors="replace")) for name, text in zip(names, texts, strict=False)]


def _plan(
    request: OrganisationRequest, org: str, contents: list[tuple[str, bytes]], prune: bool, stale: str = ""
) -> HttpResponse:
    made = plan.make(request.organisation, files.read_files(contents), prune=prune)
    return _page(request, org, made=made, contents=contents, error=stale)


def _apply(
    request: OrganisationRequest, org: str, contents: list[tuple[str, bytes]], digest: str, *, prune: bool
) -> HttpResponse:
    found = files.read_files(contents)
    try:
        done = apply.apply(tenant=request.organisation, found=found, digest=digest, actor=request.user, prune=prune)
    except ConflictError as error:
        return _plan(request, org, contents, prune, stale=f"{error.message} This is the plan of this moment.")
    number = sum(done.count(action) for action in CHANGES)
    messages.success(request, f"Applied: {number} change{'' if number == 1 else 's'}. Gateways follow within a second.")
    return redirect("org:access-files", org)


def _page(
    request: OrganisationRequest,
    org: str,
    *,
    made: Plan | None = None,
    contents: list[tuple[str, bytes]] | None = None,
    error: str = "",
) -> HttpResponse:
    shown = [change for change in made.changes if change.action != "unchanged"] if made else []
    context = {
        "tabs": tabs(request, org, "files"),
        "form": FilesForm(initial={"prune": made.prune if made else False}),
        "plan": made,
        "summary": _summary(made) if made else "",
        "form_kind": "" if made else "primary",
        "changes": shown[:SHOWN],
        "more": max(len(shown) - SHOWN, 0),
        "files": [{"name": name, "text": content.decode(errors="replace")} for name, content in contents or []],
        "error": error,
    }
    return render(request, "access/files.html", context)


def _summary(made: Plan) -> str:
    words = {"unchanged": "unchanged", "elsewhere": "kept elsewhere"}
    parts = [f"{number:,} {words.get(action, f'to {action}')}" for action, number in made.counts.items()]
    return f"{', '.join(parts)}." if parts else "The files hold nothing about access."
