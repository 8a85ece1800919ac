"""What people read in their mail at each step, taken from a server that speaks SMTP."""

from __future__ import annotations

import re

import pytest
from django.test import override_settings

from access.models import Grant
from access.requests import deciding, opening
from notifications import services as notifications
from notifications.models import Notification
from tests.integration.access.conftest import browser_of
from tests.integration.access.requesting import approve, ask, member, within
from tests.support.mail_server import mail_server


@pytest.fixture
def mails():
    with (
        mail_server() as server,
        override_settings(
            EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend",
            EMAIL_HOST="127.0.0.1",
            EMAIL_PORT=server.port,
            EMAIL_USE_TLS=False,
            EMAIL_HOST_USER="",
        ),
    ):
        yield server


def sent(mails) -> list[tuple[str, str, str, str]]:
    """Send what waits; each new mail as recipient, subject, text and page."""
    before = len(mails.accepted)
    notifications.send_waiting()
    found = []
    for _, recipients, message in mails.accepted[before:]:
        text, page = message.get_body(("plain",)), message.get_body(("html",))
        found.append((*recipients, message["Subject"], text.get_content(), page.get_content()))
    return found


def test_every_step_reaches_whom_it_concerns_as_text_and_as_a_page(cast, mails):
    with within(cast):
        request = ask(cast)
        [(to, subject, text, page)] = sent(mails)
        assert (to, subject) == ("alice@acme.example", "bob@acme.example asks for access to Payments")
        for words in ("list_invoices", "Month end", "up to low trust", "1 day"):
            assert words in text
            assert words in page

        deciding.ask_back(
            tenant=cast.acme, user=cast.alice, request_id=request.pk, digest=request.digest, comment="Which month?"
        )
        [(to, subject, text, _)] = sent(mails)
        assert (to, "question" in subject, "Which month?" in text) == ("bob@acme.example", True, True)

        opening.answer(actor=member(cast.acme, cast.bob), request_id=request.pk, comment="October")
        [(to, subject, text, _)] = sent(mails)
        assert (to, "answered" in subject, "October" in text) == ("alice@acme.example", True, True)

        approve(cast, request)
        [(to, subject, text, _)] = sent(mails)
        assert (to, subject) == ("bob@acme.example", "You have access to Payments")
        assert "Calls work from now on, until" in text


def test_the_link_of_the_mail_approves(cast, mails):
    with within(cast):
        ask(cast)
        [(_, _, text, page)] = sent(mails)
    [path] = re.findall(r"https?://[^/\s]+(/o/acme/requests/by-mail/\S+)", text)
    assert path in page

    assert browser_of(cast.alice).post(path, {"act": "approve"}).status_code == 302

    with within(cast):
        assert Grant.objects.count() == 1


def test_what_strangers_write_is_text_in_the_page(cast, mails):
    with within(cast):
        ask(cast, reason='<img src="https://evil.example/x"> <b>urgent</b>')
        [(_, _, _, page)] = sent(mails)

    assert "<img" not in page
    assert "&lt;b&gt;urgent" in page


def test_a_mail_server_that_is_busy_loses_nothing(cast, mails):
    with within(cast):
        ask(cast)
        mails.refusing = True
        assert sent(mails) == []
        assert Notification.objects.filter(emailed_at=None, email_attempts=1).count() == 1
        mails.refusing = False
        assert len(sent(mails)) == 1
