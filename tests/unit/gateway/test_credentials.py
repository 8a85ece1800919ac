"""What is said to a server of the call it gets."""

import json

from gateway.upstream import credentials
from gateway.upstream.credentials import subject


def test_a_subject_is_what_was_called_as_members_of_an_object():
    said = json.loads(b"{" + subject("tools/call", 'a "tool"') + b"}")
    assert said == {"method": "tools/call", "tool": 'a "tool"'}


def test_a_method_of_a_megabyte_is_not_kept():
    kept = credentials._kept_subject
    subject("tools/call", "echo")
    before = kept.cache_info().currsize
    name = "notifications/" + "x" * 1_000_000
    assert json.loads(b"{" + subject(name, "") + b"}") == {"method": name, "tool": ""}
    assert kept.cache_info().currsize == before > 0
