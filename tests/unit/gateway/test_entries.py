from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from access.types import (
    Compat,
    Conditions,
    EnforceOn,
    GrantRule,
    Hours,
    PolicyMode,
    ServerPolicy,
    SessionRule,
    SessionTerms,
    SideEffect,
    ToolRule,
    ToolTerm,
    Trust,
)
from gateway import codec
from gateway.entries import KeyEntry, Price, ServerEntry, TenantEntry

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
UUIDS = st.uuids()
MOMENTS = st.integers(0, 10**15).map(lambda us: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=us))
EFFECTS = st.frozensets(st.sampled_from(SideEffect))
TRUST = st.sampled_from(Trust)

KEYS = st.builds(
    KeyEntry,
    key_id=TEXT,
    api_key_id=UUIDS,
    secret_digest=st.binary(min_size=32, max_size=32),
    scopes=st.frozensets(st.sampled_from(["invoke", "catalog:read", "admin"])),
    server_ids=st.frozensets(UUIDS, max_size=3),
    user_id=st.none() | UUIDS,
    agent=TEXT,
    team_id=st.none() | UUIDS,
    expires_at=st.none() | MOMENTS,
)
CONDITIONS = st.builds(
    Conditions,
    hours=st.lists(
        st.builds(Hours, st.frozensets(st.integers(0, 6)), st.integers(0, 1440), st.integers(0, 1440)), max_size=2
    ).map(tuple),
    networks=st.frozensets(TEXT, max_size=2),
    environments=st.frozensets(TEXT, max_size=2),
    arguments=st.dictionaries(TEXT, st.dictionaries(TEXT, st.integers(0, 9), max_size=2), max_size=2),
)
SESSIONS = st.builds(
    SessionRule,
    session_id=UUIDS,
    server_id=UUIDS,
    name=TEXT,
    user=TEXT,
    consented_trust=TRUST,
    issued_at=st.none() | MOMENTS,
    expires_at=st.none() | MOMENTS,
    credential_id=st.none() | UUIDS,
)
GRANTS = st.builds(
    GrantRule,
    grant_id=UUIDS,
    server_id=UUIDS,
    name=TEXT,
    user=TEXT,
    everyone=st.booleans(),
    max_trust=TRUST,
    side_effects=EFFECTS,
    tool_rules=st.dictionaries(TEXT, st.builds(ToolTerm, st.booleans(), TRUST), max_size=3),
    conditions=st.none() | CONDITIONS,
    expires_at=st.none() | MOMENTS,
    revoked_at=st.none() | MOMENTS,
)
PRICES = st.builds(
    Price, price_version_id=UUIDS, rate=st.decimals(0, 10**9, places=10), currency=st.sampled_from(["USD", "JPY"])
)
TOOLS = st.builds(ToolRule, name=TEXT, required_trust=TRUST, side_effect=st.none() | st.sampled_from(SideEffect))


@st.composite
def tenants(draw) -> TenantEntry:
    grants: dict = {}
    for grant in draw(st.lists(GRANTS, max_size=4)):
        grants[grant.server_id] = (*grants.get(grant.server_id, ()), grant)
    return TenantEntry(
        tenant_id=draw(UUIDS),
        schema_name=draw(TEXT),
        slug=draw(TEXT),
        revision=draw(st.integers(0, 2**63 - 1)),
        suspended=draw(st.booleans()),
        keys={key.key_id: key for key in draw(st.lists(KEYS, max_size=3))},
        grants=grants,
        sessions={each.server_id: (each,) for each in draw(st.lists(SESSIONS, max_size=3))},
    )


@st.composite
def servers(draw) -> ServerEntry:
    server_id = draw(UUIDS)
    policy = ServerPolicy(
        server_id=server_id,
        mode=draw(st.sampled_from(PolicyMode)),
        required_trust=draw(TRUST),
        tools={tool.name: tool for tool in draw(st.lists(TOOLS, max_size=4))},
        compat=draw(st.sampled_from(Compat)),
        enforce_on=draw(st.sampled_from(EnforceOn)),
        session=SessionTerms(required=draw(st.booleans()), header=draw(TEXT)),
    )
    return ServerEntry(
        server_id=server_id,
        slug=draw(TEXT),
        revision=draw(st.integers(0, 2**63 - 1)),
        owner_tenant_id=draw(st.none() | UUIDS),
        owner_team_id=draw(st.none() | UUIDS),
        provider_id=draw(st.none() | UUIDS),
        allowed_teams=draw(st.frozensets(UUIDS, max_size=3)),
        visibility=draw(st.sampled_from(["tenant", "group", "org", "public"])),
        callable=draw(st.booleans()),
        version_id=draw(st.none() | UUIDS),
        url=draw(TEXT),
        policy=policy,
        price=draw(st.none() | PRICES),
        tool_prices=draw(st.dictionaries(TEXT, PRICES, max_size=3)),
        prices_until=draw(st.none() | MOMENTS),
    )


def sent(body):
    """What arrives at the other end of the wire."""
    return json.loads(json.dumps(body))


class TestWireFormat:
    @given(tenants())
    def test_an_organisation_arrives_as_it_was_sent(self, entry):
        assert codec.from_json(TenantEntry, sent(codec.to_json(entry))) == entry

    @given(servers())
    def test_a_server_arrives_as_it_was_sent(self, entry):
        assert codec.from_json(ServerEntry, sent(codec.to_json(entry))) == entry

    @given(PRICES)
    def test_a_price_keeps_every_digit(self, price):
        entry = codec.from_json(ServerEntry, sent(codec.to_json(make_server(price))))

        assert entry.price is not None
        assert str(entry.price.rate) == str(price.rate)
        assert isinstance(entry.price.rate, Decimal)


def make_server(price: Price) -> ServerEntry:
    policy = ServerPolicy(price.price_version_id, PolicyMode.ALLOW_LIST, Trust.LOW, {})
    return ServerEntry(
        server_id=price.price_version_id,
        slug="payments",
        revision=1,
        owner_tenant_id=price.price_version_id,
        owner_team_id=None,
        provider_id=price.price_version_id,
        visibility="public",
        callable=True,
        version_id=None,
        url="https://payments.example",
        policy=policy,
        price=price,
        tool_prices={},
    )
