from __future__ import annotations

from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.core import mail

from audit.models import AuditEvent
from core import clock
from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from notifications import services as notifications
from notifications.models import Notification
from tenants.choices import Role
from tenants.context import tenant_scope
from tenants.models import Invitation, Membership
from tenants.services import invitations, settings
from tests.integration.tenants.test_memberships import join_as, membership_of
from tests.support.cast import make_person


@pytest.fixture
def alice(cast):
    return membership_of(cast.alice, cast.acme)


@pytest.fixture
def dave(cast):
    return make_person("Dave", "dave@elsewhere.example")


class TestInvite:
    def test_the_token_is_in_the_mail_and_nowhere_at_rest(self, cast, alice):
        sent = invitations.invite(actor=alice, email=" Dave@Elsewhere.example ", role=Role.MEMBER)
        with tenant_scope(cast.acme):
            notifications.send_waiting()

        [message] = mail.outbox
        assert message.to == ["dave@elsewhere.example"]
        assert f"/organisations/invitations/{sent.token}/" in message.body
        assert "Acme" in message.subject
        assert sent.token.encode() not in bytes(Invitation.objects.get().token_digest)
        with tenant_scope(cast.acme):
            assert not Notification.objects.filter(url__contains=sent.token).exists()
            assert sent.token not in str(list(AuditEvent.objects.values()))

    def test_a_second_open_one_for_the_address_is_a_conflict(self, alice):
        invitations.invite(actor=alice, email="dave@elsewhere.example", role=Role.MEMBER)
        with pytest.raises(ConflictError, match="open invitation"):
            invitations.invite(actor=alice, email="DAVE@elsewhere.example", role=Role.ADMIN)

    def test_an_expired_one_makes_room(self, alice):
        first = invitations.invite(actor=alice, email="dave@elsewhere.example", role=Role.MEMBER)
        with clock.frozen(clock.now() + timedelta(days=8)):
            second = invitations.invite(actor=alice, email="dave@elsewhere.example", role=Role.MEMBER)
        assert second.token != first.token

    def test_a_member_needs_no_invitation_also_under_another_verified_address(self, cast, alice):
        EmailAddress.objects.create(user=cast.bob, email="bob@private.example", verified=True, primary=False)
        for address in ("BOB@acme.example", "bob@private.example"):
            with pytest.raises(ConflictError, match="member already"):
                invitations.invite(actor=alice, email=address, role=Role.MEMBER)

    @pytest.mark.parametrize("email", ["", "dave", "dave@", "a b@c.example", "dave@x.example\nBcc: eve@x.example"])
    def test_what_is_no_address_is_refused(self, alice, email):
        with pytest.raises(InvalidError) as caught:
            invitations.invite(actor=alice, email=email, role=Role.MEMBER)
        assert caught.value.data["field"] == "email"

    def test_a_member_invites_nobody_and_an_admin_no_owner(self, cast):
        with pytest.raises(ForbiddenError):
            invitations.invite(actor=membership_of(cast.bob, cast.acme), email="d@x.example", role=Role.MEMBER)
        admin = join_as(Role.ADMIN, cast.acme)
        with pytest.raises(ForbiddenError, match="invite an owner"):
            invitations.invite(actor=admin, email="d@x.example", role=Role.OWNER)

    def test_a_line_break_in_a_name_stops_no_mail(self, cast, alice):
        cast.alice.name = "Alice\nBcc: eve@x.example"
        cast.alice.save()
        invitations.invite(actor=membership_of(cast.alice, cast.acme), email="d@x.example", role=Role.MEMBER)
        with tenant_scope(cast.acme):
            assert notifications.send_waiting() == 1
        assert "\n" not in mail.outbox[0].subject

    def test_its_lifetime_is_the_organisations_setting(self, cast, alice):
        settings.put(name="invitation_lifetime_days", value=2, actor=cast.alice, membership=alice)
        sent = invitations.invite(actor=alice, email="dave@elsewhere.example", role=Role.MEMBER)
        lifetime = sent.invitation.expires_at - sent.invitation.created_at
        assert timedelta(days=1, hours=23) < lifetime <= timedelta(days=2, minutes=1)


class TestAccept:
    def test_the_invited_person_joins_with_the_role_and_the_inviter_hears(self, cast, alice, dave):
        sent = invitations.invite(actor=alice, email=dave.email, role=Role.AUDITOR)

        member = invitations.accept(token=sent.token, user=dave)

        assert (member.tenant, member.role) == (cast.acme, Role.AUDITOR)
        with tenant_scope(cast.acme):
            note = Notification.objects.get(recipient_id=cast.alice.pk)
            assert note.title == "Dave joined Acme"
            assert AuditEvent.objects.filter(action="tenants:membership:joined").count() == 1

    def test_it_works_once(self, alice, dave):
        sent = invitations.invite(actor=alice, email=dave.email, role=Role.MEMBER)
        invitations.accept(token=sent.token, user=dave)
        with pytest.raises(ConflictError, match="was accepted"):
            invitations.accept(token=sent.token, user=dave)

    def test_somebody_else_cannot_use_it(self, cast, alice, dave):
        sent = invitations.invite(actor=alice, email=dave.email, role=Role.MEMBER)
        with pytest.raises(ForbiddenError, match=r"for dave@elsewhere\.example"):
            invitations.accept(token=sent.token, user=cast.charlie)
        assert not Membership.objects.filter(tenant=cast.acme, user=cast.charlie).exists()

    def test_an_unverified_address_is_not_enough(self, cast, alice):
        sent = invitations.invite(actor=alice, email="second@globex.example", role=Role.MEMBER)
        address = EmailAddress.objects.create(user=cast.charlie, email="second@globex.example", verified=False)
        with pytest.raises(ForbiddenError):
            invitations.accept(token=sent.token, user=cast.charlie)

        address.verified = True
        address.save()
        assert invitations.accept(token=sent.token, user=cast.charlie).user == cast.charlie

    def test_withdrawn_and_expired_ones_do_not_work(self, alice, dave):
        withdrawn = invitations.invite(actor=alice, email=dave.email, role=Role.MEMBER)
        invitations.withdraw(actor=alice, invitation_id=withdrawn.invitation.pk)
        expired = invitations.invite(actor=alice, email=dave.email, role=Role.MEMBER)

        with pytest.raises(ConflictError, match="withdrawn"):
            invitations.accept(token=withdrawn.token, user=dave)
        with clock.frozen(clock.now() + timedelta(days=7, seconds=1)), pytest.raises(ConflictError, match="expired"):
            invitations.accept(token=expired.token, user=dave)

    @pytest.mark.parametrize("token", ["", "x", "a" * 5000, "../../etc/passwd", "' OR 1=1 --", "\x00"])
    def test_a_token_never_given_out_is_not_found(self, cast, dave, token):
        with pytest.raises(NotFoundError):
            invitations.accept(token=token, user=dave)

    def test_a_suspended_organisation_takes_nobody_in(self, cast, alice, dave):
        sent = invitations.invite(actor=alice, email=dave.email, role=Role.MEMBER)
        cast.acme.suspended_at = clock.now()
        cast.acme.save()
        with pytest.raises(NotFoundError):
            invitations.accept(token=sent.token, user=dave)

    def test_who_became_a_member_otherwise_is_told_so_and_keeps_the_role(self, cast, alice, dave):
        sent = invitations.invite(actor=alice, email=dave.email, role=Role.ADMIN)
        Membership.objects.create(tenant=cast.acme, user=dave, role=Role.MEMBER)
        with pytest.raises(ConflictError, match="member of Acme already"):
            invitations.accept(token=sent.token, user=dave)
        assert membership_of(dave, cast.acme).role == Role.MEMBER


class TestWithdraw:
    def test_a_second_time_changes_nothing(self, cast, alice):
        sent = invitations.invite(actor=alice, email="d@x.example", role=Role.MEMBER)
        for _ in range(2):
            invitations.withdraw(actor=alice, invitation_id=sent.invitation.pk)
        with tenant_scope(cast.acme):
            assert AuditEvent.objects.filter(action="tenants:invitation:withdrawn").count() == 1

    def test_an_accepted_one_cannot_be_withdrawn(self, alice, dave):
        sent = invitations.invite(actor=alice, email=dave.email, role=Role.MEMBER)
        invitations.accept(token=sent.token, user=dave)
        with pytest.raises(ConflictError, match="has accepted"):
            invitations.withdraw(actor=alice, invitation_id=sent.invitation.pk)

    def test_one_of_another_organisation_is_not_found(self, cast, alice):
        sent = invitations.invite(actor=alice, email="d@x.example", role=Role.MEMBER)
        with pytest.raises(NotFoundError):
            invitations.withdraw(actor=membership_of(cast.charlie, cast.globex), invitation_id=sent.invitation.pk)
