"""Pages of requests and sign-in that no walk passes: a review, asking again, a provider's decision, the sign-in of a company."""

from __future__ import annotations

import pytest

from tests.e2e.furnish import log_in, shell
from tests.e2e.test_requests import looks

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.xdist_group("stack")]

# A restricted server is asked for and approved at home, so that its provider decides; and a review of all rights is begun.
MADE = """
from datetime import timedelta
from access.models import Grant, Simulation
from access.services import grants
from access.services.grants import Subject
from access.requests import campaigns, deciding, opening
from access.requests.events import open_terms
from access.requests.opening import Ask
from catalog.models import Server
from core import clock
from tenants.context import platform_scope, tenant_scope
from tenants.models import Membership, Tenant
acme = Tenant.objects.get(slug="acme")
alice, bob = (
    Membership.objects.select_related("tenant", "user").get(tenant=acme, user__email=f"{name}@acme.example")
    for name in ("alice", "bob")
)
def restrict(badge):
    with platform_scope():
        Server.objects.filter(slug="text").update(badge=badge)
restrict("restricted")
with tenant_scope(acme):
    server = Server.objects.get(slug="text")
    ask = Ask(tools=("slugify",), reason="Slugs for the autumn catalogue", duration_h=24, user=str(bob.user_id))
    made = opening.open_request(actor=bob, server=server, ask=ask)
    deciding.approve(
        tenant=acme, user=alice.user, request_id=made.pk, digest=made.digest, terms=open_terms(made), comment="", via="page"
    )
    campaign = campaigns.open_campaign(
        actor=alice, name="Autumn review", due_at=clock.now() + timedelta(days=14), revoke_unanswered=False
    )
    sums = {"gains": 40, "losses": 12, "waits": 7}
    sample = {"server": "payments", "tool": "list_invoices", "caller": "Invoices", "agent": "", "calls": 9, "recorded": "allowed",
              "call_id": "01980000-0000-7000-8000-000000000000"}
    simulation = Simulation.objects.create(
        user_label="alice@acme.example", title="Another policy of Payments", change={"kind": "policy"}, days=7, state="done",
        percent=100, finished_at=clock.now(),
        result={
            "calls": 1200, "gone": 3, **sums, "unknown": 31, "unknown_for": {"address": 21, "address_and_arguments": 10},
            "tools": [{"server": "payments", "tool": "list_invoices", **sums}], "callers": [{"caller": "Invoices", **sums}],
            "days": [[f"2026-11-{day}", day % 5, day % 3, day % 2] for day in range(14, 22)],
            "samples": [sample | {"before": "allowed", "after": after, "change": change, "gains": change == "gains"}
                        for after, change in (("trust_too_low", "losses"), ("approval_required", "waits"), ("allowed", "gains"))],
            "unjudged": [sample | {"hangs_on": ["address"]}, sample | {"hangs_on": ["address", "arguments"]}],
        },
    )
    grants.give(
        tenant=acme, server=Server.objects.get(slug="payments"), subject=Subject.of("agent", "night-watch"), actor=None,
        side_effects=["read"], max_trust="high", conditions={"networks": ["203.0.113.0/24"]},
    )
    given = Grant.objects.filter(server=server, revoked_at=None).first()
    print("MADE", made.pk, campaign.pk, given.pk, simulation.pk)
restrict("approved")
"""


def test_reviews_renewals_and_decisions_of_providers(stack, open_page, shoot):
    request, campaign, grant, simulation = shell(stack, MADE).split("MADE ")[1].split()
    alice, diana = open_page(), open_page()
    log_in(alice, stack, "alice@acme.example")
    log_in(diana, stack, "diana@initech.example")

    diana.goto(f"/o/initech/requests/provider/{request}/")
    assert "Slugs for the autumn catalogue" in diana.get_by_role("main").inner_text()
    alice.goto(f"/o/acme/requests/reviews/{campaign}/")
    assert "Autumn review" in alice.get_by_role("main").inner_text()
    looks(diana, open_page, shoot, {"provider-request": f"/o/initech/requests/provider/{request}/"})
    looks(
        alice,
        open_page,
        shoot,
        {
            "review": f"/o/acme/requests/reviews/{campaign}/",
            "grant-renew": f"/o/acme/access/{grant}/renew/",
            "identity": "/o/acme/settings/identity/",
            "simulation": f"/o/acme/access/explain/simulate/{simulation}/",
            "simulate": "/o/acme/access/explain/simulate/",
            "who-can": "/o/acme/access/explain/who/?server=payments&tool=list_invoices",
            "what-can": "/o/acme/access/explain/can/?who=agent:night-watch",
        },
    )
