"""Signing in at an organisation's OpenID provider, which is a process that speaks the protocol and can be made to lie."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.test import Client

from audit.models import AuditEvent
from core import clock
from notifications.models import Notification
from tenants.choices import Role
from tenants.context import tenant_scope
from tenants.models import DirectoryUser, EmailDomain, GroupRule, IdentityProvider, Membership, Team, User
from tenants.services import directory, domain_proofs
from tenants.services import settings as flags
from tests.support.cast import PASSWORD, make_person
from tests.support.name_servers import running_names
from tests.support.openid_provider import CLIENT_ID, CLIENT_SECRET, running_provider

pytestmark = pytest.mark.django_db
PAGE = "/o/acme/settings/identity/"
RECORD = "_mcp-marketplace.acme.example"
ERIN = {"sub": "erin-1", "email": "Erin@acme.example", "email_verified": True, "name": "Erin", "groups": ["Finance"]}


@pytest.fixture(scope="module")
def running():
    with running_provider() as provider:
        yield provider


@pytest.fixture
def provider(running, settings):
    cache.clear()
    settings.EGRESS_ALLOW = [running.allow]
    running.tell(person=ERIN)
    return running


@pytest.fixture
def alice(cast):
    browser = Client()
    browser.force_login(cast.alice)
    return browser


@pytest.fixture
def set_up(cast, alice, provider):
    """acme's provider and its proven domain."""
    EmailDomain.objects.create(tenant=cast.acme, domain="acme.example", token="t", proven_at=clock.now())
    assert save(alice, provider).status_code == 302
    return IdentityProvider.objects.get(owner_tenant=cast.acme)


def save(browser, provider, **given):
    fields = {
        "action": "save", "protocol": "openid", "issuer": provider.issuer, "client_id": CLIENT_ID, "secret": CLIENT_SECRET,
        "groups_claim": "groups", "default_role": "member", "enabled": "on", "joins": "on",
    }  # fmt: skip
    sent = {name: value for name, value in {**fields, **given}.items() if value}
    return browser.post(PAGE, sent)


def leave(answer) -> str:
    assert answer.status_code == 200, answer.content.decode()
    return html.unescape(re.search(r'url=([^"]+)"', answer.content.decode())[1])


def sign_in(browser, provider, *, path: str = "/accounts/sso/acme/"):
    """As a browser does: to the provider and back."""
    return browser.get("/accounts/sso/callback/", provider.visit(leave(browser.get(path))))


def who(browser) -> str:
    return browser.session.get("_auth_user_id", "")


def member(cast, email: str) -> Membership | None:
    return Membership.objects.filter(tenant=cast.acme, user__email=email).first()


class TestSigningIn:
    def test_a_newcomer_gets_an_account_and_a_membership_and_is_in(self, cast, set_up, provider):
        browser = Client()
        answer = sign_in(browser, provider)

        assert (answer.status_code, answer.url) == (302, "/o/acme/")
        erin = User.objects.get(email="erin@acme.example")
        assert who(browser) == str(erin.pk)
        assert member(cast, erin.email).role == Role.MEMBER
        assert not erin.has_usable_password()
        assert EmailAddress.objects.get(user=erin).verified
        with tenant_scope(cast.acme):
            actions = set(AuditEvent.objects.values_list("action", flat=True))
        assert {"tenants:membership:provisioned", "tenants:sso:signed_in"} <= actions

    def test_the_address_leads_to_the_organisation(self, set_up, provider):
        browser = Client()
        answer = browser.post("/accounts/sso/", {"email": "erin@acme.example"})

        assert "login_hint=erin%40acme.example" in leave(answer)
        assert browser.post("/accounts/sso/", {"email": "x@elsewhere.example"}).status_code == 422

    def test_the_second_time_it_is_the_same_account_whatever_the_address_is_then(self, cast, set_up, provider):
        sign_in(Client(), provider)
        provider.tell(person={**ERIN, "email": "renamed@acme.example"})
        browser = Client()
        sign_in(browser, provider)

        assert who(browser) == str(User.objects.get(email="erin@acme.example").pk)
        assert DirectoryUser.objects.filter(tenant=cast.acme).count() == 1

    def test_a_member_is_recognised_by_the_address(self, cast, set_up, provider):
        provider.tell(person={**ERIN, "email": cast.bob.email})
        browser = Client()
        sign_in(browser, provider)

        assert who(browser) == str(cast.bob.pk)

    def test_claims_that_the_token_lacks_come_from_user_info(self, set_up, provider):
        provider.tell(person=ERIN, thin=True)

        assert sign_in(Client(), provider).status_code == 302

    def test_without_joining_only_members_get_in(self, cast, alice, set_up, provider):
        save(alice, provider, joins="")

        assert "no member of Acme" in sign_in(Client(), provider).content.decode()
        assert not User.objects.filter(email="erin@acme.example").exists()

    def test_it_leads_on_to_pages_of_ours_alone(self, set_up, provider):
        assert sign_in(Client(), provider, path="/accounts/sso/acme/?next=/o/acme/people/").url == "/o/acme/people/"
        assert sign_in(Client(), provider, path="/accounts/sso/acme/?next=//evil.example/").url == "/o/acme/"

    def test_an_account_that_somebody_prepared_for_the_address_loses_its_password(self, set_up, provider):
        """Signed up by whoever, and never confirmed: the password must not open what the person has later."""
        User.objects.create_user("erin@acme.example", "the attacker's own words")

        sign_in(Client(), provider)

        erin = User.objects.get(email="erin@acme.example")
        assert not erin.has_usable_password()
        assert EmailAddress.objects.get(user=erin).verified

    def test_a_second_factor_is_asked_for_whatever_the_provider_says(self, cast, set_up, provider):
        Authenticator.objects.create(user=cast.bob, type=Authenticator.Type.TOTP, data={"secret": "x"})
        provider.tell(person={**ERIN, "email": cast.bob.email})
        browser = Client()

        assert sign_in(browser, provider).url.startswith("/accounts/2fa/authenticate/")
        assert who(browser) == ""


class TestNotLettingIn:
    @pytest.mark.parametrize(
        ("told", "words"),
        [
            ({"lies": {"aud": "another"}}, "another application"),
            ({"lies": {"iss": "https://evil.example"}}, "another issuer"),
            ({"lies": {"nonce": "old"}}, "another attempt"),
            ({"lies": {"exp": 1000}}, "expired"),
            ({"lies": {"aud": [CLIENT_ID, "another"]}}, "another application"),
            ({"foreign_key": True}, "signature is wrong"),
            ({"unsigned": True}, "cannot be believed"),
            ({"deny": True}, "access_denied"),
        ],
    )
    def test_a_token_that_cannot_be_believed(self, set_up, provider, told, words):
        provider.tell(person=ERIN, **told)
        answer = sign_in(Client(), provider)

        assert answer.status_code == 403
        assert words in html.unescape(answer.content.decode())
        assert not User.objects.filter(email="erin@acme.example").exists()

    def test_a_key_that_was_rotated_is_asked_for(self, set_up, provider):
        sign_in(Client(), provider)
        provider.tell(person=ERIN, rotate=True)

        assert sign_in(Client(), provider).status_code == 302

    @pytest.mark.parametrize(
        ("person", "words"),
        [
            ({"email": "erin@elsewhere.example"}, "in no domain"),
            ({"email_verified": False}, "no confirmed mail address"),
            ({"email": ""}, "no confirmed mail address"),
        ],
    )
    def test_an_address_that_it_cannot_speak_for(self, set_up, provider, person, words):
        provider.tell(person={**ERIN, **person})

        assert words in sign_in(Client(), provider).content.decode()

    def test_an_answer_that_nobody_asked_for_or_that_comes_twice(self, set_up, provider):
        browser = Client()
        back = provider.visit(leave(browser.get("/accounts/sso/acme/")))

        assert "not begun here" in Client().get("/accounts/sso/callback/", back).content.decode()
        assert browser.get("/accounts/sso/callback/", back).status_code == 302
        assert browser.get("/accounts/sso/callback/", back).status_code == 403

    def test_an_account_of_other_organisations_only_once_its_owner_is_signed_in(self, cast, set_up, provider):
        Membership.objects.create(tenant=cast.globex, user=cast.bob, role=Role.MEMBER)
        provider.tell(person={**ERIN, "email": cast.bob.email})
        assert "belongs to other organisations" in sign_in(Client(), provider).content.decode()

        browser = Client()
        browser.force_login(cast.bob)
        sign_in(browser, provider)

        fresh = Client()
        sign_in(fresh, provider)
        assert who(fresh) == str(cast.bob.pk)

    def test_operators_never(self, cast, set_up, provider):
        User.objects.filter(pk=cast.bob.pk).update(is_staff=True)
        provider.tell(person={**ERIN, "email": cast.bob.email})

        assert "Operators of the platform" in html.unescape(sign_in(Client(), provider).content.decode())

    def test_a_provider_inside_is_never_asked(self, set_up, provider, settings):
        settings.EGRESS_ALLOW = []

        assert "could not be asked" in Client().get("/accounts/sso/acme/").content.decode()

    def test_the_domain_of_one_organisation_is_not_another_s(self, cast, set_up, provider):
        """globex has the same provider; it speaks for nobody of acme."""
        browser = Client()
        browser.force_login(cast.charlie)
        browser.post(
            "/o/globex/settings/identity/",
            {"action": "save", "protocol": "openid", "issuer": provider.issuer, "client_id": CLIENT_ID, "secret": CLIENT_SECRET,
             "groups_claim": "groups", "default_role": "admin", "enabled": "on", "joins": "on"},
        )  # fmt: skip

        answer = sign_in(Client(), provider, path="/accounts/sso/globex/")

        assert "in no domain that Globex has proven" in answer.content.decode()


class TestEnforcing:
    def sign_in(self, user) -> tuple[str, str]:
        browser = Client()
        answer = browser.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
        return who(browser), answer.url

    def test_it_needs_a_test_and_a_domain(self, cast, alice, set_up, provider):
        assert "once a test" in save(alice, provider, enforced="on", secret="").content.decode()
        back = provider.visit(leave(alice.post(f"{PAGE}test/")))
        page = alice.get("/accounts/sso/callback/", back, follow=True).content.decode()
        assert "The sign-in works. Subject erin-1" in page
        assert "groups Finance" in page
        assert who(alice) == str(cast.alice.pk)
        assert save(alice, provider, enforced="on", secret="").status_code == 302
        # Another client is another provider.
        assert "once a test" in save(alice, provider, enforced="on", client_id="x").content.decode()

    def test_people_of_the_domain_get_in_by_no_other_way(self, cast, set_up, provider):
        IdentityProvider.objects.update(enforced=True, tested_at=clock.now())
        erin = make_person("Erin", "erin@acme.example")

        assert self.sign_in(cast.bob)[0] == ""
        assert self.sign_in(erin)[1].startswith("/accounts/sso/?email=erin%40acme.example")
        assert self.sign_in(cast.charlie)[0] == str(cast.charlie.pk)
        browser = Client()
        sign_in(browser, provider)
        assert who(browser) == str(erin.pk)

    def test_who_got_in_otherwise_before_has_to_come_again(
        self, cast, alice, set_up, provider, django_capture_on_commit_callbacks
    ):
        bob = Client()
        bob.post("/accounts/login/", {"login": cast.bob.email, "password": PASSWORD})
        assert bob.get("/o/acme/calls/").status_code == 200
        IdentityProvider.objects.update(tested_at=clock.now())

        with django_capture_on_commit_callbacks(execute=True):
            assert save(alice, provider, enforced="on", secret="").status_code == 302

        assert bob.get("/o/acme/calls/").status_code == 302
        assert alice.get(PAGE).status_code == 200

    def test_an_owner_with_a_second_factor_keeps_a_way_in(self, cast, set_up):
        IdentityProvider.objects.update(enforced=True, tested_at=clock.now())
        assert self.sign_in(cast.alice)[1].startswith("/accounts/sso/")
        Authenticator.objects.create(user=cast.alice, type=Authenticator.Type.TOTP, data={"secret": "x"})

        assert self.sign_in(cast.alice)[1].startswith("/accounts/2fa/authenticate/")

    def test_a_test_begun_by_an_admin_proves_nothing_in_another_browser(self, cast, alice, set_up, provider):
        bob = Client()
        bob.force_login(cast.bob)

        assert bob.post(f"{PAGE}test/").status_code == 403


class TestGroups:
    @pytest.fixture
    def team(self, cast):
        return Team.objects.create(tenant=cast.acme, name="Finance team", slug="finance")

    @pytest.fixture
    def rules(self, cast, alice, team, set_up):
        flags.put(
            name="group_based_permissions", value=True, actor=cast.alice,
            membership=Membership.objects.select_related("tenant").get(tenant=cast.acme, user=cast.alice),
        )  # fmt: skip
        alice.post(PAGE, {"action": "add-rule", "group": "Finance", "team": str(team.pk), "role": "auditor"})
        alice.post(PAGE, {"action": "add-rule", "group": "Admins", "team": "", "role": "admin"})
        assert GroupRule.objects.filter(tenant=cast.acme).count() == 2

    def test_groups_give_teams_and_the_role_with_most_rights_and_take_them_again(self, cast, rules, team, provider):
        provider.tell(person={**ERIN, "groups": ["Finance", "Admins", "Others"]})
        sign_in(Client(), provider)
        erin = member(cast, "erin@acme.example")
        assert (erin.role, list(erin.teams.all())) == (Role.ADMIN, [team])

        provider.tell(person={**ERIN, "groups": []})
        sign_in(Client(), provider)
        erin = member(cast, "erin@acme.example")
        assert (erin.role, list(erin.teams.all())) == (Role.MEMBER, [])

    def test_silence_of_the_provider_and_the_flag_off_change_nothing(self, cast, rules, team, provider):
        sign_in(Client(), provider)
        provider.tell(person={name: value for name, value in ERIN.items() if name != "groups"})
        sign_in(Client(), provider)
        assert member(cast, "erin@acme.example").role == Role.AUDITOR

    def test_an_owner_stays_one(self, cast, rules, provider):
        provider.tell(person={**ERIN, "email": cast.alice.email, "groups": ["Finance"]})
        sign_in(Client(), provider)

        assert member(cast, cast.alice.email).role == Role.OWNER

    def test_owners_are_not_made_by_groups_nor_teams_of_others_given(self, cast, alice, set_up):
        other = Team.objects.create(tenant=cast.globex, name="Theirs", slug="theirs")

        for given in ({"role": "owner"}, {"team": str(other.pk)}, {}):
            answer = alice.post(PAGE, {"action": "add-rule", "group": "G", **given})
            assert answer.status_code == 422
        assert not GroupRule.objects.exists()


class TestPage:
    def test_the_secret_is_sealed_and_never_shown(self, alice, set_up):
        assert CLIENT_SECRET.encode() not in bytes(set_up.secret)
        assert CLIENT_SECRET not in html.unescape(alice.get(PAGE).content.decode())

    def test_a_bad_issuer_is_refused_at_the_field(self, cast, alice, provider, settings):
        settings.EGRESS_ALLOW = []
        for issuer in (
            "http://login.example",
            "https://user:word@login.example",
            "https://login.example?x=1",
            "nonsense",
        ):
            answer = save(alice, provider, issuer=issuer)
            assert answer.status_code == 422, issuer
        assert not IdentityProvider.objects.exists()

    def test_a_domain_is_proven_by_its_record_and_by_one_organisation_only(self, cast, alice, settings):
        with running_names() as names:
            settings.DNS_SERVERS = [names.address]
            assert alice.post(PAGE, {"action": "add-domain", "domain": "Acme.Example"}).status_code == 302
            row = EmailDomain.objects.get(tenant=cast.acme)
            check = {"action": "check-domain", "id": str(row.pk)}
            assert "no such TXT record" in alice.post(PAGE, check, follow=True).content.decode()
            names.records["_mcp-marketplace.acme.example"] = [row.challenge.text]
            EmailDomain.objects.update(checked_at=None)
            assert "The domain is yours" in alice.post(PAGE, check, follow=True).content.decode()

            browser = Client()
            browser.force_login(cast.charlie)
            browser.post("/o/globex/settings/identity/", {"action": "add-domain", "domain": "acme.example"})
            rival = EmailDomain.objects.get(tenant=cast.globex)
            names.records["_mcp-marketplace.acme.example"].append(rival.challenge.text)
            answer = browser.post(
                "/o/globex/settings/identity/", {"action": "check-domain", "id": str(rival.pk)}, follow=True
            )
            assert "Another organisation has proven this domain" in answer.content.decode()

    def test_an_operator_confirms_a_domain_that_no_record_proves(self, cast, alice):
        alice.post(PAGE, {"action": "add-domain", "domain": "acme.example"})
        row = EmailDomain.objects.get(tenant=cast.acme)
        Authenticator.objects.create(user=cast.olga, type=Authenticator.Type.TOTP, data={"secret": "x"})
        olga = Client()
        olga.force_login(cast.olga)

        chosen = {"action": "confirm", "_selected_action": [str(row.pk)]}
        answer = olga.post("/admin/tenants/emaildomain/", chosen, follow=True)

        assert "acme.example is a domain of Acme" in answer.content.decode()
        row.refresh_from_db()
        assert row.proven_by == f"Confirmed by {cast.olga.email}"
        with tenant_scope(cast.acme):
            assert AuditEvent.objects.get(action="tenants:domain:proven").actor_type == "operator"

    def test_things_of_another_organisation_are_not_there(self, cast, set_up):
        browser = Client()
        browser.force_login(cast.charlie)
        row = EmailDomain.objects.get(tenant=cast.acme)

        for action in ("check-domain", "remove-domain", "remove-rule", "revoke-token"):
            answer = browser.post("/o/globex/settings/identity/", {"action": action, "id": str(row.pk)})
            assert answer.status_code == 404
        assert EmailDomain.objects.filter(pk=row.pk, proven_at__isnull=False).exists()


def test_newcomers_are_members_unless_somebody_chooses_otherwise(cast, signed_in):
    page = signed_in(cast.alice).get(PAGE).content.decode()

    chosen = re.findall(
        r'<option value="(\w+)" selected', page[page.index('name="default_role"') :].partition("</select>")[0]
    )
    assert chosen == ["member"]


class TestAskingForADomainAgain:
    @pytest.fixture
    def names(self, settings):
        with running_names() as names:
            settings.DNS_SERVERS = [names.address]
            yield names

    @pytest.fixture
    def proven(self, cast, alice, names) -> EmailDomain:
        alice.post(PAGE, {"action": "add-domain", "domain": "acme.example"})
        row = EmailDomain.objects.get(tenant=cast.acme)
        names.records[RECORD] = [row.challenge.text]
        alice.post(PAGE, {"action": "check-domain", "id": str(row.pk)})
        return row

    def a_day_later(self, days: int = 1) -> None:
        for _ in range(days):
            EmailDomain.objects.update(looked_at=clock.now() - timedelta(days=1, minutes=1))
            domain_proofs.ask_again()

    def told(self, cast) -> list[str]:
        with tenant_scope(cast.acme):
            rows = Notification.objects.filter(kind=domain_proofs.TOLD, recipient_id=cast.alice.pk).order_by("pk")
            return list(rows.values_list("title", flat=True))

    def test_a_record_that_is_there_is_looked_for_once_a_day_and_nothing_changes(self, cast, names, proven):
        asked = len(names.asked)

        self.a_day_later()
        domain_proofs.ask_again()

        assert len(names.asked) == asked + 1
        proven.refresh_from_db()
        assert (proven.proven_at is not None, proven.failed_looks, self.told(cast)) == (True, 0, [])

    def test_one_that_is_missing_is_told_once_and_may_come_back(self, cast, alice, names, proven):
        names.records.clear()
        self.a_day_later(3)

        proven.refresh_from_db()
        assert (proven.proven_at is not None, proven.failed_looks) == (True, 3)
        assert self.told(cast) == ["The proof for acme.example was not found"]
        assert "Proof is missing" in alice.get(PAGE).content.decode()

        # Looking for it by hand in vain wins no time.
        EmailDomain.objects.update(checked_at=None)
        alice.post(PAGE, {"action": "check-domain", "id": str(proven.pk)})
        self.a_day_later()
        proven.refresh_from_db()
        assert proven.failed_looks == 4

        names.records[RECORD] = [proven.challenge.text]
        self.a_day_later()
        proven.refresh_from_db()
        assert (proven.failed_looks, proven.detail) == (0, "")

    def test_after_a_week_it_speaks_for_nobody_and_another_organisation_can_prove_it(self, cast, names, proven):
        names.records.clear()
        self.a_day_later(6)
        assert directory.owns_address(cast.acme, "new@acme.example")

        self.a_day_later()

        assert not directory.owns_address(cast.acme, "new@acme.example")
        with tenant_scope(cast.acme):
            assert AuditEvent.objects.get(action="tenants:domain:lost").actor_type == "system"
        assert self.told(cast)[-1] == "acme.example is no longer proven to be yours"
        browser = Client()
        browser.force_login(cast.charlie)
        browser.post("/o/globex/settings/identity/", {"action": "add-domain", "domain": "acme.example"})
        rival = EmailDomain.objects.get(tenant=cast.globex)
        names.records[RECORD] = [rival.challenge.text]
        browser.post("/o/globex/settings/identity/", {"action": "check-domain", "id": str(rival.pk)})
        assert directory.owns_address(cast.globex, "new@acme.example")

    def test_a_name_server_that_fails_says_nothing_about_a_record(self, cast, names, proven):
        names.records.clear()
        names.broken = True

        self.a_day_later(9)

        proven.refresh_from_db()
        assert (proven.proven_at is not None, proven.failed_looks, self.told(cast)) == (True, 0, [])

    def test_what_an_operator_confirmed_is_not_asked_for(self, cast, names):
        EmailDomain.objects.create(
            tenant=cast.acme, domain="acme.example", token="t", proven_at=clock.now(), proven_by="Confirmed by olga"
        )

        self.a_day_later(9)

        assert names.asked == []
        assert directory.owns_address(cast.acme, "new@acme.example")
