from __future__ import annotations

import pytest

from access.services.connect import connect
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
def alice(cast, signed_in):
    return signed_in(cast.alice)


@pytest.fixture
def bob(cast, signed_in):
    return signed_in(cast.bob)


@pytest.fixture
def charlie(cast, signed_in):
    return signed_in(cast.charlie)
