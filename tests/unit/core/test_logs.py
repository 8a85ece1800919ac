from __future__ import annotations

import json
import logging

from hypothesis import given
from hypothesis import strategies as st

from core.logs import JSONFormatter


def line_of(message: str, **extra: object) -> str:
    record = logging.makeLogRecord({"name": "test", "levelname": "INFO", "msg": message, **extra})
    return JSONFormatter().format(record)


class TestJSONFormatter:
    @given(st.text(), st.text())
    def test_no_value_can_forge_a_second_line(self, message, value):
        line = line_of(message, subject=value)

        assert line.isprintable()
        assert json.loads(line)["event"] == message
        assert json.loads(line)["subject"] == value

    def test_an_exception_stays_inside_its_line(self):
        try:
            raise ValueError("first\nsecond")
        except ValueError as error:
            line = line_of("failed", exc_info=(ValueError, error, error.__traceback__))

        assert "\n" not in line
        assert "ValueError: first" in json.loads(line)["exception"]

    def test_a_value_that_json_does_not_know_is_written_as_text(self):
        assert json.loads(line_of("x", schema=object))["schema"] == "<class 'object'>"
