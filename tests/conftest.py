"""The ground every test stands on: one migrated database per worker, and the fixed cast.

acme: alice owns, bob is a member. globex: charlie, who must never see acme. initech: diana's provider. olga: operator.
The cast is committed once per worker; a test with `db` works in a transaction on top of it. Tests that need committed rows
(a gateway, a second connection) use `durable_db` and names of their own: the append-only tables cannot be emptied.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections
from django.test.utils import setup_databases, teardown_databases

from tests.support.cast import Cast, build_cast


@pytest.fixture(scope="session")
def django_db_setup(
    request, django_test_environment, django_db_blocker, django_db_modify_db_settings
) -> Iterator[None]:
    """Make this worker's database, the organisations' template schema and the cast."""
    from tenants.services import schemas

    with django_db_blocker.unblock():
        config = setup_databases(verbosity=0, interactive=False, serialized_aliases=[])
        schemas.ensure_template()
        build_cast()
    yield
    with django_db_blocker.unblock():
        connections.close_all()
        teardown_databases(config, verbosity=0)


@pytest.fixture
def cast(db) -> Cast:
    """The fixed cast, loaded afresh, inside the test's transaction."""
    return Cast.load()


@pytest.fixture
def durable_db(django_db_setup, django_db_blocker) -> Iterator[None]:
    """Committed work: nothing is rolled back, so a test names what it makes uniquely."""
    with django_db_blocker.unblock():
        try:
            yield
        finally:
            connections.close_all()


@pytest.fixture
def signed_in(client):
    """`signed_in(user)` gives a browser-like client of that person."""

    def sign_in(user):
        client.force_login(user)
        return client

    return sign_in
