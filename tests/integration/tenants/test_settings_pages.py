from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator

from tenants.services import settings

ORGANISATION, PLATFORM = "/o/acme/settings/", "/operations/settings/"
NAME = "invitation_lifetime_days"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def olga(cast):
    """The operator with a second factor, as the operators' pages want it."""
    Authenticator.objects.create(user=cast.olga, type=Authenticator.Type.TOTP, data={"secret": "unused"})
    return cast.olga


class TestOrganisationSettings:
    def test_an_owner_sees_every_setting_and_changes_one(self, cast, signed_in):
        client = signed_in(cast.alice)
        page = client.get(ORGANISATION).content.decode()
        for _, listed in settings.list_settings(cast.acme):
            for setting in listed:
                assert f'id="setting-{setting.flag.name}"' in page
        assert "max_concurrent_installs" not in page

        answer = client.post(ORGANISATION, {"name": NAME, "value": "14"}, follow=True)
        assert f"{NAME} is 14 days." in answer.content.decode()
        assert settings.get(NAME, cast.acme) == 14
        assert settings.get(NAME, cast.globex) == 7

    def test_htmx_gets_the_row_back(self, cast, signed_in):
        answer = signed_in(cast.alice).post(ORGANISATION, {"name": NAME, "value": "14"}, headers=HTMX)
        page = answer.content.decode()
        assert page.strip().startswith("<li")
        assert "Saved" in page
        assert "alice@acme.example" in page

    def test_a_refused_value_is_explained_in_its_row(self, cast, signed_in):
        client = signed_in(cast.alice)
        whole = client.post(ORGANISATION, {"name": NAME, "value": "0"})
        assert whole.status_code == 422
        assert "is a whole number from 1 to 90" in whole.content.decode()
        row = client.post(ORGANISATION, {"name": NAME, "value": "0"}, headers=HTMX)
        assert "is a whole number from 1 to 90" in row.content.decode()
        assert settings.get(NAME, cast.acme) == 7

    def test_reset_goes_back(self, cast, signed_in):
        client = signed_in(cast.alice)
        client.post(ORGANISATION, {"name": NAME, "value": "14"})
        client.post(ORGANISATION, {"name": NAME, "reset": "1", "value": "14"})
        assert settings.get(NAME, cast.acme) == 7

    def test_a_member_reads_and_is_told_whom_to_ask(self, cast, signed_in):
        client = signed_in(cast.bob)
        page = client.get(ORGANISATION).content.decode()
        assert "Ask alice@acme.example." in page
        assert 'name="value"' not in page
        assert client.post(ORGANISATION, {"name": NAME, "value": "14"}).status_code == 403
        assert settings.get(NAME, cast.acme) == 7

    def test_what_is_the_platforms_and_what_does_not_exist_is_refused(self, cast, signed_in):
        client = signed_in(cast.alice)
        assert client.post(ORGANISATION, {"name": "max_concurrent_installs", "value": "9"}).status_code == 422
        assert client.post(ORGANISATION, {"name": "nothing", "value": "9"}).status_code == 404
        assert client.post(ORGANISATION, {}).status_code == 404

    def test_others_find_nothing(self, cast, signed_in):
        assert signed_in(cast.charlie).get(ORGANISATION).status_code == 404


class TestPlatformSettings:
    def test_an_operator_changes_any_kind_of_setting(self, cast, olga, signed_in):
        client = signed_in(olga)
        assert client.get(PLATFORM).status_code == 200
        client.post(PLATFORM, {"name": "docker_enabled", "value": "false"})
        client.post(PLATFORM, {"name": "supported_runtimes", "value": ["python", "docker"]})
        client.post(PLATFORM, {"name": "installation_isolation_mode", "value": "sandbox"})
        client.post(PLATFORM, {"name": "public_marketplace_url", "value": "https://example.org"})

        assert settings.get("docker_enabled") is False
        assert settings.get("supported_runtimes") == ["docker", "python"]
        assert settings.get("installation_isolation_mode") == "sandbox"
        assert settings.get("public_marketplace_url") == "https://example.org"

    def test_a_list_can_be_emptied(self, cast, olga, signed_in):
        signed_in(olga).post(PLATFORM, {"name": "supported_runtimes"})
        assert settings.get("supported_runtimes") == []

    def test_what_has_no_effect_yet_says_so(self, cast, olga, signed_in):
        assert "Takes effect when there is: installations." in signed_in(olga).get(PLATFORM).content.decode()

    def test_nobody_else_finds_the_page(self, cast, signed_in, client):
        assert client.get(PLATFORM).status_code == 302
        assert signed_in(cast.alice).get(PLATFORM).status_code == 404
        assert signed_in(cast.alice).post(PLATFORM, {"name": "docker_enabled", "value": "false"}).status_code == 404
        assert settings.get("docker_enabled") is True

    def test_an_operator_without_a_second_factor_sets_one_up_first(self, cast, signed_in):
        assert signed_in(cast.olga).get(PLATFORM)["Location"] == "/accounts/2fa/?reason=operator"
