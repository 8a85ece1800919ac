"""The part of the catalog benchmark that runs inside the product: grow the catalog, search it, print one line of JSON.

Run by `bench.catalog` with the environment of the product.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any
from uuid import UUID

from bench import corpus, machine

SOURCES = (("official", "verified"), ("http", "community"), ("docker", "verified"), ("github", "community"))
ROUNDS = 5
# What people ask: nothing, frequent and rare words, several, mistyped ones, choices of facets, and both.
ADDRESSES = (
    "", "q=github", "q=send+email", "q=query+postgres", "q=data", "q=slakc+mesage", "q=wether", "q=list+files", "q=a",
    "sort=popularity", "sort=updated", "category=data", "source=official&source=docker", "q=search&source=http",
    "inventory=tools&auth=none", "q=file&inventory=tools&category=development", "health=unknown&trust=unknown",
    "q=browser&sort=name", "page=40", "q=database&page=3",
)  # fmt: skip


def main() -> int:
    before, size = int(sys.argv[1]), int(sys.argv[2])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
    import django  # noqa: PLC0415 - settings are read from here on

    django.setup()
    entries = list(corpus.varied(corpus.read(), size))
    # A source gives its entries one after the other; that all of them lie here is no burden of the import.
    gc.collect()
    gc.freeze()
    used_s = _processor_s()
    took_s = _take(entries[before:])
    used_s = _processor_s() - used_s
    again_s = _take(entries)
    _settle()
    searches, pages, plain = _searches(), _pages(), _plain()
    result: dict[str, Any] = {
        "servers": size,
        "tools": sum(len(entry.tools) for entry in entries),
        "import_per_second": (size - before) / took_s,
        "import_cpu_us": used_s / (size - before) * 1_000_000,
        "unchanged_s": again_s,
        "search_p50_ms": median(searches),
        "search_p95_ms": _p95(searches),
        "page_p50_ms": median(pages),
        "page_p95_ms": _p95(pages),
        "count_ms": plain,
        "ratio": median(searches) / plain,
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def _take(entries: list[Any]) -> float:
    """Seconds until all of it is taken by way of the sources."""
    from catalog.services import importing  # noqa: PLC0415 - models exist only after setup

    began = time.perf_counter()
    for number, (kind, trust) in enumerate(SOURCES):
        source = importing.SourceRef(UUID(int=number + 1), f"Source {kind}", kind, trust)
        importing.take(source, entries[number :: len(SOURCES)])
    return time.perf_counter() - began


def _processor_s() -> float:
    """Seconds of processor time that this process and the server's, which is on this machine, have used so far."""
    from django.db import connection  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone()
    server = machine.parent_of(backend)
    return sum(os.times()[:2]) + machine.processor_s(server)


def _settle() -> None:
    """What a database does by itself in the minutes after an import."""
    from django.db import connection  # noqa: PLC0415

    from catalog.services import indexing  # noqa: PLC0415

    indexing.refresh_words()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def _searches() -> list[float]:
    """Milliseconds in the database of each search with every facet."""
    from django.db import connection  # noqa: PLC0415
    from django.http import QueryDict  # noqa: PLC0415

    from catalog import facets  # noqa: PLC0415
    from catalog.selectors import search  # noqa: PLC0415
    from catalog.types import PUBLIC_VIEWER  # noqa: PLC0415

    spent = [0.0]

    def clocked(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            spent[0] += time.perf_counter() - began

    def ask(address: str) -> float:
        query = facets.parse(dict(QueryDict(address).lists()), personal=False)
        spent[0] = 0.0
        found = search.search(search.Scene(PUBLIC_VIEWER), query)
        for facet in facets.ALL:
            found.counts(facet)
        list(found[(query.page - 1) * 20 : query.page * 20])
        return spent[0] * 1000

    with connection.execute_wrapper(clocked):
        return _timed(ask)


def _pages() -> list[float]:
    """Milliseconds of each whole page, asked of the application in this process."""
    from django.test import Client  # noqa: PLC0415

    client = Client(HTTP_HOST="localhost")

    def ask(address: str) -> float:
        began = time.perf_counter()
        answer = client.get(f"/?{address}")
        assert answer.status_code == 200, answer.status_code
        return (time.perf_counter() - began) * 1000

    return _timed(ask)


def _timed(ask: Callable[[str], float]) -> list[float]:
    for address in ADDRESSES:  # warm
        ask(address)
    return [ask(address) for _ in range(ROUNDS) for address in ADDRESSES]


def _plain() -> float:
    """Milliseconds of counting the same documents by an index alone."""
    from catalog.selectors import documents  # noqa: PLC0415

    def ask() -> float:
        began = time.perf_counter()
        documents.rows(
            "SELECT count(*) FROM public.catalog_searchdocument_public WHERE name_key > %(after)s", {"after": ""}
        )
        return (time.perf_counter() - began) * 1000

    return median(ask() for _ in range(ROUNDS * 3))


def _p95(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]


if __name__ == "__main__":
    sys.exit(main())
