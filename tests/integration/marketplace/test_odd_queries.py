"""Pages under addresses that nobody types: whatever a query holds, a page is no failure of ours."""

from __future__ import annotations

import pytest

PAGES = {
    "/": ("q", "page", "category", "sort"),
    "/suggest/": ("q",),
    "/tools/": ("q", "page", "effect", "sort"),
    "/compare/": ("s",),
    "/servers/payments/": ("tab", "find", "page"),
    "/servers/payments/?tab=install": ("way", "client"),
    "/servers/payments/?tab=versions": ("from", "to"),
    "/servers/payments/?tab=usage": ("period",),
    "/o/acme/calls/": ("period", "server", "tool", "key", "outcome", "before", "after"),
    "/o/acme/keys/": ("state", "page"),
    "/o/acme/keys/new/": ("server",),
    "/o/acme/access/": ("state", "server", "kind", "q", "page"),
    "/o/acme/access/new/": ("server",),
    "/o/acme/access/new/?server=payments": ("subject", "agent", "trust", "effect", "tool"),
    "/o/acme/access/explain/": ("key", "server", "tool"),
    "/o/acme/audit/": ("action", "actor", "before", "after"),
    "/o/acme/notifications/": ("page",),
    "/organisations/new/": ("name", "slug"),
}
ODD = ["%00", "a%00b", "%%0000", "%ED%A0%80", "%FF", "9" * 30, "-1", "%27%22%3E%3Cx", "0" * 3000]


@pytest.mark.parametrize(("page", "name"), [(page, name) for page, names in PAGES.items() for name in names])
def test_no_value_of_a_query_breaks_a_page(page, name, cast, signed_in):
    alice = signed_in(cast.alice)
    joint = "&" if "?" in page else "?"
    for value in ODD:
        assert alice.get(f"{page}{joint}{name}={value}").status_code in {200, 404}, value
