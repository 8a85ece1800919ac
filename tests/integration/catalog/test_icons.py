"""Pictures of servers: they come with a listing and are served by us, to whoever may see the server."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from catalog import icons
from catalog.choices import Status, Visibility
from catalog.formats import server_json
from catalog.formats.normal import Icon
from catalog.models import Server
from catalog.services import importing
from catalog.services.importing import SourceRef
from tenants.context import platform_scope
from tests.integration.catalog.test_home import text_of
from tests.integration.catalog.test_importing import MAIL, OFFICIAL, only
from tests.support import pictures

pytestmark = pytest.mark.django_db

PICTURE = icons.judge(pictures.png(48, 48))
WITH_PICTURE = replace(MAIL, icons=(Icon("https://mail.example/i.png"), Icon(PICTURE.address, PICTURE.media_type)))


def path_of(server: Server) -> str:
    return f"/servers/{server.slug}/icon/{PICTURE.digest}/"


class TestServing:
    def test_card_and_page_show_the_picture_of_the_listing_from_our_own_address(self, cast, client):
        importing.take(OFFICIAL, [WITH_PICTURE])
        server = only()

        page, results = client.get(f"/servers/{server.slug}/"), client.get("/", {"q": "mail"})
        answer = client.get(path_of(server))

        for shown in (page, results):
            assert f'<img src="{path_of(server)}"' in text_of(shown)
            assert "mail.example/i.png" not in text_of(shown)
        assert (answer.status_code, answer.content) == (200, PICTURE.data)

    def test_a_browser_takes_it_for_a_picture_and_for_nothing_else(self, cast, client):
        importing.take(OFFICIAL, [WITH_PICTURE])

        answer = client.get(path_of(only()))

        assert answer["Content-Type"] == "image/png"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer["Content-Security-Policy"]
        assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer["Cache-Control"] == "public, max-age=86400"

    def test_a_picture_that_was_replaced_or_never_was_is_not_there(self, cast, client):
        importing.take(OFFICIAL, [WITH_PICTURE])
        newer = icons.judge(pictures.png(48, 48, colour=(1, 2, 3)))
        importing.take(OFFICIAL, [replace(MAIL, icons=(Icon(newer.address),))])
        server = only()

        assert client.get(path_of(server)).status_code == 404
        assert client.get(f"/servers/{server.slug}/icon/{newer.digest}/").status_code == 200
        assert client.get(f"/servers/{server.slug}/icon/no/").status_code == 404

    def test_without_one_the_usual_sign_is_shown(self, cast, client):
        importing.take(OFFICIAL, [replace(MAIL, icons=(Icon("https://mail.example/i.png"),))])

        assert "<img" not in text_of(client.get(f"/servers/{only().slug}/"))


class TestIsolation:
    @pytest.fixture
    def private(self, cast) -> Server:
        place = SourceRef(UUID(int=9), "Own", "http", owner_tenant_id=cast.acme.pk, visibility=Visibility.ORG)
        importing.take(place, [WITH_PICTURE])
        return only()

    def test_only_the_organisation_that_sees_the_server_gets_its_picture(self, cast, signed_in, client, private):
        answer = signed_in(cast.bob).get(path_of(private))
        assert (answer.status_code, answer.content) == (200, PICTURE.data)
        assert answer["Cache-Control"] == "private, max-age=86400"

        assert signed_in(cast.charlie).get(path_of(private)).status_code == 404
        client.logout()
        assert client.get(path_of(private)).status_code == 404

    def test_a_picture_of_a_listing_that_was_hidden_is_gone(self, cast, client):
        importing.take(OFFICIAL, [WITH_PICTURE])
        server = only()
        with platform_scope():
            Server.objects.filter(pk=server.pk).update(status=Status.REMOVED)

        assert client.get(path_of(server)).status_code == 404


class TestFormats:
    def test_server_json_brings_its_picture_and_what_is_none_is_reported(self):
        document = {
            "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
            "name": "com.example/mail",
            "description": "Sends mail.",
            "version": "1.0.0",
            "icons": [{"src": PICTURE.address}, {"src": "data:image/svg+xml;base64,PHN2Zy8+"}],
        }

        entry, problems = server_json.read(document, "server.json")

        assert entry is not None
        assert [icon.src for icon in entry.icons] == [PICTURE.address]
        assert [(problem.field, "SVG" in problem.reason) for problem in problems] == [("icons[1].src", True)]
