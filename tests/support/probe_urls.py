"""The product's URLs and a few more that tell what a request sees of the database."""

from __future__ import annotations

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.template.response import SimpleTemplateResponse
from django.urls import path
from django.utils.functional import lazystr

from core.errors import ConflictError
from marketplace.urls import handler400, handler403, handler404, handler500
from marketplace.urls import urlpatterns as product_urls
from notifications.models import Notification

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]


def place() -> dict[str, str]:
    """The schema in front and the viewer, as Postgres has them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema(), current_setting('marketplace.viewer', true)")
        schema, viewer = cursor.fetchone()
    return {"schema": schema, "viewer": viewer}


def probe(request: HttpRequest, how: str = "", org: str = "") -> HttpResponseBase:
    organisation = getattr(request, "organisation", None)
    found = {**place(), "organisation": organisation.slug if organisation else None}
    match how:
        case "fail":
            raise RuntimeError("planted")
        case "refuse":
            raise ConflictError("Planted.")
        case "late":
            return LateResponse("500.html")
        case "stream":
            return StreamingHttpResponse(place()["schema"] for _ in range(1))
    return JsonResponse(found)


def canaries(request: HttpRequest, org: str, how: str) -> HttpResponseBase:
    """Titles of every notification in front, after whatever may go wrong has gone wrong."""
    if how == "savepoint":
        with transaction.atomic():
            with transaction.atomic():
                titles()
                transaction.set_rollback(True)
            return JsonResponse({"titles": titles()})
    if how == "rollback":
        with transaction.atomic():
            titles()
            transaction.set_rollback(True)
    found = titles()
    if how == "exception":
        raise RuntimeError("planted")
    if how == "slow":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.05)")
        found += titles()
    return JsonResponse({"titles": found})


def titles() -> list[str]:
    return list(Notification.objects.values_list("title", flat=True))


class LateResponse(SimpleTemplateResponse):
    """Asks the database when it is rendered, as lazy querysets in a template do."""

    @property
    def rendered_content(self) -> str:
        return str(lazystr(place()["schema"]))


urlpatterns = [
    path("probe/", probe),
    path("o/<slug:org>/probe/", probe),
    path("o/<slug:org>/probe/<str:how>/", probe),
    path("o/<slug:org>/canaries/<str:how>/", canaries),
    *product_urls,
]
