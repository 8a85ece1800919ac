from __future__ import annotations

import re

import pytest
from django.db import connection

from audit import selectors, services
from audit.models import AuditCheckpoint
from audit.services import checkpoints
from tenants.choices import Role
from tenants.context import tenant_scope
from tests.integration.tenants.test_memberships import join_as

LOG = "/o/acme/audit/"


def write(tenant, count: int, action: str = "tests:thing:done", who: str = "alice@acme.example") -> None:
    with tenant_scope(tenant):
        for number in range(count):
            services.record(
                action,
                actor=services.Party("user", "1", who),
                target=services.Party("thing", str(number), f"thing {number}"),
                data={"number": number},
            )


class TestAuditLog:
    def test_an_owner_and_an_auditor_read_it(self, cast, signed_in):
        write(cast.acme, 3)
        for person in (cast.alice, join_as(Role.AUDITOR, cast.acme).user):
            page = signed_in(person).get(LOG).content.decode()
            assert "tests:thing:done" in page
            assert "thing 2" in page

    def test_a_member_is_refused_with_whom_to_ask(self, cast, signed_in):
        answer = signed_in(cast.bob).get(LOG)
        assert answer.status_code == 403
        assert signed_in(cast.bob).post(LOG).status_code == 403

    def test_strangers_find_nothing(self, cast, signed_in, client):
        assert client.get(LOG).status_code == 302
        assert signed_in(cast.charlie).get(LOG).status_code == 404

    def test_filters_by_action_and_by_who(self, cast, signed_in):
        write(cast.acme, 1, action="tests:other:done", who="bob@acme.example")
        write(cast.acme, 2)
        client = signed_in(cast.alice)

        table = client.get(LOG, {"action": "tests:other:done"}).content.decode().split("<tbody>")[1]
        assert "bob@acme.example" in table
        assert "thing 1" not in table
        table = client.get(LOG, {"actor": "BOB@"}).content.decode().split("<tbody>")[1]
        assert "tests:thing:done" not in table
        assert "No event matches" in client.get(LOG, {"actor": "nobody"}).content.decode()

    def test_pages_lead_there_and_back(self, cast, signed_in):
        write(cast.acme, selectors.PAGE * 2 + 5)
        client = signed_in(cast.alice)

        def walk(word: str, page: str) -> str:
            link = re.search(rf'rel="{word}" href="([^"]+)"', page)
            return client.get(link[1].replace("&amp;", "&")).content.decode() if link else ""

        def numbers(page: str) -> list[int]:
            return [int(n) for n in re.findall(r'class="number mono quiet">(\d+)<', page)]

        # Tests that commit have written here too, so there are at least three pages.
        pages = [client.get(LOG).content.decode()]
        while page := walk("next", pages[-1]):
            pages.append(page)
        seen = [number for page in pages for number in numbers(page)]
        assert len(pages) >= 3
        assert seen == list(range(len(seen), 0, -1))
        first, second, third = pages[:3]
        assert numbers(walk("prev", third)) == numbers(second)
        assert numbers(walk("prev", walk("prev", third))) == numbers(first)
        assert walk("prev", first) == ""

    @pytest.mark.parametrize("query", [{"before": "x"}, {"before": "-1"}, {"before": "9" * 30}, {"after": "²"}])
    def test_an_odd_place_is_ignored(self, cast, signed_in, query):
        assert signed_in(cast.alice).get(LOG, query).status_code == 200

    def test_verifying_says_that_the_chain_holds_and_when(self, cast, signed_in):
        write(cast.acme, 3)
        page = signed_in(cast.alice).post(LOG).content.decode()
        assert "The chain holds" in page
        with tenant_scope(cast.acme):
            assert f"All {selectors.size()} entries" in page

    def test_verifying_names_the_entry_that_was_changed(self, cast, signed_in):
        write(cast.acme, 3)
        with tenant_scope(cast.acme), connection.cursor() as cursor:
            last = selectors.size()
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("ALTER TABLE audit_auditevent DISABLE TRIGGER USER")
            cursor.execute("UPDATE audit_auditevent SET target_label = 'forged' WHERE sequence = %s", [last])
            cursor.execute("ALTER TABLE audit_auditevent ENABLE TRIGGER USER")
        page = signed_in(cast.alice).post(LOG).content.decode()
        assert f"The chain is broken at entry {last}" in page

    def test_a_checkpoint_is_downloaded_and_the_log_held_against_it(self, cast, signed_in):
        client = signed_in(cast.alice)
        write(cast.acme, 3)
        with tenant_scope(cast.acme):
            checkpoints.make()
        kept = client.get(f"{LOG}checkpoint/").content.decode()
        assert "agree with your checkpoint" in client.post(LOG, {"checkpoint": kept}).content.decode()
        assert "not a checkpoint of ours" in client.post(LOG, {"checkpoint": kept[:-9]}).content.decode()

        with tenant_scope(cast.globex):
            services.record("tests:thing:done", actor=services.SYSTEM)
            other = (checkpoints.make() or checkpoints.newest()).line()
        assert "of another organisation" in client.post(LOG, {"checkpoint": other}).content.decode()

    def test_before_the_first_checkpoint_it_says_when_there_will_be_one(self, cast, signed_in):
        with tenant_scope(cast.acme):
            AuditCheckpoint.objects.all().delete()
        assert signed_in(cast.alice).get(f"{LOG}checkpoint/").status_code == 404
