"""A list of servers behind one address: JSON or YAML, in any format that the catalog reads.

The document is kept in slices; a reading that goes on after a crash asks for it again and skips what it kept, provided that
the document is still the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from repositories.adapters import addresses, documents
from repositories.adapters.fetching import place
from repositories.adapters.registry import Batch, Reading
from repositories.errors import SourceRefusedError


class HttpIndex:
    kind = "http"
    label = "HTTP index"
    hint = "The address of one JSON or YAML document that lists servers: mcpm, ContextForge, server.json, Docker …"
    switch = ""
    platform_only = False
    incremental = False
    pause_s = 0

    def check_url(self, url: str, roots: tuple[Path, ...]) -> str:
        return addresses.web(url)

    def read(self, reading: Reading) -> Iterator[Batch]:
        yield from read_document(reading)


def read_document(reading: Reading) -> Iterator[Batch]:
    """The document at the source's address. The cursor is its digest and how many entries were kept."""
    url = reading.url
    known = dict(reading.validators.get(url, {})) if not reading.cursor else {}
    reply = reading.fetcher.get(url, headers={"accept": "application/json, application/yaml, */*;q=0.5", **known})
    if reply.status == 304 and known:
        yield Batch(unchanged=True)
        return
    if reply.status != 200:
        raise SourceRefusedError(f"There is nothing at {place(url)} (HTTP {reply.status}).")
    file = addresses.segments(url)[-1] if addresses.segments(url) else place(url)
    found = documents.read(reply.body, file)
    if not found[0] and found[1] and not found[1][0].entry:
        # Not one entry in it: the document itself is not what it should be.
        raise SourceRefusedError(f"{place(url)}: {found[1][0].reason}"[:400])
    digest = documents.digest_of(reply.body)
    mark, _, kept = reading.cursor.partition(":")
    begin = int(kept) if mark == digest else 0
    for batch in documents.slices(found, digest, begin):
        yield replace(batch, validators={url: reply.validators})


ADAPTER = HttpIndex()
