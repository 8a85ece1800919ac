"""Later versions of a server: what was declared of its tools, and what they say of themselves now."""

from __future__ import annotations

import copy

import pytest

from catalog.services import servers
from catalog.types import Inventory
from tenants.context import platform_scope
from tests.support.cast import PAYMENTS_TOOLS


def publish(server, tools):
    """The next version of the server, as effect and trust by tool."""
    inventory = Inventory(
        protocol="2026-07-28",
        server_info={"name": "payments", "version": "1.0.1"},
        instructions="",
        capabilities={"tools": {}},
        tools=tools,
    )
    with platform_scope():
        version = servers.publish_version(server=server, inventory=inventory)
        return {tool.name: (tool.side_effect, tool.required_trust) for tool in version.tools.all()}


@pytest.fixture
def tools():
    return copy.deepcopy(PAYMENTS_TOOLS)


def test_a_declaration_is_kept_while_the_definition_stays(cast, tools):
    tools[1]["_meta"] = {"free": "to change"}

    assert publish(cast.payments, tools) == {
        "list_invoices": ("read", "low"),
        "refund_invoice": ("destructive", "high"),
    }


def test_a_tool_that_begins_to_change_things_loses_its_harmless_declaration(cast, tools):
    tools[0]["annotations"] = {"destructiveHint": True}

    assert publish(cast.payments, tools)["list_invoices"] == ("destructive", "high")


def test_a_changed_definition_does_not_talk_a_tool_down(cast, tools):
    tools[1]["annotations"] = {"readOnlyHint": True}

    assert publish(cast.payments, tools)["refund_invoice"] == ("destructive", "high")
