"""Importing listings, for operators: a file that they upload or a folder that the installation allows, done by a job."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from catalog.choices import ImportState, SourceTrust
from catalog.models import ImportRun
from catalog.services import import_runs
from core.errors import InvalidError
from tenants.context import platform_scope
from tenants.requests import MarketRequest
from tenants.web.guards import person

SHOWN = 20


class ImportForm(forms.Form):
    upload = forms.FileField(
        label="File",
        required=False,
        max_length=300,
        help_text="JSON, JSON lines, YAML, a bundle, or one of these packed by gzip. The format is recognised.",
    )
    folder = forms.ChoiceField(label="Or a folder of this installation", required=False)
    source_name = forms.CharField(
        label="Name of the source",
        max_length=100,
        help_text="Entries are labelled with it. The same name again takes only what changed.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    trust = forms.ChoiceField(
        label="Trust", choices=SourceTrust.choices, initial=SourceTrust.COMMUNITY, help_text="Shown with every entry."
    )
    priority = forms.IntegerField(
        label="Priority",
        initial=0,
        min_value=-1000,
        max_value=1000,
        help_text="Of two sources that list the same server, the higher one's words are shown.",
    )

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        folders = self.fields["folder"]
        assert isinstance(folders, forms.ChoiceField)
        folders.choices = [("", "None"), *((each, each) for each in settings.IMPORT_FOLDERS)]
        if not settings.IMPORT_FOLDERS:
            folders.help_text = "The installation allows none (MARKETPLACE_IMPORT_FOLDERS)."

    def clean(self) -> dict[str, object]:
        given: dict[str, object] = self.cleaned_data
        if bool(given.get("upload")) == bool(given.get("folder")) and not self.errors:
            raise forms.ValidationError("Choose a file or a folder, one of both.")
        return given


@require_http_methods(["GET", "POST"])
def operations_import(request: MarketRequest) -> HttpResponse:
    """Ask for an import, see how far it is, and read what became of earlier ones."""
    if request.method == "POST" and "again" in request.POST:
        return _go_on(request)
    form = ImportForm(request.POST, request.FILES) if request.method == "POST" else ImportForm()
    if request.method == "POST" and form.is_valid():
        run = _ask(request, form)
        if run is not None:
            return redirect(f"{reverse('operations-import')}?run={run.pk}")
    with platform_scope():
        runs = list(ImportRun.objects.defer("content", "problems")[:SHOWN])
        shown = _find(request.GET.get("run", ""))
    context = {"form": form, "runs": runs, "shown": shown, **_progress(shown)}
    if request.headers.get("HX-Request") and shown is not None:
        return render(request, "operations/_import_run.html", context)
    return render(request, "operations/import.html", context, status=422 if form.errors else 200)


def _ask(request: MarketRequest, form: ImportForm) -> ImportRun | None:
    given = form.cleaned_data
    upload = given["upload"]
    run = ImportRun(
        source_name=given["source_name"],
        source_trust=given["trust"],
        priority=given["priority"],
        file_name=upload.name if upload else "",
        requested_by=person(request).email,
    )
    try:
        if upload:
            return import_runs.request_upload(run, upload, upload.size)
        return import_runs.request_folder(run, given["folder"])
    except InvalidError as error:
        field = error.data.get("field") if error.data.get("field") in form.fields else None
        form.add_error(field, f"{error.message} {error.next_step}".strip())
        return None


def _go_on(request: MarketRequest) -> HttpResponse:
    with platform_scope():
        run = _find(request.POST["again"])
    if run is None:
        return redirect("operations-import")
    import_runs.go_on(str(run.pk))
    messages.success(request, f"The import of {run.file_name} is taken up again.")
    return redirect(f"{reverse('operations-import')}?run={run.pk}")


def _find(text: str) -> ImportRun | None:
    try:
        return ImportRun.objects.defer("content").filter(pk=UUID(text)).first()
    except ValueError:
        return None


def _progress(run: ImportRun | None) -> dict[str, object]:
    if run is None:
        return {}
    is_stuck = import_runs.is_stuck(run)
    is_open = run.state in {ImportState.WAITING, ImportState.RUNNING}
    return {
        "is_stuck": is_stuck,
        "may_go_on": is_stuck or run.state == ImportState.FAILED,
        "again": f"{reverse('operations-import')}?run={run.pk}" if is_open and not is_stuck else "",
        "kind": {ImportState.DONE: "ok", ImportState.FAILED: "bad"}.get(ImportState(run.state), ""),
        "left_out": run.problem_count - len(run.problems),
    }
