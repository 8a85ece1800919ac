from __future__ import annotations

from uuid import uuid4

import pytest
from celery import current_app
from django.db import connection

from core import clock, jobs
from core.errors import NotFoundError
from tenants.context import platform_scope
from tenants.jobs import each_tenant, tenant_task
from tenants.models import Tenant
from tenants.services import schemas

seen: list[tuple[str, str, dict]] = []


@tenant_task("tenants.look_around", max_retries=0)
def look_around(tenant: Tenant, **arguments: object) -> None:
    """Notes where it runs."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        seen.append((tenant.slug, cursor.fetchone()[0], arguments))


@pytest.fixture(autouse=True)
def forget():
    seen.clear()


class TestTenantTask:
    def test_it_runs_inside_the_organisation_that_it_names(self, cast):
        look_around.run(tenant_id=str(cast.acme.pk), number=3)

        assert seen == [("acme", cast.acme.schema_name, {"number": 3})]
        assert connection.schema_name == "public"

    def test_it_is_known_by_its_name(self, cast):
        current_app.tasks["tenants.look_around"].run(tenant_id=str(cast.globex.pk))

        assert [slug for slug, *_ in seen] == ["globex"]

    def test_an_organisation_that_does_not_exist_is_refused(self, db):
        with pytest.raises(NotFoundError, match="gone or suspended"):
            look_around.run(tenant_id=str(uuid4()))

        assert seen == []

    def test_a_suspended_organisation_is_refused(self, cast):
        Tenant.objects.filter(pk=cast.acme.pk).update(suspended_at=clock.now())
        with pytest.raises(NotFoundError, match="gone or suspended"):
            look_around.run(tenant_id=str(cast.acme.pk))

        assert seen == []

    def test_an_organisation_without_its_schema_is_refused(self, cast):
        schemas.drop(cast.acme.schema_name)
        with pytest.raises(NotFoundError, match="gone or suspended"):
            look_around.run(tenant_id=str(cast.acme.pk))

        assert seen == []

    @pytest.mark.parametrize("tenant_id", ["", "public", "acme", None, "' OR 1=1 --"])
    def test_what_is_not_an_organisation_is_refused_and_never_means_public(self, db, tenant_id):
        with pytest.raises(NotFoundError, match="gone or suspended"):
            look_around.run(tenant_id=tenant_id)

        assert seen == []

    def test_a_job_that_names_no_organisation_does_not_run(self, db):
        with pytest.raises(TypeError):
            look_around.run()

        assert seen == []

    def test_a_failing_job_leaves_the_connection_in_public(self, cast):
        @tenant_task("tenants.fail_inside", max_retries=0)
        def fail(tenant: Tenant) -> None:
            raise RuntimeError

        with pytest.raises(RuntimeError):
            fail.run(tenant_id=str(cast.acme.pk))

        assert connection.schema_name == "public"


class TestEachTenant:
    def test_it_leaves_out_who_is_suspended(self, cast):
        Tenant.objects.filter(pk=cast.globex.pk).update(suspended_at=clock.now())
        slugs = {tenant.slug for tenant in each_tenant()}

        assert "globex" not in slugs
        assert {"acme", "initech"} <= slugs


class TestEnqueue:
    def test_a_job_leaves_after_the_commit_only(self, db, monkeypatch, django_capture_on_commit_callbacks):
        sent = []
        monkeypatch.setattr(current_app, "send_task", lambda name, **options: sent.append((name, options["kwargs"])))
        with django_capture_on_commit_callbacks(execute=True), platform_scope():
            jobs.enqueue("tenants.look_around", tenant_id="x")
            assert sent == []

        assert sent == [("tenants.look_around", {"tenant_id": "x"})]
