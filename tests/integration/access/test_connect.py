from __future__ import annotations

from datetime import timedelta

import pytest

from access.models import Grant
from access.services.connect import connect
from audit.models import AuditEvent
from core import clock
from core.errors import InvalidError
from tenants.choices import Scope
from tenants.context import tenant_scope
from tenants.models import APIKey


class TestConnect:
    def test_the_key_is_granted_low_trust_reads_on_the_servers(self, cast, issued):
        with tenant_scope(cast.acme):
            [grant] = Grant.objects.all()

        assert (grant.subject_key, grant.kind_words) == (str(issued.key.pk), "key")
        assert (grant.server_id, grant.max_trust, grant.side_effects) == (cast.payments.pk, "low", ["read"])
        assert grant.granted_by_label == cast.alice.email

    def test_the_key_is_limited_to_the_servers_unless_told_otherwise(self, cast, issued):
        with tenant_scope(cast.acme):
            wide = connect(
                tenant=cast.acme,
                name="Wide",
                scopes=[Scope.INVOKE],
                servers=[cast.payments],
                actor=cast.alice,
                only_these_servers=False,
            )

        assert issued.key.server_ids == [cast.payments.pk]
        assert wide.key.server_ids == []

    def test_grants_end_with_the_key(self, cast):
        end = clock.now() + timedelta(days=1)
        with tenant_scope(cast.acme):
            connect(
                tenant=cast.acme, name="K", scopes=["invoke"], servers=[cast.payments], actor=cast.alice, expires_at=end
            )
            assert Grant.objects.get().expires_at == end

    def test_both_are_recorded_in_the_audit_log(self, cast, issued):
        with tenant_scope(cast.acme):
            actions = set(AuditEvent.objects.values_list("action", flat=True))

        assert {"tenants:api_key:issued", "access:grant:given"} <= actions

    def test_a_refused_grant_leaves_no_key(self, cast):
        with tenant_scope(cast.acme), pytest.raises(InvalidError):
            connect(
                tenant=cast.acme,
                name="Half",
                scopes=[Scope.INVOKE],
                servers=[cast.payments],
                actor=cast.alice,
                max_trust="boundless",
            )

        assert not APIKey.objects.filter(name="Half").exists()
