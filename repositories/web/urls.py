"""The pages of sources, once for operators and once inside an organisation."""

from __future__ import annotations

from django.urls import URLPattern, path

from repositories.web import views

_PAGES = (
    ("", "sources", views.source_list),
    ("new/", "source-create", views.source_create),
    ("<uuid:source_id>/", "source", views.source_detail),
    ("<uuid:source_id>/change/", "source-change", views.source_change),
    ("<uuid:source_id>/sync/", "source-sync", views.source_sync),
    ("<uuid:source_id>/stop/", "source-stop", views.source_stop),
    ("<uuid:source_id>/release/", "source-release", views.source_release),
    ("<uuid:source_id>/remove/", "source-remove", views.source_remove),
)


def patterns(before: str, name_before: str = "") -> list[URLPattern]:
    return [path(f"{before}{route}", view, name=f"{name_before}{name}") for route, name, view in _PAGES]
