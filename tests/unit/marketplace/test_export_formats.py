from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.exports import formats

AT = datetime(2026, 11, 21, 18, 0, 0, 5000, UTC)
CALL = {
    "call_id": UUID(int=7), "occurred_at": AT, "agent": "bot", "session_id": "s1", "api_key_id": UUID(int=1), "user_id": None,
    "server_id": UUID(int=2), "server_name": "payments", "tool": "refund_invoice", "method": "tools/call", "allowed": False,
    "reason": "trust_too_low", "outcome": "denied", "http_status": 403, "error": "", "latency_ms": 1.6, "request_id": "r",
    "trace_id": "t", "client": "sdk", "side_effect": "destructive", "trust_required": "high", "price": "0",
}  # fmt: skip
EVENT = {
    "id": UUID(int=9), "sequence": 3, "occurred_at": AT, "actor_type": "user", "actor_id": "1", "actor_label": "a@x.example",
    "action": "access:grant:revoked", "target_type": "grant", "target_id": "2", "target_label": "g", "data": {"n": 1},
    "request_id": "r", "previous_hash": b"\x00\x01", "hash": b"\x02",
}  # fmt: skip


class TestOCSF:
    @pytest.mark.parametrize("event", [formats.ocsf_of_call(CALL, "acme"), formats.ocsf_of_audit(EVENT, "acme")])
    def test_it_has_what_the_class_api_activity_requires(self, event):
        required = {
            "activity_id",
            "actor",
            "api",
            "category_uid",
            "class_uid",
            "metadata",
            "severity_id",
            "src_endpoint",
        }
        assert required | {"time", "type_uid"} <= set(event)
        assert (event["class_uid"], event["category_uid"]) == (6003, 6)
        assert event["type_uid"] == 6003 * 100 + event["activity_id"]
        assert event["time"] == int(AT.timestamp() * 1000)
        assert event["metadata"]["version"] == "1.6.0"
        assert event["metadata"]["product"]["name"]
        assert event["api"]["operation"]
        assert event["actor"]["user"]
        assert event["src_endpoint"]["name"]
        json.dumps(event)

    def test_a_refused_destructive_call_is_a_denied_delete(self):
        event = formats.ocsf_of_call(CALL, "acme")

        assert (event["activity_id"], event["action_id"], event["status_id"]) == (4, 2, 2)
        assert event["metadata"]["event_code"] == "trust_too_low"
        assert event["unmapped"]["trust_required"] == "high"

    def test_an_allowed_call_whose_outcome_is_unknown_is_neither_success_nor_failure(self):
        event = formats.ocsf_of_call({**CALL, "allowed": True, "outcome": "unknown"}, "acme")

        assert (event["action_id"], event["status_id"]) == (1, 0)

    def test_an_audit_event_keeps_its_place_and_its_hashes(self):
        event = formats.ocsf_of_audit(EVENT, "acme")

        assert (event["activity_id"], event["metadata"]["sequence"]) == (4, 3)
        assert event["unmapped"] == {"data": {"n": 1}, "hash": "02", "previous_hash": "0001"}


class TestCSV:
    @pytest.mark.parametrize(
        "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", '=HYPERLINK("http://x")', "\n=1"]
    )
    def test_no_cell_begins_as_a_formula(self, text):
        [[cell]] = csv.reader(io.StringIO(formats.csv_rows(["a"], [{"a": text}]).decode(), newline=""))

        assert cell == f"'{text}"

    @given(
        st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), min_size=2, max_size=4)
    )
    def test_whatever_is_in_a_cell_the_columns_stay(self, texts):
        columns = [str(number) for number in range(len(texts))]
        written = formats.csv_rows(columns, [dict(zip(columns, texts, strict=True))])
        [cells] = csv.reader(io.StringIO(written.decode(), newline=""))

        assert [cell.removeprefix("'") for cell in cells] == [text.removeprefix("'") for text in texts]

    def test_values_have_one_plain_form(self):
        row = {
            "none": None,
            "yes": True,
            "number": -1.5,
            "at": AT,
            "id": UUID(int=7),
            "data": {"a": [1]},
            "hash": b"\xab",
        }
        [cells] = csv.reader(io.StringIO(formats.csv_rows(list(row), [row]).decode(), newline=""))

        assert cells == ["", "true", "-1.5", AT.isoformat(), str(UUID(int=7)), '{"a": [1]}', "ab"]
