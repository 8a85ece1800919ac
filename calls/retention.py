"""Records whose time is over: whole months of calls, and the oldest events of the audit log behind a signed cut.

Nothing goes while anybody holds it: the platform or the organisation by `legal_hold`, months that prove invoices by their own
time, and a log that does not verify by itself, because a cut would hide what was done to it.
"""

from __future__ import annotations

import logging
import re
from datetime import datetime

from django.db import connection, transaction
from psycopg import sql

from audit import services as audit
from audit.chain import Point
from audit.models import AuditEvent
from audit.services import checkpoints
from audit.statements import StatementKind
from calls.partitions import Month
from core import clock
from tenants.context import tenant_scope
from tenants.models import Tenant
from tenants.services import settings

log = logging.getLogger(__name__)

CALLS, BILLED, AUDIT, HOLD = (
    "call_retention_months",
    "billed_call_retention_months",
    "audit_retention_months",
    "legal_hold",
)
_TABLE = re.compile(r"calls_call_(\d{4})_(\d{2})\Z")
# A writer that is in the way is not waited for; tomorrow is soon enough.
_LOCK_WAIT = "SET LOCAL lock_timeout = '5s'"


def apply(tenant: Tenant) -> None:
    """Remove what an organisation need not keep. Safe to run at any time, and twice."""
    if settings.get_bool(HOLD) or settings.get_bool(HOLD, tenant):
        return
    with tenant_scope(tenant):
        if months := kept_months(CALLS, tenant):
            drop_months(tenant, _months_ago(months), _months_ago(max(months, _number(BILLED))))
        if months := kept_months(AUDIT, tenant):
            cut_log(_months_ago(months))


def kept_months(name: str, tenant: Tenant) -> int:
    """The longer of what the platform and the organisation say; 0 is for good."""
    platform, own = _number(name), _number(name, tenant)
    return 0 if not platform or not own else max(platform, own)


def drop_months(tenant: Tenant, before: datetime, billed_before: datetime) -> list[Month]:
    """Drop the months of calls that ended before a moment, those with priced calls only before another; what went."""
    gone = []
    for month in _stored_months(tenant.schema_name):
        ends_at = month.next().starts_at
        table = sql.Identifier(tenant.schema_name, month.table)
        if ends_at > before or (ends_at > billed_before and _has_prices(table)):
            continue
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_LOCK_WAIT)
            cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(table))
            count = cursor.fetchone()[0]
            cursor.execute(sql.SQL("DROP TABLE {}").format(table))
            data = {"month": f"{month.year:04d}-{month.month:02d}", "calls": count}
            audit.record("calls:log:month_removed", actor=audit.SYSTEM, data=data)
        gone.append(month)
    return gone


def cut_log(before: datetime) -> int:
    """Remove events from before a moment behind a signed statement of what the last of them was; how many went.

    The newest event always stays. A log that does not verify keeps everything, and operators are alerted.
    """
    newest = AuditEvent.objects.order_by("-sequence").values_list("sequence", flat=True).first() or 0
    younger = AuditEvent.objects.filter(occurred_at__gte=before).order_by("sequence")
    first_kept = younger.values_list("sequence", flat=True).first() or newest
    last = AuditEvent.objects.filter(sequence__lt=min(first_kept, newest)).order_by("-sequence").first()
    if last is None:
        return 0
    broken = audit.verify()[1]
    if broken is not None:
        log.error("audit log not cut", extra={"sequence": broken.sequence, "why": broken.why, "kind": str(broken.kind)})
        return 0
    with transaction.atomic():
        checkpoints.state(StatementKind.CUT, Point(last.sequence, bytes(last.hash)))
        count = AuditEvent.objects.filter(sequence__lte=last.sequence).delete()[0]
        audit.record("audit:log:cut", actor=audit.SYSTEM, data={"up_to": last.sequence, "events": count})
    return count


def _stored_months(schema: str) -> list[Month]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_class p ON p.oid = i.inhparent"
            " WHERE n.nspname = %s AND p.relname = 'calls_call' ORDER BY 1",
            [schema],
        )
        names = [_TABLE.match(row[0]) for row in cursor.fetchall()]
    return [Month(int(name[1]), int(name[2])) for name in names if name]


def _has_prices(table: sql.Identifier) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE billable AND price > 0)").format(table))
        return bool(cursor.fetchone()[0])


def _months_ago(count: int) -> datetime:
    """The beginning of the month so many months before this one."""
    month = Month.of(clock.now())
    number = month.year * 12 + month.month - 1 - count
    return Month(number // 12, number % 12 + 1).starts_at


def _number(name: str, tenant: Tenant | None = None) -> int:
    value = settings.get(name, tenant)
    assert isinstance(value, int)
    return value
