"""Searches that people keep."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from catalog.facets import Query
from catalog.models import SavedSearch
from core.errors import ConflictError, InvalidError
from tenants.models import Tenant, User

SEARCHES_MAX = 30
NAME_LENGTH, QUERY_LENGTH = 80, 2000


def list_searches(organisation: Tenant, person: User) -> list[SavedSearch]:
    return list(SavedSearch.objects.filter(tenant=organisation, user=person).order_by("name")[:SEARCHES_MAX])


def save_search(organisation: Tenant, person: User, name: str, query: Query) -> SavedSearch:
    """Keep a search under a name; the same name again replaces it. Raises InvalidError and ConflictError."""
    name = " ".join(name.replace("\x00", "").split())[:NAME_LENGTH] or query.text[:NAME_LENGTH] or "My filters"
    if not query.pairs() or len(query.url) > QUERY_LENGTH:
        raise InvalidError("There is nothing to save.", next_step="Search for something or choose a filter first.")
    with transaction.atomic():
        mine = SavedSearch.objects.filter(tenant=organisation, user=person)
        if mine.exclude(name=name).count() >= SEARCHES_MAX:
            raise ConflictError(f"You keep {SEARCHES_MAX} searches already.", next_step="Remove one of them first.")
        saved, _ = SavedSearch.objects.update_or_create(
            tenant=organisation, user=person, name=name, defaults={"query": query.url}
        )
    return saved


def remove_search(organisation: Tenant, person: User, search_id: UUID) -> bool:
    """Whether there was one to remove. Nobody removes somebody else's."""
    return bool(SavedSearch.objects.filter(tenant=organisation, user=person, pk=search_id).delete()[0])
