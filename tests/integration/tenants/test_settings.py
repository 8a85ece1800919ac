from __future__ import annotations

import pytest

from audit.models import AuditEvent
from core.errors import ForbiddenError, InvalidError, LimitReachedError, NotFoundError
from tenants.context import platform_scope, tenant_scope
from tenants.models import SettingValue
from tenants.services import organisations, settings
from tests.integration.tenants.test_memberships import membership_of
from tests.support.cast import make_person

NAME = "invitation_lifetime_days"


@pytest.fixture
def alice(cast):
    return membership_of(cast.alice, cast.acme)


class TestPrecedence:
    def test_an_organisations_value_beats_the_platforms_which_beats_the_default(self, cast, alice):
        assert settings.get(NAME, cast.acme) == 7
        settings.put(name=NAME, value="10", actor=cast.olga)
        assert settings.get(NAME) == settings.get(NAME, cast.acme) == 10
        settings.put(name=NAME, value="3", actor=cast.alice, membership=alice)
        assert settings.get(NAME, cast.acme) == 3
        assert settings.get(NAME, cast.globex) == settings.get(NAME) == 10

    def test_reset_goes_back_to_what_is_inherited(self, cast, alice):
        settings.put(name=NAME, value=10, actor=cast.olga)
        settings.put(name=NAME, value=3, actor=cast.alice, membership=alice)

        setting = settings.reset(name=NAME, actor=cast.alice, membership=alice)

        assert (setting.value, setting.own, setting.source) == (10, False, "platform")

    def test_a_setting_names_who_changed_it(self, cast, alice):
        setting = settings.put(name=NAME, value=3, actor=cast.alice, membership=alice)
        assert (setting.changed_by, setting.own, setting.source) == (cast.alice.email, True, "own")

    def test_the_value_that_holds_already_is_not_stored(self, cast, alice):
        settings.put(name=NAME, value=7, actor=cast.alice, membership=alice)
        assert not SettingValue.objects.exists()

    def test_an_explicit_value_stays_when_the_inherited_one_becomes_equal(self, cast, alice):
        settings.put(name=NAME, value=3, actor=cast.alice, membership=alice)
        settings.put(name=NAME, value=3, actor=cast.olga)
        settings.put(name=NAME, value=3, actor=cast.alice, membership=alice)
        assert SettingValue.objects.count() == 2


class TestPut:
    def test_changes_are_in_the_audit_log_of_their_scope(self, cast, alice):
        settings.put(name=NAME, value=3, actor=cast.alice, membership=alice)
        settings.put(name="max_organisations_per_person", value=2, actor=cast.olga)

        with tenant_scope(cast.acme):
            event = AuditEvent.objects.latest("sequence")
        assert (event.action, event.target_id, event.data) == ("tenants:setting:changed", NAME, {"from": 7, "to": 3})
        with platform_scope():
            assert AuditEvent.objects.latest("sequence").target_id == "max_organisations_per_person"

    def test_a_member_changes_nothing(self, cast):
        with pytest.raises(ForbiddenError):
            settings.put(name=NAME, value=3, actor=cast.bob, membership=membership_of(cast.bob, cast.acme))

    def test_only_an_operator_changes_the_platform(self, cast):
        with pytest.raises(ForbiddenError):
            settings.put(name=NAME, value=3, actor=cast.alice)

    def test_an_organisation_cannot_set_what_is_the_platforms(self, cast, alice):
        with pytest.raises(InvalidError, match="set by the platform"):
            settings.put(name="max_concurrent_installs", value=9, actor=cast.alice, membership=alice)

    def test_a_bad_value_leaves_the_old_one(self, cast, alice):
        with pytest.raises(InvalidError):
            settings.put(name=NAME, value="0", actor=cast.alice, membership=alice)
        assert settings.get(NAME, cast.acme) == 7

    def test_an_unknown_name_is_not_found(self, cast):
        with pytest.raises(NotFoundError):
            settings.put(name="no_such_thing", value=1, actor=cast.olga)


class TestListSettings:
    def test_each_scope_lists_its_own(self, cast):
        platform = {s.flag.name for _, listed in settings.list_settings() for s in listed}
        organisation = {s.flag.name for _, listed in settings.list_settings(cast.acme) for s in listed}
        assert NAME in platform & organisation
        assert "max_concurrent_installs" in platform - organisation

    def test_it_asks_the_database_once(self, cast, django_assert_num_queries):
        settings.list_settings(cast.acme)  # the first statement also sets the search path
        with django_assert_num_queries(1):
            settings.list_settings(cast.acme)


class TestFound:
    def test_only_operators_found_organisations_when_the_platform_says_so(self, cast):
        settings.put(name="organisation_creation", value="operators", actor=cast.olga)
        with pytest.raises(ForbiddenError, match="created by operators"):
            organisations.found(name="Mine", slug="", founder=cast.bob)
        assert organisations.found(name="Ours", slug="", founder=cast.olga).slug == "ours"

    def test_a_person_owns_a_limited_number(self, cast):
        founder = make_person("Founder", "founder@nowhere.example")
        settings.put(name="max_organisations_per_person", value=1, actor=cast.olga)
        organisations.found(name="First of one", slug="", founder=founder)
        with pytest.raises(LimitReachedError, match="You own 1"):
            organisations.found(name="More", slug="", founder=founder)

    def test_a_name_without_latin_letters_asks_for_a_short_name(self, cast):
        with pytest.raises(InvalidError) as caught:
            organisations.found(name="数据", slug="", founder=cast.bob)
        assert caught.value.data["field"] == "slug"


class TestSuspend:
    def test_suspending_is_recorded_on_both_sides_and_tells_gateways(self, cast):
        before = cast.acme.revision
        tenant = organisations.suspend(tenant_id=cast.acme.pk, operator=cast.olga)
        assert tenant.suspended_at is not None
        tenant.refresh_from_db()
        assert tenant.revision > before
        for scope in (tenant_scope(cast.acme), platform_scope()):
            with scope:
                assert AuditEvent.objects.latest("sequence").action == "tenants:organisation:suspended"

        assert organisations.resume(tenant_id=cast.acme.pk, operator=cast.olga).suspended_at is None

    def test_only_operators_suspend(self, cast):
        with pytest.raises(ForbiddenError):
            organisations.suspend(tenant_id=cast.acme.pk, operator=cast.charlie)
