from __future__ import annotations

import re

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives, get_connection

FILE_BACKEND = "django.core.mail.backends.filebased.EmailBackend"


@pytest.fixture
def mailbox(settings, tmp_path):
    settings.MAILBOX_DIR = tmp_path / "mailbox"
    settings.MAILBOX_PAGE = True

    def send(*messages: EmailMessage) -> None:
        get_connection(FILE_BACKEND, file_path=str(settings.MAILBOX_DIR)).send_messages(list(messages))

    return send


class TestMailbox:
    def test_it_is_empty_before_the_first_mail(self, cast, client, mailbox):
        assert "No mail yet" in client.get("/mailbox/").content.decode()

    def test_every_mail_of_a_connection_is_listed_and_readable_with_links(self, cast, client, mailbox):
        mailbox(
            EmailMessage("First <b>", "Go to https://example.org/a?b=1&c=2 at once", "us@x.example", ["you@x.example"]),
            EmailMessage("Zweite Übung", "Grüße\n" + "-" * 79 + "x", "us@x.example", ["you@x.example"]),
        )
        page = client.get("/mailbox/").content.decode()
        assert "First &lt;b&gt;" in page
        links = re.findall(r'href="(/mailbox/[^"]+/)"', page)
        assert len(links) == 2

        texts = [client.get(link).content.decode() for link in links]
        assert "Grüße" in texts[0]
        assert 'href="https://example.org/a?b=1&amp;c=2"' in texts[1]

    def test_markup_in_a_mail_is_text(self, cast, client, mailbox):
        message = EmailMultiAlternatives("s", "plain <script>alert(1)</script>", "us@x.example", ["you@x.example"])
        message.attach_alternative("<p>rich</p>", "text/html")
        mailbox(message)
        link = re.search(r'href="(/mailbox/[^"]+/)"', client.get("/mailbox/").content.decode())[1]
        page = client.get(link).content.decode()
        assert "plain &lt;script&gt;" in page
        assert "rich" not in page

    @pytest.mark.parametrize(
        "name", ["nothing.1", "..", "..%2f..%2fsecret", "%2e%2e%2fsecret.1", "secret", "secret.1", "\x00"]
    )
    def test_only_mails_of_the_folder_are_shown(self, cast, client, mailbox, settings, name):
        mailbox(EmailMessage("s", "t", "us@x.example", ["you@x.example"]))
        (settings.MAILBOX_DIR.parent / "secret.log").write_text("Subject: secret\n\nsecret")
        answer = client.get(f"/mailbox/{name}/")
        assert answer.status_code == 404

    def test_without_the_development_mailbox_there_is_no_page(self, cast, client, mailbox, settings):
        settings.MAILBOX_PAGE = False
        assert client.get("/mailbox/").status_code == 404
        assert client.get("/mailbox/x.1/").status_code == 404
