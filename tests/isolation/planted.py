"""Canaries: one row of every kind in an organisation, each carrying a word that occurs nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from allauth.idp.oidc.models import Client
from django.db import connection
from django.test import override_settings

from access.approvals import asking
from access.approvals.types import CallAsk
from access.flows import rules as flow_rules
from access.flows import state as flow_state
from access.flows.types import FlowAsk
from access.limits import LimitKind, LimitScope, Period
from access.models import OAuthClient, PlaygroundRun, ProviderReview, Simulation
from access.requests import approval_rules, campaigns, links, opening
from access.services import clients, connections, grants, limits, playground, sessions
from access.types import FlowLabel
from audit import services as audit
from audit.services import checkpoints
from billing.models import (
    FraudFlag,
    Invoice,
    PaymentAttempt,
    PaymentCustomer,
    PaymentMethod,
    PayoutBatch,
    PayoutItem,
    Proposal,
    ReconciliationItem,
    ReconciliationRun,
    Statement,
)
from billing.services import credits as crediting
from billing.services import documents, invoices, ledger_events, profiles
from calls import rows
from calls.record import CallRecord, Outcome
from catalog.choices import Status, Visibility
from catalog.facets import Query
from catalog.formats.normal import Entry
from catalog.models import ListingClaim, Server
from catalog.registry.names import name_of
from catalog.services import importing, searches
from core import clock
from core.ids import uuid7
from notifications.services import notify
from notifications.services import webhooks as queue
from repositories.models import Repository, SyncRun
from repositories.services import credentials
from repositories.services.audience import source_ref
from tenants.choices import Scope
from tenants.context import platform_scope, tenant_scope
from tenants.models import Consent, DirectoryUser, Elevation, Membership, ScimToken, Team, Tenant, User
from tenants.services import api_keys, consents, invitations, teams, webhooks
from tests.support.cast import PAYMENTS_TOOLS, make_server
from tests.support.invoices import draft, usage


@dataclass(frozen=True)
class Planted:
    """What was planted in one organisation. `word` is part of every name and text of it."""

    tenant: Tenant
    owner: User
    word: str
    team_word: str  # of a server that only the owner's team may know of
    server: Server
    key: str  # the text of a key with every scope
    parameters: dict[str, object]  # values for the parameters of URLs, by their names

    @property
    def slug(self) -> str:
        return self.tenant.slug


def plant(tenant: Tenant, owner: User) -> Planted:
    """Fill an organisation. Nothing of it is public."""
    word, team_word = f"canary{uuid7().hex[-12:]}", f"teamcanary{uuid7().hex[-12:]}"
    actor = Membership.objects.select_related("tenant", "user").get(tenant=tenant, user=owner)
    # Addresses are repeated in answers, so the name in the path is another word.
    slug = f"hidden{uuid7().hex[-12:]}"
    with platform_scope():
        server = make_server(
            tenant, slug, f"{word} server", visibility="org", summary=f"{word} summary", tools=_tools(word)
        )
    issued = api_keys.issue(tenant=tenant, name=f"{word} key", scopes=Scope.values, actor=owner, agent=f"{word}-agent")
    consent = _consent(actor, word)
    source = _source(tenant, word)
    team = teams.create(actor=actor, name=f"{word} team")
    _plant_half_hidden_servers(tenant, word, team_word, team)
    teams.add(actor=actor, team_id=team.pk, membership_id=actor.pk)
    invited = invitations.invite(actor=actor, email=f"{word}@elsewhere.example", role="member")
    elevation = _elevation(tenant, word)
    with tenant_scope(tenant):
        grant = grants.give(
            tenant=tenant,
            server=server,
            subject=grants.Subject.of("key", str(issued.key.pk), f"{word} subject"),
            actor=owner,
            note=f"{word} note",
            name=f"{word}-grant",
        )
        _flow(tenant, server, issued.key.pk, owner, word)
        session = sessions.issue(
            tenant=tenant,
            server=server,
            subject=grants.Subject(user=str(owner.pk), agent=f"{word}-agent"),
            actor=owner,
            name=f"{word}-session",
        )
        agent_session = sessions.issue(
            tenant=tenant,
            server=server,
            subject=grants.Subject.of("agent", f"{word} agent", f"{word} agent"),
            actor=owner,
            note=f"{word} note",
        )
        terms = limits.Terms(f"{word} limit", LimitScope.ORGANISATION, LimitKind.CAP, Decimal(40), Period.MONTH)
        limit = limits.add(tenant=tenant, terms=terms, actor=owner)
        secret = connections.header(f"x-{word}", f"{word}-secret")
        with override_settings(EGRESS_ALLOW=["127.0.0.1:9"]):
            hook = webhooks.create(
                tenant=tenant, name=f"{word} hook", url=f"http://127.0.0.1:9/{word}", events=["*"], actor=owner
            ).endpoint
            connection_id = connections.store(tenant=tenant, server=server, secret=secret, actor=owner).pk
        registration = OAuthClient.objects.create(
            issuer=f"https://{word}.example", client_id=f"{word}-client", source=clients.ENTERED
        )
        audit.record("test:canary:planted", actor=audit.Party("user", str(owner.pk), f"{word} actor"), data={"w": word})
        checkpoints.make()
        notification = notify(kind="test.canary", title=f"{word} title", body=f"{word} body", recipient_id=owner.pk)
        queue.emit(tenant.pk, "access.grant.given", {"note": f"{word} data"})
        delivery = hook.deliveries.get()
        run = _run(tenant, owner, server, word)
        simulation = Simulation.objects.create(
            user_label=word,
            title=f"{word} simulation",
            change={"kind": "revoke"},
            days=7,
            state="done",
            result={
                "calls": 1,
                "gains": 1,
                "losses": 0,
                "gone": 0,
                "tools": [{"server": word, "tool": word, "gains": 1, "losses": 0}],
            },
        )
        search = searches.save_search(tenant, owner, f"{word} search", Query(text=word))
        call = _call(tenant, server, word, issued.key.pk, grant.pk)
        asked = _requests(actor, server, word)
        approval_id = _waiting(tenant, server, issued.key.pk, word)
    bills = _bills(tenant, owner, server, word)
    colleague = Membership.objects.filter(tenant=tenant).exclude(user=owner).first() or actor
    return Planted(
        tenant=tenant,
        owner=owner,
        word=word,
        team_word=team_word,
        server=server,
        key=issued.text,
        parameters={
            "org": tenant.slug,
            "organisation": tenant.slug,
            "scim_id": _directory_user(tenant, word).pk,
            "slug": server.slug,
            "listed_id": server.pk,
            "registry_name": name_of(server),
            "registry_version": "latest",
            "call_id": call,
            "key_id": issued.key.pk,
            "consent_id": consent.pk,
            "grant_id": grant.pk,
            "grant_name": grant.name,
            "session_name": session.name,
            "namespace": tenant.slug,
            "team_slug": team.slug,
            "user_id": owner.pk,
            **asked,
            "approval_id": approval_id,
            **bills,
            "limit_id": limit.pk,
            "session_id": agent_session.pk,
            "run_id": run.pk,
            "simulation_id": simulation.pk,
            "search_id": search.pk,
            "connection_id": connection_id,
            "registration_id": registration.pk,
            "webhook_id": hook.pk,
            "delivery_id": delivery.pk,
            "elevation_id": elevation.pk,
            "invitation_id": invited.invitation.pk,
            "source_id": source.pk,
            "claim_id": _claim(actor, server, word).pk,
            "team_id": team.pk,
            "membership_id": colleague.pk,
            "notification_id": notification.pk,
            "token": invited.token,
            **_payout(tenant, server, word),
            **_payments(tenant, word),
        },
    )


def _payout(tenant: Tenant, server: Server, word: str) -> dict[str, object]:
    """A payout to the organisation as a provider with its statement, and a booking of its credit."""
    with platform_scope():
        batch = PayoutBatch.objects.create(rail="paypal", month=word[-7:], currency="USD")
        item = PayoutItem.objects.create(
            batch=batch, provider=server.provider, destination=f"{word}@paypal.example", minor=100, currency="USD"
        )
        numbers = {"opening": 0, "earned": 100, "taken_back": 0, "returned": 0, "paid": 100, "closing": 0}
        statement = Statement.objects.create(
            item=item,
            provider=server.provider,
            number=f"PS-{word}",
            currency="USD",
            after_posting=0,
            through_posting=0,
            payee={"name": word, "address": word},
            lines=[{"on": "2026-11-01", "what": word, "month": "", "reference": word, "minor": 100}],
            **{f"{name}_minor": minor for name, minor in numbers.items()},
        )
        # As with invoices: looking must not look like making.
        documents.of_statement(statement)
        booking = ledger_events.topped_up(tenant.pk, 100, currency="USD", payment_id=word)
        run = ReconciliationRun.objects.create(provider="stripe", since=clock.now())
        difference = ReconciliationItem.objects.create(
            run=run, provider="stripe", reference=f"pi:{word}:succeeded", fault="amount", currency="USD"
        )
        flag = FraudFlag.objects.create(tenant=tenant, provider=server.provider, sign="people", facts=[word])
    assert booking is not None
    return {
        "payout_id": item.pk,
        "batch_id": batch.pk,
        "booking_id": booking.pk,
        "difference_id": difference.pk,
        "flag_id": flag.pk,
    }


def _payments(tenant: Tenant, word: str) -> dict[str, object]:
    """A card, an attempt to charge it for an invoice of a month that no test bills, and one that bought credit."""
    PaymentCustomer.objects.create(tenant=tenant, external_id=f"cus_{word}")
    card = PaymentMethod.objects.create(
        tenant=tenant,
        external_id=f"pm_{word}",
        brand=word,
        last4="4242",
        exp_month=12,
        exp_year=2040,
        fingerprint=word,
        is_default=True,
    )
    invoice = Invoice.objects.create(tenant=tenant, month=date(2020, 1, 1), buyer={"name": word})
    attempt = PaymentAttempt.objects.create(
        tenant=tenant,
        invoice=invoice,
        method=card,
        customer=f"cus_{word}",
        minor=100,
        currency="USD",
        key=f"attempt:{word}",
        state="declined",
        message=word,
    )
    top_up = PaymentAttempt.objects.create(
        tenant=tenant,
        method=card,
        customer=f"cus_{word}",
        minor=100,
        currency="USD",
        key=f"attempt:{word}:credit",
        external_id=f"pi_{word}",
        state="succeeded",
        decided_at=clock.now(),
    )
    return {"method_id": card.pk, "attempt_id": attempt.pk, "top_up_id": top_up.pk}


def _elevation(tenant: Tenant, word: str) -> Elevation:
    """An operator's view that is over."""
    now = clock.now()
    return Elevation.objects.create(
        operator_label=f"{word}-operator",
        tenant=tenant,
        reason=f"{word} reason",
        ends_at=now + timedelta(hours=1),
        ended_at=now,
        ended_why="operator",
    )


def _requests(owner: Membership, server: Server, word: str) -> dict[str, object]:
    """A request of a colleague with the mail to the owner, a rule, a review, and what another organisation asks."""
    asker = Membership.objects.select_related("tenant", "user").filter(tenant=owner.tenant).exclude(pk=owner.pk).first()
    asker = asker or owner
    ask = opening.Ask(tools=(), reason=f"{word} reason", duration_h=24, user=str(asker.user_id), label=f"{word} asker")
    request = opening.open_request(actor=asker, server=server, ask=ask)
    rule = approval_rules.add(
        actor=owner, wanted=approval_rules.Wanted(name=f"{word} rule", stages=[["managers"]], min_trust="high")
    )
    due = clock.now() + timedelta(days=7)
    campaign = campaigns.open_campaign(actor=owner, name=f"{word} review", due_at=due)
    ProviderReview.objects.create(
        id=request.pk,
        tenant_id=owner.tenant_id,
        organisation=f"{word} organisation",
        server=server,
        requester_label=word,
        max_trust="low",
        side_effects=["read"],
        reason=word,
        duration_h=1,
        digest=request.digest,
    )
    return {
        "request_id": request.pk,
        "rule_id": rule.pk,
        "campaign_id": campaign.pk,
        "link": links.mint(request, owner.user_id),
    }


def _flow(tenant: Tenant, server: Server, key_id: UUID, owner: User, word: str) -> None:
    """A flow rule with an exception, a label of a tool, and what a session of the key has touched."""
    wanted = flow_rules.Terms(exempt_agents=(f"{word}-agent",))
    flow_rules.change(tenant=tenant, wanted=wanted, actor=owner)
    flow_rules.label(tenant=tenant, server=server, wanted={"": ["private_data"]}, actor=owner)
    rule = flow_rules.compile_rule()
    assert rule is not None
    labels = frozenset({FlowLabel.PRIVATE_DATA})
    ask = FlowAsk(tenant.pk, uuid7(), key_id, "", f"{word}-agent", None, "", server.slug, "", labels, rule)
    flow_state.take(ask)


def _waiting(tenant: Tenant, server: Server, key_id: UUID, word: str) -> UUID:
    """A call of the owner's key that waits for somebody else."""
    ask = CallAsk(
        tenant_id=tenant.pk,
        call_id=uuid7(),
        api_key_id=key_id,
        on_behalf="",
        human="",
        agent=f"{word}-agent",
        session="",
        server_id=server.pk,
        server_slug=server.slug,
        tool="list_invoices",
        definition=word,
        side_effect="read",
        trust_required="low",
        arguments=f'{{"status":"{word}"}}'.encode(),
    )
    found = asking.claim_or_ask(tenant, ask).approval_id
    assert found is not None
    return found


def _bills(tenant: Tenant, owner: User, server: Server, word: str) -> dict[str, object]:
    """Who is billed, an open invoice with a line of usage, and a credit note for a part of it."""
    with platform_scope():
        profiles.change(tenant=tenant, values={"legal_name": f"{word} company"}, actor=audit.SYSTEM)
        line = usage(
            server.provider_id,
            100,
            label=f"{word} usage",
            provider_name=f"{word} provider",
            server_id=server.pk,
            price_version_id=uuid7(),
        )
        invoice = invoices.open(draft(tenant, [line], period_id=202610))
        first = invoice.lines.get(position=1)
        note = crediting.issue(
            invoice,
            [crediting.LineCredit(first.pk, 10)],
            reason=f"{word} reason",
            key=f"{word} note",
            actor=audit.SYSTEM,
        )
        proposal = Proposal.objects.create(
            act="write_off",
            invoice=invoice,
            minor=90,
            currency="USD",
            reason=f"{word} reason",
            proposed_by=owner,
            proposed_label=f"{word}-operator",
        )
        # Made when they are first asked for otherwise, which looking must not look like.
        documents.of_invoice(invoice)
        documents.of_note(note)
    return {"invoice_id": invoice.pk, "line_id": first.pk, "note_id": note.pk, "proposal_id": proposal.pk}


def _consent(membership: Membership, word: str) -> Consent:
    client = Client.objects.create(name=f"{word} application", type=Client.Type.PUBLIC)
    return consents.give(
        membership=membership, client=client, scopes=[Scope.INVOKE], resources=["https://marketplace.example"]
    )


def _run(tenant: Tenant, owner: User, server: Server, word: str) -> PlaygroundRun:
    """A run of the owner's own, which nobody else sees."""
    run = playground.begin(
        tenant=tenant,
        user=owner,
        server=server,
        tool="list_invoices",
        key=None,
        arguments={"status": f"{word} argument"},
    )
    exchange = {"status": 200, "body": f"{word} answer", "headers": []}
    playground.finish(tenant, run.pk, state="done", outcome="ok", call_id=None, exchange=exchange)
    return run


def _claim(actor: Membership, server: Server, word: str) -> ListingClaim:
    """Of a server that nobody could claim; what counts is whose the row is."""
    return ListingClaim.objects.create(
        tenant=actor.tenant,
        server=server,
        namespace=f"com.{word}",
        domain=f"{word}.com",
        token=word,
        source_id=uuid7(),
        source_name=f"{word} source",
        external_id=f"com.{word}/server",
        requested_by=f"{word}@elsewhere.example",
    )


def _directory_user(tenant: Tenant, word: str) -> DirectoryUser:
    """Somebody whom the organisation's directory put in and out again, and the token of the directory."""
    person = User.objects.create_user(f"{word}@directory.example", None)
    ScimToken.objects.create(
        tenant=tenant,
        name=f"{word} token",
        digest=word.encode(),
        created_by=word,
        expires_at=clock.now() + timedelta(days=1),
    )
    return DirectoryUser.objects.create(tenant=tenant, user=person, user_name=person.email, active=False)


def _source(tenant: Tenant, word: str) -> Repository:
    """A source of the organisation's own, with a credential, a reading and an entry."""
    with platform_scope():
        source = Repository(
            owner_tenant=tenant,
            name=f"{word} source",
            kind="http",
            url=f"https://{word}.example/index.json",
            sync_error=f"{word} error",
            auto_sync=False,
        )
        credentials.keep(source, "token", {"token": f"{word}-token"})
        source.save()
        problem = {"file": word, "entry": f"{word} entry", "field": word, "reason": f"{word} reason"}
        now = clock.now()
        SyncRun.objects.create(
            repository=source,
            owner_tenant=tenant,
            reason="asked",
            full=True,
            state="success",
            ended_at=now,
            problem_count=1,
            problems=[problem],
            note=f"{word} note",
        )
        importing.take(
            source_ref(source), [Entry(name=f"{word}/entry", format="server_json", description=word, version="1")]
        )
    return source


def _plant_half_hidden_servers(tenant: Tenant, word: str, team_word: str, team: Team) -> None:
    """One that will be public and is not approved, and one of a team: Postgres lets them through, the code must not."""
    with platform_scope():
        waiting = make_server(tenant, f"waiting{uuid7().hex[-12:]}", f"{word} waiting", summary=word)
        Server.objects.filter(pk=waiting.pk).update(status=Status.SUBMITTED)
        narrow = make_server(
            tenant, f"narrow{uuid7().hex[-12:]}", f"{team_word} narrow", visibility="org", summary=team_word
        )
        Server.objects.filter(pk=narrow.pk).update(visibility=Visibility.TENANT, owner_team=team)


def _tools(word: str) -> list[dict[str, object]]:
    return [{**PAYMENTS_TOOLS[0], "description": f"{word} description"}]


def _call(tenant: Tenant, server: Server, word: str, key_id: UUID, grant_id: UUID) -> UUID:
    record = CallRecord(
        uuid7(),
        tenant.schema_name,
        clock.now() - timedelta(seconds=1),
        api_key_id=key_id,
        agent=f"{word}-agent",
        client=f"{word}-client",
        method="tools/call",
        server_id=server.pk,
        server_name=server.slug,
        tool=f"{word}_tool",
        allowed=True,
        reason="allowed",
        grant_id=grant_id,
        outcome=Outcome.OK,
        http_status=200,
        billable=True,
        quantity=Decimal(1),
        price=Decimal("0.01"),
    )
    with connection.cursor() as cursor:
        cursor.execute(rows.insert_statement(tenant.schema_name), rows.encode([record]))
    return record.call_id


def fingerprint(tenant: Tenant) -> dict[str, str]:
    """A digest of everything that is an organisation's: its whole schema, and its rows in `public`."""
    with platform_scope(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT format('%%I.%%I', table_schema, table_name), column_name FROM information_schema.columns"
            " JOIN information_schema.tables t USING (table_schema, table_name)"
            " WHERE t.table_type = 'BASE TABLE' AND (table_schema = %s AND ordinal_position = 1"
            " OR table_schema = 'public' AND column_name IN ('tenant_id', 'owner_tenant_id'))",
            [tenant.schema_name],
        )
        found = {}
        for table, column in cursor.fetchall():
            condition = f"WHERE {column} = '{tenant.pk}'" if column.endswith("tenant_id") else ""
            cursor.execute(f"SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM {table} t {condition}")
            found[table] = cursor.fetchone()[0]
        cursor.execute("SELECT md5(t::text) FROM public.tenants_tenant t WHERE id = %s", [tenant.pk])
        found["tenant"] = cursor.fetchone()[0]
    return found
