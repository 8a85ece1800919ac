from __future__ import annotations

import pytest

from core.ids import uuid7
from notifications import services
from notifications.models import Notification
from tenants.context import tenant_scope

INBOX = "/o/acme/notifications/"


@pytest.fixture
def tell(cast):
    """`tell("title")` puts a notification into alice's inbox at acme."""

    def make(title: str, *, to=cast.alice, tenant=cast.acme, **fields) -> Notification:
        with tenant_scope(tenant):
            return services.notify(kind="tests.told", title=title, recipient_id=to.pk, **fields)

    return make


def reload(tenant, notification: Notification) -> Notification:
    with tenant_scope(tenant):
        notification.refresh_from_db()
    return notification


class TestInbox:
    def test_an_empty_inbox_says_what_will_be_here(self, cast, signed_in):
        page = signed_in(cast.alice).get(INBOX).content.decode()
        assert "No notifications" in page

    def test_unread_ones_come_first_then_the_newest(self, cast, signed_in, tell):
        first, second, third = tell("first"), tell("second"), tell("third")
        with tenant_scope(cast.acme):
            services.mark_read(cast.alice.pk, [third.pk, first.pk])
        page = signed_in(cast.alice).get(INBOX).content.decode()
        assert page.index("second") < page.index("third") < page.index("first")
        assert "1 unread in Acme" in page
        assert second.read_at is None

    def test_others_and_other_organisations_do_not_mix_in(self, cast, signed_in, tell):
        tell("for bob", to=cast.bob)
        tell("at globex", to=cast.alice, tenant=cast.globex)
        page = signed_in(cast.alice).get(INBOX).content.decode()
        assert "for bob" not in page
        assert "at globex" not in page

    def test_marking_one_or_all_as_read(self, cast, signed_in, tell):
        one, other, bobs = tell("one"), tell("other"), tell("for bob", to=cast.bob)
        client = signed_in(cast.alice)
        client.post(INBOX, {"notification": one.pk})
        assert reload(cast.acme, one).read_at is not None
        assert reload(cast.acme, other).read_at is None
        client.post(INBOX)
        assert reload(cast.acme, other).read_at is not None
        assert reload(cast.acme, bobs).read_at is None

    def test_opening_marks_as_read_and_leads_there(self, cast, signed_in, tell):
        note = tell("see people", url="/o/acme/people/")
        answer = signed_in(cast.alice).post(INBOX, {"notification": note.pk, "open": "1"})
        assert answer["Location"] == "/o/acme/people/"
        assert reload(cast.acme, note).read_at is not None

    @pytest.mark.parametrize(
        "url", ["//evil.example/", "/\\evil.example/", "https://evil.example/", "javascript:alert(1)"]
    )
    def test_opening_never_leaves_the_site(self, cast, signed_in, tell, url):
        note = tell("trap", url=url)
        answer = signed_in(cast.alice).post(INBOX, {"notification": note.pk, "open": "1"})
        assert answer["Location"] == INBOX

    @pytest.mark.parametrize("which", ["nonsense", str(uuid7())], ids=["nonsense", "unknown"])
    def test_an_unknown_one_changes_nothing(self, cast, signed_in, tell, which):
        note = tell("one")
        assert signed_in(cast.alice).post(INBOX, {"notification": which}).status_code == 302
        assert reload(cast.acme, note).read_at is None

    def test_somebody_elses_cannot_be_marked(self, cast, signed_in, tell):
        note = tell("one")
        signed_in(cast.bob).post(INBOX, {"notification": note.pk})
        assert reload(cast.acme, note).read_at is None

    def test_many_are_paged(self, cast, signed_in, tell):
        for number in range(30):
            tell(f"note {number:02}")
        client = signed_in(cast.alice)
        assert "1–25 of 30 notifications" in client.get(INBOX).content.decode()
        assert "note 00" in client.get(INBOX, {"page": 2}).content.decode()
        assert client.get(INBOX, {"page": "x"}).status_code == 200

    def test_strangers_find_nothing(self, cast, signed_in, client):
        assert client.get(INBOX).status_code == 302
        assert signed_in(cast.charlie).get(INBOX).status_code == 404
