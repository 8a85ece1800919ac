"""How much the pages and the API take in: counted as it comes, before anybody asks who sends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from django.conf import settings as configured

from marketplace.asgi import application

PART = b"x" * 65_536


async def parts(number: int, sent: list[int]) -> AsyncIterator[bytes]:
    for _ in range(number):
        sent.append(len(PART))
        yield PART


def post(path: str, content: bytes | AsyncIterator[bytes]) -> httpx.Response:
    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post(path, content=content)

    return asyncio.run(main())


@pytest.mark.parametrize("path", ["/accounts/login/", "/api/v1/servers/", "/webhooks/stripe/", "/nowhere/"])
def test_a_body_without_a_length_is_read_no_further_than_its_bound(db, path):
    sent: list[int] = []
    refused = post(path, parts(10_000, sent))

    assert (refused.status_code, refused.headers["connection"]) == (413, "close")
    assert "at most 2048 KiB" in refused.text
    assert sum(sent) <= configured.WEB_REQUEST_BYTES_MAX + 2 * len(PART)


def test_a_length_that_is_too_large_is_refused_before_anything_is_read(db):
    refused = post("/accounts/login/", b"x" * (configured.WEB_REQUEST_BYTES_MAX + 1))

    assert refused.status_code == 413


def test_programs_are_told_in_the_form_of_all_errors(db):
    refused = post("/api/v1/servers/", b"x" * (configured.WEB_REQUEST_BYTES_MAX + 1))

    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "core.too_large"


def test_an_import_may_be_as_long_as_its_own_setting_says(db):
    taken = post("/operations/import/", b"x" * (configured.WEB_REQUEST_BYTES_MAX + 1))
    refused = post("/operations/import/", b"x" * ((configured.IMPORT_UPLOAD_MIB + 1) * 2**20 + 1))

    assert taken.status_code != 413
    assert refused.status_code == 413


def test_what_is_within_the_bound_reaches_the_page(db):
    assert post("/nowhere/", parts(3, [])).status_code == 404
