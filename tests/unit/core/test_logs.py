from __future__ import annotations

import json
import logging

from hypothesis import given
from hypothesis import strategies as st

from core.logs import JSONFormatter, masked


def line_of(message: str, **extra: object) -> str:
    record = logging.makeLogRecord({"name": "test", "levelname": "INFO", "msg": message, **extra})
    return JSONFormatter().format(record)


class TestJSONFormatter:
    @given(st.text(), st.text())
    def test_no_value_can_forge_a_second_line(self, message, value):
        line = line_of(message, subject=value)

        assert line.isprintable()
        assert json.loads(line)["event"] == masked(message)
        assert json.loads(line)["subject"] == masked(value)

    def test_an_exception_stays_inside_its_line(self):
        try:
            raise ValueError("first\nsecond")
        except ValueError as error:
            line = line_of("failed", exc_info=(ValueError, error, error.__traceback__))

        assert "\n" not in line
        assert "ValueError: first" in json.loads(line)["exception"]

    def test_a_value_that_json_does_not_know_is_written_as_text(self):
        assert json.loads(line_of("x", schema=object))["schema"] == "<class 'object'>"

    def test_a_field_that_is_not_on_the_list_is_left_out(self):
        assert "arguments" not in json.loads(line_of("x", arguments={"password": "hunter2"}))

    def test_credentials_and_addresses_are_masked_wherever_they_stand(self):
        try:
            raise ValueError("postgresql://owner:pass-word@db/x refused alice@example.com")
        except ValueError as error:
            line = line_of(
                "key mk_live_abc123_s3cr3tvalue of Bearer abcdefgh12345678",
                error="eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",
                exc_info=(ValueError, error, error.__traceback__),
            )

        for secret in ("s3cr3tvalue", "abcdefgh12345678", "c2lnbmF0dXJl", "pass-word", "alice@example.com"):
            assert secret not in line
