"""Searches that a person keeps, for programs that act for that person: the ones that the home page shows."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import QueryDict
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from catalog.api.filters import ServerFilter
from catalog.api.views import CatalogAPI
from catalog.models import SavedSearch, Server
from catalog.services import searches
from catalog.services.searches import NAME_LENGTH, QUERY_LENGTH, SEARCHES_MAX
from core.errors import ForbiddenError, InvalidError, NotFoundError
from tenants.api.credential import Credential
from tenants.models import User
from tenants.selectors.keys import members_who_act

_PAIRS_MAX = 200


class SearchOut(serializers.ModelSerializer[SavedSearch]):
    query = serializers.SerializerMethodField(
        help_text="As in the address of a list: `GET /api/v1/servers/?{query}` finds what the search finds."
    )
    url = serializers.SerializerMethodField(help_text="The page that shows it.")

    class Meta:
        model = SavedSearch
        fields = ["id", "name", "query", "url", "created_at", "updated_at"]
        read_only_fields = fields

    def get_query(self, search: SavedSearch) -> str:
        return search.query.removeprefix("?")

    def get_url(self, search: SavedSearch) -> str:
        return f"{settings.PUBLIC_URL}/{search.query}"


class SearchListOut(serializers.Serializer[Any]):
    searches = SearchOut(many=True)


class SearchIn(serializers.Serializer[Any]):
    name = serializers.CharField(
        max_length=NAME_LENGTH, required=False, allow_blank=True, help_text="Blank: the words of the search."
    )
    query = serializers.CharField(
        max_length=QUERY_LENGTH, help_text="Parameters of `GET /api/v1/servers/`, such as `q=mail&category=data`."
    )


class SearchListAPI(CatalogAPI):
    @extend_schema(
        operation_id="searches_list", summary="Searches that the key's person keeps", responses=SearchListOut
    )
    def get(self, request: Request) -> Response:
        """In the key's organisation, by name."""
        credential, person = _person(request)
        rows = searches.list_searches(credential.tenant, person)
        return Response({"searches": SearchOut(rows, many=True).data})

    @extend_schema(
        operation_id="searches_create", summary="Keep a search", request=SearchIn, responses={201: SearchOut}
    )
    def post(self, request: Request) -> Response:
        """The same name again replaces what was kept under it. A person keeps a bounded number of searches."""
        credential, person = _person(request)
        name, text = _text(request, "name", NAME_LENGTH), _text(request, "query", QUERY_LENGTH)
        if text.count("&") > _PAIRS_MAX:
            raise InvalidError(f"query has at most {_PAIRS_MAX} parameters.", code="catalog.search_text", field="query")
        query = ServerFilter(QueryDict(text.removeprefix("?")), queryset=Server.objects.none()).query()
        saved = searches.save_search(credential.tenant, person, name, query)
        return Response(SearchOut(saved).data, status=status.HTTP_201_CREATED)


class SearchAPI(CatalogAPI):
    @extend_schema(operation_id="searches_retrieve", summary="One kept search", responses=SearchOut)
    def get(self, request: Request, search_id: UUID) -> Response:
        """One of the searches that the key's person keeps."""
        credential, person = _person(request)
        kept = (each for each in searches.list_searches(credential.tenant, person) if each.pk == search_id)
        found = next(kept, None)
        if found is None:
            raise _not_kept()
        return Response(SearchOut(found).data)

    @extend_schema(operation_id="searches_destroy", summary="Forget a search", responses={204: None})
    def delete(self, request: Request, search_id: UUID) -> Response:
        """Forgets one of the searches that the key's person keeps."""
        credential, person = _person(request)
        if not searches.remove_search(credential.tenant, person, search_id):
            raise _not_kept()
        return Response(status=status.HTTP_204_NO_CONTENT)


def _person(request: Request) -> tuple[Credential, User]:
    """Who asks, and for whom. Raises ForbiddenError for a key behind which no member stands."""
    credential = request.auth
    assert isinstance(credential, Credential)  # HasScope let nobody else in
    if credential.user is None or credential.user.pk not in members_who_act(credential.tenant):
        raise ForbiddenError(
            "Searches are kept by people, and this key stands for no member of the organisation.",
            code="catalog.searches_person",
            next_step="Use a key that a member has made.",
        )
    return credential, credential.user


def _text(request: Request, name: str, most: int) -> str:
    given = request.data.get(name, "") if isinstance(request.data, dict) else None
    if not isinstance(given, str) or len(given) > most or "\x00" in given or not _is_whole(given):
        raise InvalidError(f"{name} is a text of at most {most} characters.", code="catalog.search_text", field=name)
    return given


def _is_whole(text: str) -> bool:
    """Whether it can be stored: half a character of JSON (a lone surrogate) cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _not_kept() -> NotFoundError:
    return NotFoundError(
        "You keep no such search.", next_step=f"List them; a person keeps at most {SEARCHES_MAX} of them."
    )
