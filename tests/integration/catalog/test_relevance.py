"""Over all real entries beside the project, what is meant is on the first page."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.db import transaction

from bench import corpus, relevance
from bench.relevance import Candidate
from catalog.facets import Query
from catalog.models import Server
from catalog.selectors import search
from catalog.selectors.search import Scene
from catalog.services import importing, indexing
from catalog.types import PUBLIC_VIEWER
from tenants.context import platform_scope

RECALL = 0.9


@pytest.fixture(scope="module")
def candidates(django_db_setup, django_db_blocker):
    if not corpus.DATA.is_dir():
        pytest.skip(f"the real entries are not there: {corpus.DATA}")
    entries = corpus.read()
    with django_db_blocker.unblock(), transaction.atomic():
        for number, part in enumerate((entries.plain, entries.with_tools)):
            importing.take(importing.SourceRef(UUID(int=number + 1), f"Source {number}", "http"), part)
        indexing.refresh_words()
        with platform_scope():
            rows = Server.objects.prefetch_related("current_version__tools")
            yield [Candidate(str(row.pk), f"{row.registry_name} {row.name} {row.slug}", _tools(row)) for row in rows]
        transaction.set_rollback(True)


def _tools(server: Server) -> tuple[str, ...]:
    return tuple(tool.name for tool in server.current_version.tools.all()) if server.current_version else ()


def test_ten_places_hold_what_is_meant(candidates):
    judged = []
    for text, pattern in relevance.JUDGED:
        found = search.search(Scene(PUBLIC_VIEWER), Query(text=text))[: relevance.PLACES]
        judged.append(relevance.judge(text, pattern, [str(row.pk) for row in found], candidates))
    print(f"\n{relevance.report(judged)}")

    assert len(judged) >= 60
    assert all(each.right for each in judged), [each.query for each in judged if not each.right]
    assert sum(each.recall for each in judged) / len(judged) >= RECALL
