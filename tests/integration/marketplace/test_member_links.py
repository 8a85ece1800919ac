"""What a page offers, its reader may do: no link of a page leads a member to a refusal."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urljoin

import pytest

PAGES = (
    "/",
    "/servers/payments/",
    "/servers/payments/?tab=install",
    "/servers/payments/?tab=access",
    "/servers/payments/?tab=usage",
    "/o/acme/calls/",
    "/o/acme/keys/",
    "/o/acme/access/",
    "/o/acme/access/explain/",
    "/o/acme/people/",
    "/o/acme/settings/",
    "/o/acme/notifications/",
)


def links_of(page: str, body: str) -> set[str]:
    found = (unescape(link) for link in re.findall(r'<a [^>]*?href="([^"#]+)', body))
    here = (urljoin(page, link) for link in found)
    return {link for link in here if link.startswith("/")}


@pytest.mark.django_db
@pytest.mark.parametrize("page", PAGES)
def test_no_link_that_a_member_sees_is_refused(page, cast, signed_in):
    bob = signed_in(cast.bob)
    links = links_of(page, bob.get(page).content.decode())

    answers = {link: bob.get(link).status_code for link in sorted(links)}

    assert links
    assert {link: status for link, status in answers.items() if status not in {200, 302}} == {}
