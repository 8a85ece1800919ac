"""The published description of the catalog's API, tried against the API itself: whatever is made up is answered as described."""

from __future__ import annotations

import pytest
import schemathesis
from django.core import signals
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tenants.choices import Scope
from tenants.services import api_keys

EXAMPLES = 15
OPERATIONS = (
    "servers_list",
    "servers_retrieve",
    "tools_list",
    "facets_retrieve",
    "searches_list",
    "searches_create",
    "searches_retrieve",
    "searches_destroy",
)


@pytest.fixture
def described(cast):
    """The description and the headers of a key. The connection stays open between requests, as the test's transaction needs."""
    signals.request_started.disconnect(close_old_connections)
    signals.request_finished.disconnect(close_old_connections)
    yield _described(cast)
    signals.request_started.connect(close_old_connections)
    signals.request_finished.connect(close_old_connections)


def _described(cast):
    document = SchemaGenerator().get_schema(request=None, public=True)
    key = api_keys.issue(tenant=cast.acme, name="described", scopes=[Scope.CATALOG_READ], actor=cast.alice).text
    return schemathesis.openapi.from_dict(document), {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_whatever_is_asked_is_answered_as_described(described, operation_id):
    schema, headers = described
    schema.app = get_wsgi_application()
    operation = schema.find_operation_by_id(operation_id)

    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case):
        answer = case.call(headers=headers)
        case.validate_response(
            answer,
            checks=[not_a_server_error]
            if answer.status_code >= 400
            else [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance],
        )
        if answer.status_code >= 400:
            assert answer.headers["content-type"][0].startswith("application/problem+json")

    ask()
