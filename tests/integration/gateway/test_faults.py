"""What the gateway does when its own stores are away: it refuses what it cannot decide or record, and recovers by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import psycopg
import pytest

from gateway import codec
from gateway.config import Record
from tests.integration.gateway.conftest import Stage, body_of
from tests.integration.gateway.test_access import publish
from tests.support.gateways import config_for, make_call_tables, running_gateway
from tests.support.processes import wait_until


@pytest.fixture
def restage(build_stage: Callable[..., Any], urls: tuple[str, str], sdk_port: int) -> Iterator[Callable[..., Any]]:
    """`with restage(redis_url=...) as stage`: a gateway of its own with another configuration."""
    make, world, upstream = build_stage()

    class Restaged:
        def __init__(self, **changes: Any) -> None:
            self._gateway = running_gateway(
                replace(config_for(*urls, upstream.port, sdk_port), **changes), world.loader
            )

        def __enter__(self) -> Stage:
            return make(self._gateway.__enter__())

        def __exit__(self, *details: Any) -> None:
            self._gateway.__exit__(*details)

    yield Restaged
    world.loader.fail = False


def error_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["data"]["code"]


def test_without_valkey_calls_go_on_and_changes_arrive_by_the_poll(restage: Callable[..., Any]) -> None:
    with restage(redis_url="redis://127.0.0.1:9/0") as stage:
        assert stage.call("ok").status_code == 200
        server = stage.servers["ok"]
        stage.world.change_server(server.server_id, callable=False)
        wait_until(lambda: stage.call("ok").status_code == 503, "the poll", deadline_s=5)
        stage.world.change_server(server.server_id, callable=True)
        wait_until(lambda: stage.call("ok").status_code == 200, "the poll", deadline_s=5)


def test_with_neither_push_nor_poll_nothing_is_decided_until_one_is_back(restage: Callable[..., Any]) -> None:
    with restage(redis_url="redis://127.0.0.1:9/0", poll_interval_s=0.1, stale_after_s=0.5) as stage:
        assert stage.call("ok").status_code == 200
        seen = len(stage.upstream.requests)
        stage.world.loader.fail = True
        wait_until(lambda: stage.call("ok").status_code == 503, "entries to be stale", deadline_s=10)
        refused = stage.call("ok")
        assert error_of(refused) == (503, "access.policy_unavailable")
        assert refused.headers["retry-after"] == "2"
        assert stage.row(refused)["reason"] == "policy_unavailable"
        after = len(stage.upstream.requests)
        stage.call("ok")
        assert len(stage.upstream.requests) == after >= seen
        stage.world.loader.fail = False
        wait_until(lambda: stage.call("ok").status_code == 200, "recovery", deadline_s=10)


def test_a_key_that_cannot_be_looked_up_is_not_called_unknown(restage: Callable[..., Any]) -> None:
    with restage() as stage:
        stage.world.loader.fail = True
        response = stage.call("ok")
        stage.world.loader.fail = False
        assert error_of(response) == (503, "access.policy_unavailable")
        assert stage.call("ok").status_code == 200


def test_a_guessed_key_costs_the_database_one_question(
    restage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from core import keys

    # However slow the machine is, the second guess comes before the first is forgotten.
    monkeypatch.setattr("gateway.store.NEGATIVE_S", 3600.0)
    with restage() as stage:
        guess = str(keys.mint("test"))
        asked = len(stage.world.loader.questions)
        for _ in range(10):
            headers = {**stage.modern("tools/call", "echo"), "authorization": f"Bearer {guess}"}
            content = body_of("tools/call", {"name": "echo"})
            assert httpx.post(f"{stage.base}/mcp/ok", content=content, headers=headers).status_code == 401
        questions = [q for q in stage.world.loader.questions[asked:] if q.startswith("key")]
        assert len(questions) == 1


def test_a_key_that_was_taken_for_a_guess_works_as_soon_as_it_is_pushed(
    restage: Callable[..., Any], urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.NEGATIVE_S", 3600.0)
    with restage() as stage:
        late = stage.world.tenant("late")
        token, key = stage.world.key(late)
        make_call_tables(urls[0], [late.schema_name])
        stage.world.grant(late, stage.servers["ok"], key)
        entry = stage.world.loader.tenants.pop(late.tenant_id)
        unknown = replace(stage, token=token)
        assert [unknown.call("ok").status_code for _ in range(2)] == [401, 401]
        stage.world.loader.tenants[late.tenant_id] = entry
        assert unknown.call("ok").status_code == 401

        def is_known() -> bool:
            publish(urls[1], "tenant", codec.to_json(entry), entry.revision)
            return unknown.call("ok").status_code == 200

        wait_until(is_known, "the push")


NO_ROOM = Record(spool_after_s=0.1, spool_bytes=0)


def test_an_answer_that_cannot_be_recorded_is_withheld_and_its_call_is_unknown_and_free(
    restage: Callable[..., Any],
) -> None:
    """Postgres sits on the table, and the spool has no room."""
    deadlines = replace(config_for("", "").deadlines, record=0.5)
    with restage(record=NO_ROOM, deadlines=deadlines) as stage:
        assert stage.call("ok").status_code == 200
        with psycopg.connect(stage.database_url) as conn:
            conn.execute(f'LOCK TABLE "{stage.acme.schema_name}".calls_call IN EXCLUSIVE MODE')
            response = stage.call("ok")
            assert error_of(response) == (503, "calls.not_recorded")
            assert response.headers["retry-after"]
            assert "result" not in response.json()
            withheld = response.headers["x-marketplace-call-id"]
        wait_until(lambda: any(str(row["call_id"]) == withheld for row in stage.rows()), "the row of the withheld call")
        row = stage.row(response)
        assert (row["outcome"], row["billable"], row["price"]) == ("unknown", False, 0)
        assert row["tool"] == "echo"


def session_of(stage: Stage, path: str) -> dict[str, str]:
    """Headers of a session that was agreed on before."""
    headers = stage.headers(mcp_protocol_version="2025-11-25")
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    content = body_of("initialize", hello, modern=False)
    begun = httpx.post(stage.base + path, content=content, headers=headers, timeout=20)
    return {**headers, "mcp-session-id": begun.headers["mcp-session-id"]}


def ways(stage: Stage) -> Iterator[tuple[str, Callable[[], httpx.Response]]]:
    """Every kind of path from a client to a server and back."""

    def post(path: str, tool: str, headers: dict[str, str], *, modern: bool = False) -> httpx.Response:
        content = body_of("tools/call", {"name": tool, "arguments": {}}, modern=modern)
        return httpx.post(stage.base + path, content=content, headers=headers, timeout=20)

    own, through = session_of(stage, "/mcp"), session_of(stage, "/mcp/handshake-only")
    modern = stage.modern("tools/call", "ok__echo")
    yield "a stream passed through", lambda: stage.call("stream")
    yield "a plain call", lambda: stage.invoke("ok")
    yield "an old server to a modern client", lambda: stage.call("handshake-only")
    yield "an old server to an old client", lambda: post("/mcp/handshake-only", "echo", through)
    yield "all servers as one", lambda: post("/mcp", "ok__echo", modern, modern=True)
    yield "all servers as one to an old client", lambda: post("/mcp", "ok__echo", own)


def test_no_way_leads_round_the_record(restage: Callable[..., Any]) -> None:
    """Whatever stands between client and server, the last byte waits for the row."""
    deadlines = replace(config_for("", "").deadlines, record=0.5)
    with restage(record=NO_ROOM, deadlines=deadlines) as stage:
        tenant = stage.world.tenant("careful")
        make_call_tables(stage.database_url, [tenant.schema_name])
        token, key = stage.world.key(tenant)
        for name in ("ok", "stream", "handshake-only"):
            stage.world.grant(tenant, stage.servers[name], key)
        careful = replace(stage, acme=stage.world.loader.tenants[tenant.tenant_id], token=token, key=key)
        for way, call in ways(careful):
            assert "done" in call().text, way
            with psycopg.connect(stage.database_url) as conn:
                conn.execute(f'LOCK TABLE "{tenant.schema_name}".calls_call IN EXCLUSIVE MODE')
                withheld = call().text
            assert "done" not in withheld, way
            assert "calls.not_recorded" in withheld, way
            wait_until(lambda call=call: "done" in call().text, "the record to be back")  # type: ignore[misc]


def test_without_any_place_for_a_row_no_server_is_asked(restage: Callable[..., Any]) -> None:
    with restage(record=NO_ROOM, database_url="postgresql://nobody@127.0.0.1:9/none") as stage:
        wait_until(lambda: stage.call("ok").status_code == 503, "the writer to know that Postgres is away")
        asked = len(stage.upstream.requests)
        refused = stage.call("ok")
        assert error_of(refused) == (503, "calls.not_recorded")
        assert stage.invoke("ok").status_code == 503
        assert "calls." in stage.call("stream").text
        assert len(stage.upstream.requests) == asked


def test_a_database_that_drops_its_connections_costs_no_answer(restage: Callable[..., Any]) -> None:
    with restage() as stage:
        for _ in range(3):
            assert stage.call("ok").status_code == 200
            with psycopg.connect(stage.database_url, autocommit=True) as conn:
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'marketplace-calls' AND datname = current_database()"
                )
            response = stage.call("ok")
            assert response.status_code == 200
            assert stage.row(response)["outcome"] == "ok"
