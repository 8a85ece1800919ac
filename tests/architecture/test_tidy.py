"""House rules about isolation and money. Each names the places that break it."""

from __future__ import annotations

import ast

from tests.architecture.source import Module, called_name, outside, under

CATALOG_ROWS = {"Server", "ServerVersion", "Tool"}
ASYNC_ORM = {
    "aget", "acreate", "aget_or_create", "aupdate_or_create", "abulk_create", "abulk_update", "acount", "ain_bulk",
    "aiterator", "alatest", "aearliest", "afirst", "alast", "aaggregate", "aexists", "acontains", "adelete", "aupdate",
    "aexplain", "asave", "arefresh_from_db", "aadd", "aremove", "aset", "aclear",
}  # fmt: skip
CONNECTION_STATE = {"set_schema", "set_tenant", "set_viewer"}


class TestIsolation:
    def test_catalog_rows_are_reached_through_the_catalog(self):
        """One door, `catalog.selectors`; the compiler of gateway entries is the one other reader. The demo makes its own."""
        places = outside("catalog/", "gateway/services/entries.py", "marketplace/demo/")
        found = [module.at(node) for module in places for node in module.nodes() if opens_catalog(module, node)]

        assert found == []

    def test_the_orm_is_never_used_from_a_coroutine(self):
        """The search path lives on a thread's connection: a coroutine that awaits the ORM may read another's schema."""
        found = [
            module.at(node)
            for module in outside()
            for node in module.nodes()
            if called_name(node) in ASYNC_ORM or (isinstance(node, ast.AsyncFor) and "objects" in attributes(node.iter))
        ]

        assert found == []

    def test_the_schema_of_a_connection_is_set_by_tenants_only(self):
        found = [
            module.at(node)
            for module in outside("tenants/")
            for node in module.nodes()
            if isinstance(node, ast.Attribute) and node.attr in CONNECTION_STATE
        ]

        assert found == []

    def test_no_thread_is_shared_between_contexts(self):
        """`thread_sensitive=False` reuses threads whose connection may still stand in the last organisation."""
        found = [
            module.at(node)
            for module in outside()
            for node in module.nodes()
            if isinstance(node, ast.keyword) and node.arg == "thread_sensitive" and is_constant(node.value, False)
        ]

        assert found == []


class TestMoney:
    def test_billing_knows_no_floats(self):
        """Paper is measured in fractions; what is written on it comes as text."""
        found = [module.at(node) for module in under("billing/") for node in module.nodes() if makes_float(node)]

        paper = ("billing/documents/pdf.py:", "billing/documents/statement.py:")
        assert [place for place in found if not place.startswith(paper)] == []

    def test_the_money_of_a_call_is_no_float(self):
        words = {"price", "quantity", "quoted_price", "rate"}
        found = [
            module.at(node)
            for module in under("calls/", "gateway/", "billing/", "catalog/")
            for node in module.nodes()
            if isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id in words
            and "float" in ast.unparse(node.annotation)
        ]

        assert found == []

    def test_kernel_money_knows_no_floats(self):
        assert [
            module.at(node) for module in under("core/money.py") for node in module.nodes() if makes_float(node)
        ] == []


class TestSettings:
    def test_the_environment_is_read_in_one_place(self):
        """The supervisor, what it starts and the demo's command are handed values from process to process; they are not settings.

        What decides which modules are imported is asked before there are settings, which name it too.
        """
        places = outside(
            "core/compiled.py",
            "marketplace/settings/env.py",
            "marketplace/supervisor/",
            "marketplace/testpayments/",
            "marketplace/management/commands/load_demo.py",
        )
        found = [
            module.at(node)
            for module in places
            for node in module.nodes()
            if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"} and not sets_module(module, node)
        ]

        assert found == []


def opens_catalog(module: Module, node: ast.AST) -> bool:
    """`Server.objects`, except for the empty `.objects.none()` that a form field begins with."""
    if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute)):
        return False
    manager, owner = node.value, node.value.value
    name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
    return manager.attr in {"objects", "_default_manager"} and name in CATALOG_ROWS and node.attr != "none"


def makes_float(node: ast.AST) -> bool:
    return (
        called_name(node) in {"float", "FloatField"}
        or (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (isinstance(node, ast.Name) and node.id == "float")
    )


def sets_module(module: Module, node: ast.Attribute) -> bool:
    """The entry point's `os.environ.setdefault("DJANGO_SETTINGS_MODULE", …)`."""
    return module.path == "marketplace/asgi.py" and node.attr == "environ"


def attributes(node: ast.AST) -> set[str]:
    return {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


def is_constant(node: ast.AST, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value
