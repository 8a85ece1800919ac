"""Every operation of the REST API and of MCP Runtime's, with whatever its description lets through: answered as described.

Half of what is made up names real things of an organisation, so that more than "not found" is tried; the same request with the
key of another organisation never shows a word of it.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
import schemathesis
from django.core import signals
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.isolation.conftest import Stage
from tests.isolation.test_runtime import ROOTS, TABLE

EXAMPLES = 6
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
DESCRIBED = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
# The catalog's reads are tried in tests/integration/catalog/test_api_description.py; the registry's errors are its own.
ELSEWHERE = ("servers_", "tools_", "facets_", "searches_", "registry_")
# Without a payment provider they answer that there is none; with one: tests/integration/billing/payments/test_money_api.py.
OF_PROVIDERS = {
    "billing_payment_methods_create",
    "billing_payment_methods_destroy",
    "billing_payment_methods_setup",
    "billing_payments_confirm",
    "billing_payments_create",
    "billing_top_ups_create",
}
# Several YAML documents in one file, which the checker takes for one.
OF_FILES = {"access_export"}


def _document() -> dict[str, Any]:
    return SchemaGenerator().get_schema(request=None, public=True)


def _operations() -> list[str]:
    found = [
        operation["operationId"]
        for path in _document()["paths"].values()
        for operation in path.values()
        if isinstance(operation, dict) and "operationId" in operation
    ]
    return sorted(name for name in found if not name.startswith(ELSEWHERE))


@pytest.fixture(scope="module")
def description():
    return schemathesis.openapi.from_dict(_document())


@pytest.fixture
def one_connection():
    """The connection stays open between requests, as the stage's transaction needs."""
    signals.request_started.disconnect(close_old_connections)
    signals.request_finished.disconnect(close_old_connections)
    yield
    signals.request_started.connect(close_old_connections)
    signals.request_finished.connect(close_old_connections)


def _real(stage: Stage) -> dict[str, Any]:
    """Names under which parameters and members of bodies are known."""
    values = {name: str(value) for name, value in stage.acme.parameters.items()}
    key = f"key:{values['key_id']}"
    return values | {"server": values["slug"], "tool": "list_invoices", "who": key, "name": "made-up"}


def _filled(given_: Any, real: dict[str, Any]) -> Any:
    """Members that are known, with the values of real things."""
    if not isinstance(given_, dict):
        return given_
    return {name: real[name] if name in real and isinstance(value, str) else value for name, value in given_.items()}


@pytest.mark.parametrize("operation_id", _operations())
def test_each_operation_answers_as_described(stage, description, one_connection, operation_id):
    description.app = get_wsgi_application()
    operation, real = description.find_operation_by_id(operation_id), _real(stage)

    @given(case=operation.as_strategy(), is_real=st.booleans())
    @FUZZ
    def ask(case, is_real):
        if is_real:
            case.path_parameters = _filled(case.path_parameters, real)
            case.query = _filled(case.query, real)
            case.body = _filled(case.body, real)
        for key, is_own in ((stage.acme.key, True), (stage.globex.key, False))[: 1 + is_real]:
            with transaction.atomic():
                answer = case.call(headers={"Authorization": f"Bearer {key}"})
                transaction.set_rollback(True)
            if answer.status_code == 503 and operation_id in OF_PROVIDERS:
                continue
            is_checked = answer.status_code < 400 and operation_id not in OF_FILES
            case.validate_response(answer, checks=DESCRIBED if is_checked else [not_a_server_error])
            if answer.status_code >= 400:
                assert answer.headers["content-type"][0].startswith("application/problem+json")
            assert is_own or stage.acme.word not in answer.text

    ask()


# ------------------------------------------------------------------------------------------------- MCP Runtime's own paths

FIELDS = (
    "name", "namespace", "slug", "serverRef", "subject", "maxTrust", "allowedSideEffects", "policyVersion", "disabled",
    "toolRules", "consentedTrust", "expiresAt", "revoked", "upstreamTokenSecretRef", "serverName", "agentID", "requestedTrust",
    "requestedTTL",
    "userID", "role", "scope", "update", "labels", "spec", "conditions",
)  # fmt: skip
QUERY = ("namespace", "server", "team", "query", "q", "trust", "side_effect", "risk", "drift", "limit", "offset", "x")
MEMBERS = ("name", "namespace", "image", "tools", "port")
WORDS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["low", "high", "read", "1h", "-1", "mcp-servers", "2026-01-01T00:00:00Z", "9" * 30, "\x00", "../x"]
    ),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(WORDS, st.sampled_from(MEMBERS + FIELDS)), inner, max_size=4),
    ),
    max_leaves=8,
)  # fmt: skip
BODIES = st.one_of(VALUES, st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6))


@pytest.mark.parametrize("line", TABLE, ids=[f"{line.method} {line.path}" for line in TABLE])
def test_whatever_is_sent_to_mcp_runtime_s_paths_gets_an_answer_of_its_kind(stage, line):
    values = {name: str(value) for name, value in stage.acme.parameters.items()}
    place = line.path.format(**values).partition("?")[0]
    browser = Client(raise_request_exception=False)

    @given(body=BODIES, query=st.dictionaries(st.sampled_from(QUERY), WORDS, max_size=3), root=st.sampled_from(ROOTS))
    @FUZZ
    def ask(body, query, root):
        known = dict(line.body or {})
        sent = known | body if known and isinstance(body, dict) else body
        text = json.dumps(sent).replace("{slug}", values["slug"])
        data = {} if line.method == "get" else {"data": text, "content_type": "application/json"}
        path = f"{root}/{place}?{urlencode(query, errors='surrogatepass')}"
        for key, is_own in ((stage.acme.key, True), (stage.globex.key, False)):
            with transaction.atomic():
                headers = {"Authorization": f"Bearer {key}"}
                answer = getattr(browser, line.method)(path, headers=headers, **data)
                transaction.set_rollback(True)
            assert answer.status_code < 500, (path, text, answer.content[:500])
            kind = "application/problem+json" if answer.status_code >= 400 else "application/json"
            assert answer["content-type"].startswith(kind)
            told = answer.json()
            assert isinstance(told, dict)
            assert answer.status_code < 400 or told["error"]
            assert is_own or stage.acme.word not in answer.content.decode()

    ask()
