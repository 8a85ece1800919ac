"""Closed: an answer leaves only after the row that describes it is committed."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

from calls import timings
from calls.record import SHARED, CallRecord, record_like
from calls.writer import CallWriter
from core import failpoints
from gateway import tracing
from gateway.context import CallContext, Common
from gateway.mcp.errors import RefusedError
from gateway.mcp.versions import META_CLIENT

_ONE, _ZERO = Decimal(1), Decimal(0)
_MAX_LABEL = 128
_CALLERS_COMMON_MAX = 512
_PROTOCOLS_MAX = 8  # a caller may claim to speak anything


def commit(call: CallContext, writer: CallWriter) -> asyncio.Future[None]:
    """Hand the call's row to the writer, once; the future is done when it is committed, or carries NotRecordedError.

    The row is written even when nobody waits for the future any more.
    """
    if call.committed is None:
        if failpoints.armed and call.attempts:
            failpoints.reach("after_upstream")
        if call.attempts and call.marks and call.marks[-1][0] != "reply":
            call.mark("reply")
        record = record_of(call)
        bill = call.tasks.bill(call, record) if call.tasks is not None and call.task_state is not None else None
        if call.tasks is not None and bill is not None:
            call.committed = call.tasks.both(call, writer.write(bill), writer.write(record, call.slot))
        else:
            call.committed = writer.write(record, call.slot)
    return call.committed


def refuse(call: CallContext, refusal: RefusedError) -> None:
    """Note a refusal on the call, for its row."""
    call.outcome, call.status = refusal.kind.outcome, refusal.status
    call.error = f"{refusal.error_code}: {refusal.detail or refusal.message}"
    if refusal.decision is None and refusal.reason is not None:
        call.reason = refusal.reason


def common_of(call: CallContext) -> Common | None:
    """What the call shares with others; None when it was refused on its own grounds or before there was a decision."""
    if call.common is not None and not call.reason:
        return call.common
    caller, server, decision, message = call.caller, call.server, call.decision, call.message
    if server is None or decision is None or caller is None or message is None or call.reason:
        return None
    route = call.route
    if route is not None and not call.session_id:
        common = route.commons.get(call.protocol)
        if common is None:
            if len(route.commons) >= _PROTOCOLS_MAX:
                route.commons.clear()
            common = route.commons[call.protocol] = Common(server, decision, call.price)
        call.common = common
        return common
    if call.approval_id is not None:
        return None
    name = (call.slug, message.method, call.tool, call.interface, call.protocol, call.session_id)
    held = caller.common.get(name)
    if held is not None and held.server is server and held.decision is decision and held.price is call.price:
        return held
    if len(caller.common) >= _CALLERS_COMMON_MAX:
        caller.common.clear()
    held = caller.common[name] = Common(server, decision, call.price)
    return held


def record_of(call: CallContext) -> CallRecord:
    """The call's row. What it shares with others is taken from the one before it."""
    common = common_of(call)
    if common is None:
        return _record(call)
    if common.values is None:
        record = _record(call)
        record.alike = common.alike
        common.values = {name: getattr(record, name) for name in SHARED} | {"alike": common.alike}
        return record
    return record_like(common.values, _own_values(call))


def _own_values(call: CallContext) -> dict[str, Any]:
    """What each call has for itself."""
    message = call.message
    assert message is not None
    billable = call.is_billable
    trace_id, parent_span, _ = tracing.trace_of(call)
    return {
        "call_id": call.call_id,
        "occurred_at": call.occurred_at,
        "client": _client_of(message.params),
        "arguments_digest": call.arguments_digest,
        "outcome": call.outcome,
        "http_status": call.status,
        "error": call.error,
        "attempts": call.attempts,
        "latency_ms": round(call.elapsed_ms, 3),
        "upstream_ms": round(call.upstream_ms, 3),
        "request_bytes": call.request_bytes,
        "response_bytes": call.response_bytes,
        "billable": billable,
        "quantity": _ONE if billable else _ZERO,
        "price": call.cost if billable else _ZERO,
        "request_id": str(message.request_id)[:_MAX_LABEL],
        "trace_id": trace_id,
        "parent_span": parent_span,
        "upstream_auth": call.upstream_auth,
        "upstream_protocol": call.upstream_protocol or call.protocol,
        "timings": timings.encode(call.started_ns, call.marks),
    }


def _record(call: CallContext) -> CallRecord:
    caller, server, decision, message, price = call.caller, call.server, call.decision, call.message, call.price
    assert caller is not None
    assert message is not None
    record = CallRecord(
        schema_name=caller.tenant.schema_name,
        api_key_id=caller.key.api_key_id,
        user_id=caller.key.user_id,
        agent=caller.key.agent,
        asserted_human=caller.asserted.stranger if caller.asserted is not None else "",
        session_id=call.session_id,
        interface=call.interface,
        protocol=call.protocol,
        method=message.method[:_MAX_LABEL],
        server_name=call.slug[:_MAX_LABEL],
        tool=call.tool,
        policy_revision=caller.tenant.revision,
        credential=call.credential,
        client_id=call.client_id[:_MAX_LABEL],
        approval_id=call.approval_id,
        **_own_values(call),
    )
    if server is not None:
        record.server_id, record.server_version_id = server.server_id, server.version_id
        record.provider_id = server.provider_id
    if decision is not None:
        record.allowed, record.reason = decision.allowed, decision.reason
        record.grant_id, record.side_effect = decision.grant_id, decision.side_effect
        record.trust_required, record.trust_effective = decision.trust_required, decision.trust_effective
        record.trust_admin, record.trust_consented = decision.trust_admin, decision.trust_consented
        record.agent_session_id, record.risk = decision.session_id, decision.risk
        record.policy_version = decision.policy_version
    if call.reason:
        # Refused before or beside the engine: whatever it said does not count.
        record.allowed, record.reason = False, call.reason
    if price is not None:
        record.price_version_id, record.quoted_price = price.price_version_id, price.rate
        record.currency = price.currency
    return record


def _client_of(params: dict[str, object]) -> str:
    """What the client says of itself; display only."""
    meta = params.get("_meta")
    info = meta.get(META_CLIENT) if isinstance(meta, dict) else params.get("clientInfo")
    if not isinstance(info, dict):
        return ""
    name, version = info.get("name"), info.get("version")
    return f"{name}/{version}"[:_MAX_LABEL] if isinstance(name, str) and isinstance(version, str) else ""
