"""Rows as bytes: CSV, JSON lines, and events of OCSF. Pure: rows come as mappings of plain values.

OCSF is version 1.6.0 (schema.ocsf.io), class API Activity (6003) of the category Application Activity (6), with the profile
`security_control` for what was decided. What the schema has no place for is under `unmapped`, by our names.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

type_row = Mapping[str, Any]
type_writer = Callable[[Iterable[type_row]], bytes]

OCSF_VERSION = "1.6.0"
_CLASS, _CATEGORY = 6003, 6
_CREATE, _READ, _UPDATE, _DELETE, _OTHER = 1, 2, 3, 4, 99
_INFORMATIONAL, _LOW = 1, 2
_SUCCESS, _FAILURE, _UNKNOWN = 1, 2, 0
_ALLOWED, _DENIED = 1, 2
_PRODUCT = {"vendor_name": "MCP Marketplace", "name": "MCP Marketplace"}
_EFFECTS = {"read": _READ, "write": _UPDATE, "destructive": _DELETE}
_VERBS = {
    **dict.fromkeys(("added", "created", "issued", "given", "invited", "started", "made"), _CREATE),
    **dict.fromkeys(("viewed", "exported", "opened"), _READ),
    **dict.fromkeys(("removed", "deleted", "revoked", "withdrawn", "ended"), _DELETE),
}
# What a spreadsheet takes for the beginning of a formula; an apostrophe before it makes it text.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_MAPPED_CALL = frozenset(
    {
        "call_id", "occurred_at", "agent", "session_id", "api_key_id", "user_id", "server_id", "server_name", "tool", "method",
        "allowed", "reason", "outcome", "http_status", "error", "latency_ms", "request_id", "trace_id", "client",
    }
)  # fmt: skip


def csv_head(columns: Iterable[str]) -> bytes:
    return _csv([list(columns)])


def csv_rows(columns: Iterable[str], rows: Iterable[type_row]) -> bytes:
    """Lines as RFC 4180 has them; no cell begins as a formula does."""
    names = list(columns)
    return _csv([[_cell(row[name]) for name in names] for row in rows])


def json_lines(rows: Iterable[type_row]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False, default=_plain).encode() + b"\n" for row in rows)


def ocsf_of_call(row: type_row, tenant_uid: str) -> dict[str, Any]:
    """A decision about a call as an event: what was asked for, by whom, and whether it was let through."""
    activity = _EFFECTS.get(row["side_effect"], _OTHER) if row["tool"] else _READ
    subject = {"name": row["agent"] or row["asserted_human"] or "unknown"}
    if row["user_id"]:
        subject = {"uid": str(row["user_id"]), "name": row["agent"]}
    actor: dict[str, Any] = {"user": subject, "app_name": row["client"] or "unknown"}
    if row["session_id"]:
        actor["session"] = {"uid": row["session_id"]}
    event = _event(activity, row["occurred_at"], tenant_uid, uid=str(row["call_id"]), code=row["reason"])
    event |= {
        "severity_id": _INFORMATIONAL if row["allowed"] else _LOW,
        "status_id": _SUCCESS if row["outcome"] == "ok" else _UNKNOWN if row["outcome"] == "unknown" else _FAILURE,
        "status_code": row["outcome"],
        "status_detail": row["error"] or row["reason"],
        "action_id": _ALLOWED if row["allowed"] else _DENIED,
        "disposition_id": _ALLOWED if row["allowed"] else _DENIED,
        "duration": round(row["latency_ms"]),
        "actor": actor,
        "api": {
            "operation": row["tool"] or row["method"] or "unknown",
            "service": {"name": row["server_name"] or "all servers", "uid": str(row["server_id"] or "")},
            "request": {"uid": row["request_id"]},
            "response": {"code": row["http_status"], "error": row["error"], "message": row["reason"]},
        },
        "src_endpoint": {"name": row["agent"] or row["client"] or "unknown", "uid": str(row["api_key_id"] or "")},
        "unmapped": _jsonable({name: value for name, value in row.items() if name not in _MAPPED_CALL}),
    }
    event["metadata"]["profiles"] = ["security_control"]
    if row["trace_id"]:
        event["metadata"]["correlation_uid"] = row["trace_id"]
    return event


def ocsf_of_audit(row: type_row, tenant_uid: str) -> dict[str, Any]:
    """An event of the audit log: who did what to what."""
    verb = str(row["action"]).rpartition(":")[2]
    event = _event(_VERBS.get(verb, _UPDATE), row["occurred_at"], tenant_uid, uid=str(row["id"]), code=row["action"])
    event["metadata"]["sequence"] = row["sequence"]
    who = row["actor_label"] or row["actor_type"]
    return event | {
        "severity_id": _INFORMATIONAL,
        "status_id": _SUCCESS,
        "actor": {"user": {"uid": row["actor_id"], "name": who, "type": row["actor_type"]}},
        "api": {"operation": row["action"], "request": {"uid": row["request_id"]}},
        "src_endpoint": {"name": row["actor_type"], "uid": row["actor_id"]},
        "resources": [{"type": row["target_type"], "uid": row["target_id"], "name": row["target_label"]}],
        "unmapped": _jsonable({"data": row["data"], "hash": row["hash"], "previous_hash": row["previous_hash"]}),
    }


def _event(activity: int, at: datetime, tenant_uid: str, *, uid: str, code: str) -> dict[str, Any]:
    return {
        "class_uid": _CLASS,
        "category_uid": _CATEGORY,
        "activity_id": activity,
        "type_uid": _CLASS * 100 + activity,
        "time": int(at.timestamp() * 1000),
        "metadata": {
            "version": OCSF_VERSION,
            "product": _PRODUCT,
            "uid": uid,
            "event_code": code,
            "tenant_uid": tenant_uid,
            "original_time": at.isoformat(),
        },
    }


def _csv(lines: Iterable[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=_plain) if isinstance(value, dict | list) else _text(value)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) and not isinstance(value, int | float) else text


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(_plain(value))


def _jsonable(value: Any) -> Any:
    return json.loads(json.dumps(value, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return value if isinstance(value, int | float | str) else str(value)
