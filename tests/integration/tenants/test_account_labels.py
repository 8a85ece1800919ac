"""Labels of the library's forms read like ours."""

from __future__ import annotations

import re

import pytest

LABEL = re.compile(r"<label[^>]*>([^<]+)")


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        ("/accounts/password/change/", {"Current password", "New password", "New password (again)"}),
        ("/accounts/login/", {"Email", "Password"}),
    ],
)
def test_labels_are_in_sentence_case(cast, client, path, labels):
    if "login" not in path:
        client.force_login(cast.alice)
    page = client.get(path).content.decode()
    found = {label.strip() for label in LABEL.findall(page)}
    assert labels <= found
    assert [label for label in found if re.search(r" [A-Z][a-z]", label)] == []
