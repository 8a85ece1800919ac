"""Signing in at an organisation's SAML provider, which is a process that can be made to lie; and whoever sits between."""

from __future__ import annotations

import base64
import copy
import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from lxml import etree

from core import clock
from tenants.choices import Role
from tenants.models import DirectoryUser, EmailDomain, GroupRule, IdentityProvider, Membership, Team, User
from tenants.services import settings as flags
from tests.support.saml_provider import SAML, SAMLP, running_provider

pytestmark = pytest.mark.django_db
PAGE = "/o/acme/settings/identity/"
ANSWER, BACK = "/accounts/sso/saml/answer/", "/accounts/sso/saml/back/"
METADATA = "urn:oasis:names:tc:SAML:2.0:metadata"
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
ERIN = {
    "name_id": "erin-1",
    "format": PERSISTENT,
    "attributes": {"email": ["Erin@acme.example"], "displayName": ["Erin"], "groups": ["Finance", "Staff"]},
}
NS = {"saml": SAML, "samlp": SAMLP, "ds": "http://www.w3.org/2000/09/xmldsig#"}


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
    answer = save(alice, provider)
    assert answer.status_code == 302, answer.content.decode()
    return IdentityProvider.objects.get(owner_tenant=cast.acme)


def save(browser, provider, **given):
    fields = {
        "action": "save", "protocol": "saml", "metadata_url": provider.metadata_url, "groups_claim": "groups",
        "default_role": "member", "enabled": "on", "joins": "on",
    }  # fmt: skip
    return browser.post(PAGE, {name: value for name, value in {**fields, **given}.items() if value})


def led_to(answer) -> str:
    assert answer.status_code == 200, answer.content.decode()
    return html.unescape(re.search(r'url=([^"]+)"', answer.content.decode())[1])


def bring(fields: dict[str, str], browser):
    """As a browser does from another site: without cookies first, then by our own page."""
    return browser.get(led_to(Client().post(ANSWER, fields)))


def sign_in(browser, provider, change: Callable[[Any], Any] | None = None, *, path: str = "/accounts/sso/acme/"):
    """To the provider and back; `change` is what somebody in between does to the answer."""
    action, fields = provider.visit(led_to(browser.get(path)))
    assert action.endswith(ANSWER)
    if change is not None:
        root = etree.fromstring(base64.b64decode(fields["SAMLResponse"]))
        changed = change(root)
        data = changed if isinstance(changed, bytes) else etree.tostring(root)
        fields["SAMLResponse"] = base64.b64encode(data).decode()
    return bring(fields, browser)


def words(answer) -> str:
    assert answer.status_code == 403
    assert not User.objects.filter(email__in=["erin@acme.example", "eve@acme.example"]).exists()
    return html.unescape(answer.content.decode())


def who(browser) -> str:
    return browser.session.get("_auth_user_id", "")


class TestSigningIn:
    def test_a_newcomer_gets_an_account_and_a_membership_and_is_in(self, cast, set_up, provider):
        browser = Client()
        answer = sign_in(browser, provider)

        assert (answer.status_code, answer.url) == (302, "/o/acme/")
        erin = User.objects.get(email="erin@acme.example")
        assert (who(browser), erin.name) == (str(erin.pk), "Erin")
        assert Membership.objects.get(tenant=cast.acme, user=erin).role == Role.MEMBER
        assert DirectoryUser.objects.get(tenant=cast.acme, user=erin).subject == "erin-1"

    def test_the_address_leads_to_the_organisation_and_the_second_time_is_the_same_person(self, set_up, provider):
        assert provider.base in led_to(Client().post("/accounts/sso/", {"email": "erin@acme.example"}))
        sign_in(Client(), provider)
        provider.tell(person={**ERIN, "attributes": {"email": ["renamed@acme.example"]}})
        browser = Client()
        sign_in(browser, provider)

        assert who(browser) == str(User.objects.get(email="erin@acme.example").pk)

    def test_groups_go_the_way_that_those_of_openid_go(self, cast, alice, set_up, provider):
        flags.put(
            name="group_based_permissions", value=True, actor=cast.alice,
            membership=Membership.objects.select_related("tenant").get(tenant=cast.acme, user=cast.alice),
        )  # fmt: skip
        team = Team.objects.create(tenant=cast.acme, name="Finance team", slug="finance")
        alice.post(PAGE, {"action": "add-rule", "group": "Finance", "team": str(team.pk), "role": "auditor"})
        assert GroupRule.objects.filter(tenant=cast.acme).count() == 1
        sign_in(Client(), provider)

        erin = Membership.objects.get(tenant=cast.acme, user__email="erin@acme.example")
        assert (erin.role, list(erin.teams.all())) == (Role.AUDITOR, [team])

    def test_an_admin_tests_it_and_sees_what_it_says(self, cast, alice, set_up, provider):
        _, fields = provider.visit(led_to(alice.post(f"{PAGE}test/")))
        page = alice.get(led_to(Client().post(ANSWER, fields)), follow=True).content.decode()

        assert "The sign-in works. Subject erin-1, address erin@acme.example, groups Finance, Staff" in page
        assert who(alice) == str(cast.alice.pk)
        assert IdentityProvider.objects.get(pk=set_up.pk).tested_at

    def test_the_address_can_be_the_name(self, set_up, provider):
        address = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
        provider.tell(person={"name_id": "erin@acme.example", "format": address, "attributes": {}})

        assert sign_in(Client(), provider).status_code == 302


class TestNotLettingIn:
    @pytest.mark.parametrize(
        ("told", "said"),
        [
            ({"lies": {"audience": "https://other.example/"}}, "for another application"),
            ({"lies": {"recipient": "https://other.example/"}}, "not for this attempt"),
            ({"lies": {"destination": "https://other.example/"}}, "for another address"),
            ({"lies": {"request": "_old"}}, "not for this attempt"),
            ({"lies": {"response_request": "_old"}}, "another attempt"),
            ({"lies": {"issuer": "https://evil.example/idp"}}, "Another provider"),
            ({"lies": {"begins": "2999-01-01T00:00:00Z"}}, "not valid yet"),
            ({"lies": {"ends": "2020-01-01T00:00:00Z"}}, "has expired"),
            ({"lies": {"ends": "2999-01-01T00:00:00Z"}}, "lasts too long"),
            ({"lies": {"ends": "tomorrow"}}, "time that cannot be read"),
            ({"lies": {"status": "AuthnFailed"}}, "AuthnFailed"),
            ({"foreign_key": True}, "not signed by a key of its metadata"),
            ({"sign": "none"}, "is not signed"),
            ({"sign": "response"}, "is not signed"),
            ({"sign": "sha1"}, "not signed by a key"),
            ({"sign": "inclusive"}, "form that is not taken"),
        ],
        ids=str,
    )
    def test_an_answer_that_cannot_be_believed(self, set_up, provider, told, said):
        provider.tell(person=ERIN, **told)

        assert said in words(sign_in(Client(), provider))

    @pytest.mark.parametrize(
        ("person", "said"),
        [
            ({"attributes": {"email": ["erin@elsewhere.example"]}}, "in no domain"),
            ({"attributes": {}}, "no confirmed mail address"),
            ({"format": "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"}, "no lasting name"),
            ({"name_id": ""}, "no lasting name"),
            ({"name_id": "x" * 300}, "too long"),
        ],
        ids=str,
    )
    def test_a_person_whom_it_cannot_speak_for(self, set_up, provider, person, said):
        provider.tell(person=ERIN | person)

        assert said in words(sign_in(Client(), provider))

    def test_an_answer_that_nobody_asked_for_or_that_comes_twice(self, set_up, provider):
        browser = Client()
        _, fields = provider.visit(led_to(browser.get("/accounts/sso/acme/")))
        assert "not begun here" in words(bring(fields, Client()))
        assert "not begun here" in words(bring(fields | {"RelayState": "x"}, browser))
        # The attempt is used up, though it was somebody else's answer.
        assert "not begun here" in words(bring(fields, browser))

    def test_an_assertion_lets_in_once(self, set_up, provider):
        """Also where an attempt and its answer were both stolen."""
        browser = Client()
        _, fields = provider.visit(led_to(browser.get("/accounts/sso/acme/")))
        kept = browser.session["sso_attempt"]
        assert bring(fields, browser).status_code == 302
        thief = Client()
        stolen = thief.session
        stolen["sso_attempt"] = kept
        stolen.save()
        answer = bring(fields, thief)

        assert answer.status_code == 403
        assert "used already" in answer.content.decode()
        assert who(thief) == ""

    def test_the_handle_of_an_answer_is_good_once(self, set_up, provider):
        browser = Client()
        _, fields = provider.visit(led_to(browser.get("/accounts/sso/acme/")))
        url = led_to(Client().post(ANSWER, fields))
        assert browser.get(url).status_code == 302
        assert browser.get(url).status_code == 403

    def test_what_is_too_long_or_no_answer_is_refused(self, set_up):
        for answer in ("", "x" * 200_000):
            assert Client().post(ANSWER, {"SAMLResponse": answer}).status_code == 403
        for answer in ("%%%", base64.b64encode(b"no xml").decode()):
            browser = Client()
            browser.get("/accounts/sso/acme/")
            relay = browser.session["sso_attempt"]["state"]
            assert "not well formed" in words(bring({"SAMLResponse": answer, "RelayState": relay}, browser))


def _evil(assertion: Any) -> Any:
    """A copy that says somebody else, without a signature of its own."""
    evil = copy.deepcopy(assertion)
    evil.remove(evil.find("ds:Signature", NS))
    evil.find("saml:Subject/saml:NameID", NS).text = "eve"
    for each in evil.findall(".//saml:Attribute[@Name='email']/saml:AttributeValue", NS):
        each.text = "eve@acme.example"
    return evil


def _first(root: Any) -> Any:
    return root.find("saml:Assertion", NS)


def _changed(root: Any) -> None:
    _first(root).find(".//saml:Attribute[@Name='email']/saml:AttributeValue", NS).text = "eve@acme.example"


def _before(root: Any) -> None:
    evil = _evil(_first(root))
    evil.set("ID", "_evil")
    root.insert(1, evil)


def _same_id(root: Any) -> None:
    root.insert(1, _evil(_first(root)))


def _in_extensions(root: Any) -> None:
    """The signed one goes where nobody looks, another stands in its place."""
    signed, evil = _first(root), _evil(_first(root))
    evil.set("ID", "_evil")
    root.replace(signed, evil)
    etree.SubElement(root, f"{{{SAMLP}}}Extensions").append(signed)


def _in_the_signature(root: Any) -> None:
    """The signed one lies in an object of the signature of another."""
    signed, evil = _first(root), _evil(_first(root))
    evil.set("ID", "_evil")
    signature = signed.find("ds:Signature", NS)
    signed.remove(signature)
    etree.SubElement(signature, "{http://www.w3.org/2000/09/xmldsig#}Object").append(signed)
    evil.insert(1, signature)
    root.append(evil)


def _reference_elsewhere(root: Any) -> None:
    evil = _evil(_first(root))
    evil.set("ID", "_evil")
    evil.insert(1, copy.deepcopy(_first(root).find("ds:Signature", NS)))
    root.replace(_first(root), evil)


def _id_of_another_name(root: Any) -> None:
    """Another attribute that some library takes for an id, with the value that was signed."""
    root.find("samlp:Status", NS).set("Id", _first(root).get("ID"))


def _comment(root: Any) -> None:
    value = _first(root).find(".//saml:Attribute[@Name='email']/saml:AttributeValue", NS)
    value.text, rest = "eve@acme.example", value.text
    comment = etree.Comment("x")
    comment.tail = rest
    value.append(comment)


def _no_signature_value(root: Any) -> None:
    _first(root).find("ds:Signature/ds:SignatureValue", NS).text = ""


def _entities(root: Any) -> bytes:
    head = b'<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    return head + etree.tostring(root).replace(b"Erin@acme.example", b"&e;")


def _many_entities(root: Any) -> bytes:
    lines = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "x" * 10}">' for n in range(12))
    return f"<!DOCTYPE r [{lines}]>".encode() + etree.tostring(root).replace(b"Erin@acme.example", b"&e11;")


def _encrypted(root: Any) -> None:
    root.replace(_first(root), etree.Element(f"{{{SAML}}}EncryptedAssertion"))


class TestInBetween:
    """Somebody who may change the answer on its way gains nothing."""

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (_changed, "not signed by a key"),
            (_before, "not one assertion"),
            (_same_id, "not one assertion"),
            (_in_extensions, "not one assertion"),
            (_in_the_signature, "not one assertion"),
            (_reference_elsewhere, "about something else"),
            (_id_of_another_name, "not unique"),
            (_comment, "comments or instructions"),
            (_no_signature_value, "not signed by a key"),
            (_entities, "document type"),
            (_many_entities, ""),
            (_encrypted, "encrypts"),
        ],
        ids=lambda value: getattr(value, "__name__", "").strip("_"),
    )
    def test_a_changed_answer_is_refused(self, set_up, provider, change, said):
        assert said in words(sign_in(Client(), provider, change))

    def test_an_answer_that_came_through_whole_is_taken_however_it_is_written(self, set_up, provider):
        """Spaces between elements of the response and another prefix change nothing that was signed."""

        def _rewrite(root: Any) -> bytes:
            root.text = "\n  "
            return b'<?xml version="1.0" encoding="UTF-8"?>\n' + etree.tostring(root)

        assert sign_in(Client(), provider, _rewrite).status_code == 302


class TestSettings:
    def test_metadata_is_taken_from_its_text_too_and_kept_when_nothing_is_given(self, cast, alice, set_up, provider):
        kept = (set_up.issuer, set_up.sso_url, set_up.certificates)
        assert kept[0] == f"{provider.base}/idp"
        assert "BEGIN CERTIFICATE" in kept[2]
        assert save(alice, provider, metadata_url="", joins="").status_code == 302
        row = IdentityProvider.objects.get(pk=set_up.pk)
        assert ((row.issuer, row.sso_url, row.certificates), row.joins) == (kept, False)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("<x/>", "describes no identity provider"),
            ("no xml", "not well formed"),
            ('<!DOCTYPE x [<!ENTITY e "x">]><x>&e;</x>', "document type"),
            (
                f'<E:EntityDescriptor xmlns:E="{METADATA}" entityID="x"><E:IDPSSODescriptor/></E:EntityDescriptor>',
                "no certificate",
            ),
        ],
    )
    def test_metadata_that_says_too_little_is_refused_at_the_field(self, alice, provider, text, said):
        answer = save(alice, provider, metadata_url="", metadata=text)

        assert answer.status_code == 422
        assert said in answer.content.decode()

    def test_without_metadata_there_is_nothing_to_save(self, alice, provider):
        assert "Paste the provider" in save(alice, provider, metadata_url="").content.decode()

    def test_an_address_inside_is_never_asked(self, alice, provider, settings):
        settings.EGRESS_ALLOW = []

        assert "could not be read" in save(alice, provider).content.decode()

    def test_our_metadata_says_where_answers_go_and_that_assertions_are_to_be_signed(self):
        root = etree.fromstring(Client().get("/accounts/sso/saml/metadata/").content)
        [place] = root.findall(".//{*}AssertionConsumerService")

        assert root.get("entityID").endswith("/accounts/sso/saml/metadata/")
        assert place.get("Location").endswith(ANSWER)
        assert root.find("{*}SPSSODescriptor").get("WantAssertionsSigned") == "true"

    def test_an_organisation_has_one_of_the_two_and_its_people_stay_who_they_are(self, cast, alice, set_up, provider):
        sign_in(Client(), provider)
        erin = User.objects.get(email="erin@acme.example")
        changed = {"protocol": "openid", "issuer": provider.base, "client_id": "x", "metadata_url": ""}
        assert save(alice, provider, **changed).status_code == 302
        row = IdentityProvider.objects.get(owner_tenant=cast.acme)
        assert (row.protocol, row.certificates, row.sso_url, row.tested_at) == ("openid", "", "", None)
        assert DirectoryUser.objects.get(tenant=cast.acme, user=erin).subject == ""
        assert save(alice, provider).status_code == 302
        browser = Client()
        sign_in(browser, provider)

        assert who(browser) == str(erin.pk)

    def test_an_answer_for_an_organisation_with_openid_is_not_read(self, alice, set_up, provider):
        browser = Client()
        _, fields = provider.visit(led_to(browser.get("/accounts/sso/acme/")))
        IdentityProvider.objects.update(protocol="openid")

        assert "Another kind of provider" in words(bring(fields, browser))


def test_a_moment_of_skew_is_forgiven(set_up, provider):
    soon = (datetime.now(UTC) + timedelta(seconds=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    provider.tell(person=ERIN, lies={"begins": soon})

    assert sign_in(Client(), provider).status_code == 302
