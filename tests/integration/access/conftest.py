from __future__ import annotations

import pytest
from django.test import Client

from access.models import AgentSession, Grant
from access.services.connect import connect
from core import clock
from tenants.choices import Scope
from tenants.context import tenant_scope


@pytest.fixture
def issued(cast):
    """A key of acme that may read invoices from payments, and nothing else."""
    with tenant_scope(cast.acme):
        return connect(
            tenant=cast.acme,
            name="Invoices",
            scopes=[Scope.INVOKE],
            servers=[cast.payments],
            actor=cast.alice,
            agent="clerk",
        )


@pytest.fixture
def nothing_given(cast):
    """acme without grants and sessions, whatever other tests have committed."""
    with tenant_scope(cast.acme):
        for model in (Grant, AgentSession):
            model.objects.filter(revoked_at=None).update(revoked_at=clock.now())


def browser_of(user) -> Client:
    """A browser of its own: several people may look at once."""
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def alice(cast):
    return browser_of(cast.alice)


@pytest.fixture
def bob(cast):
    return browser_of(cast.bob)


@pytest.fixture
def charlie(cast):
    return browser_of(cast.charlie)
