"""Proving domains: what counts as one, and what a name server or a web server has to say."""

from __future__ import annotations

import pytest

from core import dns, domains
from core.domains import Challenge, ProofMissingError
from tests.support.name_servers import running_names

CHALLENGE = Challenge("example.com", "t" * 32)


@pytest.fixture
def names():
    with running_names() as running:
        yield running


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("Example.COM.", "example.com"),
        ("mail.example.co.uk", "mail.example.co.uk"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("localhost", ""),
        ("127.0.0.1", ""),
        ("example.com:8080", ""),
        ("example..com", ""),
        ("-a.example", ""),
        ("a b.example", ""),
        ("", ""),
    ],
)
def test_a_domain_has_one_spelling_and_anything_else_is_none(text, domain):
    assert domains.normalised(text) == domain


class TestRecords:
    def test_texts_are_read_whatever_their_length_and_whatever_stands_before(self, names):
        names.records["long.example"] = ["x" * 250, "short"]

        assert dns.txt_records("long.example", [names.address]) == ["x" * 250, "short"]

    def test_a_name_that_is_not_there_has_none(self, names):
        assert dns.txt_records("nothing.example", [names.address]) == []

    def test_the_next_server_is_asked_when_one_fails_and_none_is_an_error(self, names):
        names.records["a.example"] = ["text"]
        with running_names() as broken:
            broken.broken = True

            assert dns.txt_records("a.example", [broken.address, names.address]) == ["text"]
            with pytest.raises(dns.NameServerError):
                dns.txt_records("a.example", [broken.address])

    def test_the_record_with_our_text_is_the_proof(self, names):
        names.records["_mcp-marketplace.example.com"] = ["v=spf1 -all", CHALLENGE.text]

        domains.check_record(CHALLENGE, [names.address])

        assert names.asked == ["_mcp-marketplace.example.com"]

    @pytest.mark.parametrize("texts", [[], [f"mcp-marketplace-verification={'o' * 32}"], ["t" * 32]])
    def test_anything_else_is_none(self, names, texts):
        names.records["_mcp-marketplace.example.com"] = texts

        with pytest.raises(ProofMissingError):
            domains.check_record(CHALLENGE, [names.address])


class TestFiles:
    def test_a_private_address_is_not_asked(self):
        with pytest.raises(ProofMissingError, match=r"not public|not open"):
            domains.check_file(CHALLENGE, url="http://127.0.0.1/.well-known/mcp-marketplace-verification")
