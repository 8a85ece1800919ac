"""A gateway's question about one call: may it pass, once, because a person approved it? Runs inside the organisation's schema.

The claim and the asking are one transaction under a lock of the row, so that of any number of equal calls at any number of
gateway processes one passes. Whatever goes wrong raises, and then nothing passes.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction

from access.approvals import telling
from access.approvals.types import CallAnswer, CallAsk
from access.models import ApprovalState, CallApproval
from access.models.approval import OPEN
from audit import services as audit
from catalog.selectors.listing import visible_to
from catalog.types import Viewer
from core import clock
from tenants.models import APIKey, Consent, Membership, Tenant
from tenants.services import vault

# Of one key at a time: more would bury the people who are to look at them.
WAITING_OF_KEY = 25


def claim_or_ask(tenant: Tenant, ask: CallAsk) -> CallAnswer:
    """Use the approval of this very call if there is one, else ask for it."""
    for last in (False, False, True):
        try:
            with transaction.atomic():
                return _claim(tenant, ask)
        except IntegrityError as error:
            # Another process asked for the same call at the same moment; from here on its row is found.
            if last or "approval_open_once" not in str(error):
                raise
    raise AssertionError("unreachable")


def state_of(ask: CallAsk) -> str:
    """How the call stands, without using or asking anything; empty when nobody asked."""
    row = CallApproval.objects.filter(binding=ask.binding()).order_by("-created_at").first()
    return row.stands if row is not None else ""


def open_round(ask: CallAsk) -> None:
    """The server of the approved call asks for more: its next round passes once, within the life of an approval."""
    row = CallApproval.objects.filter(state=ApprovalState.USED, binding=ask.binding()).order_by("-used_at").first()
    if row is not None:
        CallApproval.objects.filter(pk=row.pk).update(round=ask.round, updated_at=clock.now())


def _next_round(ask: CallAsk) -> CallAnswer | None:
    since = clock.now() - timedelta(seconds=settings.APPROVAL_LIFETIME_S)
    rows = CallApproval.objects.filter(
        binding=ask.binding(), state=ApprovalState.USED, round=ask.round, used_at__gt=since
    )
    row = rows.select_for_update().first()
    if row is None:
        return None
    CallApproval.objects.filter(pk=row.pk).update(round="", updated_at=clock.now())
    return CallAnswer("used", row.pk)


def _claim(tenant: Tenant, ask: CallAsk) -> CallAnswer:
    if ask.round:
        return _next_round(ask) or CallAnswer("none")
    now, binding = clock.now(), ask.binding()
    rows = CallApproval.objects.filter(binding=binding)
    row = rows.filter(state__in=OPEN).select_for_update().first()
    if row is not None and row.expires_at <= now:
        rows.filter(pk=row.pk).update(state=ApprovalState.EXPIRED, updated_at=now)
        row = None
    if row is not None and row.state == ApprovalState.APPROVED:
        rows.filter(pk=row.pk).update(state=ApprovalState.USED, used_at=now, used_call_id=ask.call_id, updated_at=now)
        return CallAnswer("used", row.pk)
    if row is not None:
        return _answer("waiting", row)
    rejected = rows.filter(state=ApprovalState.REJECTED, expires_at__gt=now).first()
    if rejected is not None:
        return _answer("rejected", rejected)
    return _ask(tenant, ask, binding)


def _answer(state: str, row: CallApproval) -> CallAnswer:
    return CallAnswer(state, row.pk, row.expires_at.isoformat(), row.comment)


def _ask(tenant: Tenant, ask: CallAsk, binding: str) -> CallAnswer:
    now = clock.now()
    waiting = CallApproval.objects.filter(
        api_key_id=ask.api_key_id, state=ApprovalState.WAITING, expires_at__gt=now
    ).count()
    if waiting >= WAITING_OF_KEY:
        return CallAnswer("full")
    label, barred = _caller(tenant, ask)
    row = CallApproval(
        binding=binding,
        server_id=ask.server_id,
        server_name=_server_name(ask),
        server_slug=ask.server_slug,
        tool=ask.tool,
        side_effect=ask.side_effect,
        trust_required=ask.trust_required,
        tool_digest=ask.definition,
        api_key_id=ask.api_key_id,
        key_label=label,
        agent=ask.agent[:200],
        session=ask.session,
        flow=list(ask.flow),
        barred=sorted(barred),
        arguments_digest=hashlib.sha256(ask.arguments).hexdigest(),
        asked_call_id=ask.call_id,
        expires_at=now + timedelta(seconds=settings.APPROVAL_LIFETIME_S),
    )
    row.arguments = vault.seal(vault.place_of(row, "arguments", tenant), ask.arguments)
    row.save(force_insert=True)
    audit.record(
        "access:call:approval_requested",
        actor=audit.Party("key", str(ask.api_key_id), label),
        target=audit.Party("server", str(ask.server_id), row.server_name),
        data={"approval": str(row.pk), "tool": ask.tool, "arguments_digest": row.arguments_digest},
    )
    telling.tell_approvers(tenant, row)
    return _answer("waiting", row)


def _caller(tenant: Tenant, ask: CallAsk) -> tuple[str, set[UUID]]:
    """The name of the key, and the people who may not decide: its maker, and whom it acts for."""
    key = APIKey.objects.filter(pk=ask.api_key_id, tenant=tenant).select_related("created_by").first()
    found: set[UUID | None] = {key.created_by_id} if key is not None else set()
    label = key.name if key is not None else "a key that is gone"
    if key is None:
        consent = Consent.objects.filter(pk=ask.api_key_id, tenant=tenant).first()
        if consent is not None:
            found, label = {consent.user_id}, consent.name
    people = Membership.objects.filter(tenant=tenant, user_id=_uuid(ask.human)) if ask.human else ()
    found |= {each.user_id for each in people}
    return label[:254], {each for each in found if each is not None}


def _server_name(ask: CallAsk) -> str:
    """A server of one team keeps to its short name: everybody who manages access reads it."""
    rows = visible_to(Viewer(tenant_id=ask.tenant_id)).filter(pk=ask.server_id)
    return rows.values_list("name", flat=True).first() or ask.server_slug


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        return UUID(int=0)
