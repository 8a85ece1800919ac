"""Budgets for programs that act for a member: the limits of money, with the rights of their pages."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from access import selectors
from access.limits import LimitKind, LimitScope, Period
from access.models import Limit
from access.services import limits
from access.services.limits import Terms
from access.web.limits import LimitRow, limit_rows
from billing.api.members import BillingAPI, valid
from catalog.selectors.listing import find_server
from catalog.types import Viewer
from core.errors import InvalidError, NotFoundError
from tenants.choices import Right
from tenants.models import Membership
from tenants.services.rights import require


class BudgetOut(serializers.Serializer[Any]):
    """Amounts are text, in major units."""

    id = serializers.CharField(source="rule.limit_id")
    name = serializers.CharField(source="rule.name")
    applies_to = serializers.CharField(source="whom")
    scope = serializers.CharField(source="rule.scope", help_text="organisation, key, server or tool.")
    key_id = serializers.UUIDField(source="rule.key_id", allow_null=True)
    server_id = serializers.UUIDField(source="rule.server_id", allow_null=True)
    tool = serializers.CharField(source="rule.tool", allow_blank=True)
    amount = serializers.DecimalField(max_digits=20, decimal_places=10)
    used = serializers.DecimalField(
        max_digits=20, decimal_places=10, allow_null=True, help_text="Null where each key has its own."
    )
    currency = serializers.CharField(source="rule.currency")
    period = serializers.CharField(source="rule.period", help_text="day or month.")
    hard = serializers.BooleanField(source="rule.hard", help_text="Whether calls beyond it are refused.")


class BudgetListOut(serializers.Serializer[Any]):
    budgets = BudgetOut(many=True)


class BudgetIn(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100, help_text="Shown in refusals and notices.")
    amount = serializers.DecimalField(max_digits=20, decimal_places=10, min_value=Decimal(0))
    per = serializers.ChoiceField(choices=["day", "month"])
    hard = serializers.BooleanField(default=True)
    each_key = serializers.BooleanField(default=False, help_text="Each key has this budget for itself.")
    key_id = serializers.UUIDField(required=False, allow_null=True, default=None)
    server = serializers.CharField(
        max_length=128, required=False, allow_blank=True, default="", help_text="Its name in gateway paths."
    )
    tool = serializers.CharField(max_length=128, required=False, allow_blank=True, default="")


class _BudgetsAPI(BillingAPI):
    def manager(self, request: Request) -> Membership:
        """Budgets are limits of access: who manages that sets them, as on the page."""
        member = self.actor(request)
        require(member, Right.MANAGE_ACCESS)
        return member


class BudgetListAPI(_BudgetsAPI):
    @extend_schema(operation_id="billing_budgets_list", summary="Budgets, and what is used", responses=BudgetListOut)
    def get(self, request: Request) -> Response:
        self.viewer(request)
        return Response({"budgets": BudgetOut(limit_rows([LimitKind.CAP]), many=True).data})

    @extend_schema(
        operation_id="billing_budgets_create", summary="Set a budget", request=BudgetIn, responses={201: BudgetOut}
    )
    def post(self, request: Request) -> Response:
        """Holds at every gateway within a second."""
        member = self.manager(request)
        limit = limits.add(tenant=member.tenant, terms=_terms(member, request.data), actor=member.user)
        return Response(BudgetOut(_row(limit.pk)).data, status=status.HTTP_201_CREATED)


class BudgetAPI(_BudgetsAPI):
    @extend_schema(operation_id="billing_budgets_retrieve", summary="One budget", responses=BudgetOut)
    def get(self, request: Request, limit_id: UUID) -> Response:
        self.viewer(request)
        return Response(BudgetOut(_row(limit_id)).data)

    @extend_schema(
        operation_id="billing_budgets_update", summary="Change a budget", request=BudgetIn, responses=BudgetOut
    )
    def put(self, request: Request, limit_id: UUID) -> Response:
        """What is used of it stays used."""
        member, known = self.manager(request), _find(limit_id)
        terms = _terms(member, request.data)
        limits.change(tenant=member.tenant, limit_id=known.pk, terms=terms, actor=member.user)
        return Response(BudgetOut(_row(limit_id)).data)

    @extend_schema(operation_id="billing_budgets_destroy", summary="Remove a budget", responses={204: None})
    def delete(self, request: Request, limit_id: UUID) -> Response:
        member, known = self.manager(request), _find(limit_id)
        limits.remove(tenant=member.tenant, limit_id=known.pk, actor=member.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _find(limit_id: UUID) -> Limit:
    found = selectors.list_limits().filter(pk=limit_id, kind=LimitKind.CAP).first()
    if found is None:
        raise NotFoundError("There is no such budget in this organisation.", next_step="List budgets for their ids.")
    return found


def _row(limit_id: UUID) -> LimitRow:
    _find(limit_id)
    return next(row for row in limit_rows([LimitKind.CAP]) if row.rule.limit_id == str(limit_id))


def _terms(member: Membership, data: Any) -> Terms:
    given = valid(BudgetIn(data=data))
    whole = Terms(
        name=given["name"],
        scope=LimitScope.ORGANISATION,
        kind=LimitKind.CAP,
        amount=given["amount"],
        period=Period(given["per"]),
        hard=given["hard"],
    )
    subjects = [bool(given["each_key"]), given["key_id"] is not None, bool(given["server"])]
    if sum(subjects) > 1:
        raise InvalidError("A budget is of every key, of one key, or of one server.", field="server")
    if given["tool"] and not given["server"]:
        raise InvalidError("Name the server of the tool.", field="server")
    if given["server"]:
        return _of_server(whole, member, given["server"], given["tool"])
    if given["key_id"] is not None:
        return _of_key(whole, member, given["key_id"])
    return replace(whole, scope=LimitScope.KEY) if given["each_key"] else whole


def _of_server(whole: Terms, member: Membership, name: str, tool: str) -> Terms:
    teams = frozenset(member.teams.values_list("pk", flat=True))
    server = find_server(Viewer(member.tenant_id, teams), name)
    if server is None:
        raise NotFoundError("There is no such server that you may see.", next_step="Search the catalog for its name.")
    scope = LimitScope.TOOL if tool else LimitScope.SERVER
    return replace(whole, scope=scope, server=server, tool=tool, subject_label=server.name)


def _of_key(whole: Terms, member: Membership, key_id: UUID) -> Terms:
    key = selectors.list_keys(member.tenant).filter(pk=key_id, revoked_at=None).first()
    if key is None:
        raise NotFoundError("There is no such key in this organisation.", next_step="List keys for their ids.")
    return replace(whole, scope=LimitScope.KEY, key_id=key.pk, subject_label=key.name)
