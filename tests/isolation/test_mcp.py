"""Every MCP method and every kind of caller, through a real gateway that reads the real control plane."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from access.engine import METHOD_RULES, MethodRule
from access.services import grants
from calls.models import Call
from catalog.choices import Status
from catalog.models import Server
from core.ids import uuid7
from gateway.app import Gateway
from gateway.mcp.tasks import Task, TaskSeal
from gateway.services.entries import ModelLoader
from marketplace.gateway_config import build_config
from tenants.choices import Scope
from tenants.context import platform_scope, tenant_scope
from tenants.models import APIKey, Tenant
from tenants.services import api_keys, onboarding
from tests.support.cast import Cast, make_server
from tests.support.gateways import serving

TOOL = "list_invoices"
EVERYTHING = ["read", "write", "destructive"]
METHODS = [*METHOD_RULES, "tools/delete"]
# The handshake belongs to the older revisions, but for its successor; so does the method that waits for a task.
OLDER = {m for m in METHODS if METHOD_RULES.get(m) is MethodRule.HANDSHAKE} - {"server/discover"} | {"tasks/result"}
MODERN = [m for m in METHODS if m not in OLDER]
# Methods that name something of one server.
NAMING = frozenset({"tools/call", "prompts/get", "resources/read", "completion/complete"})
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


@dataclass
class CanaryServer:
    """An MCP server that answers everything with one word, and counts what it is asked."""

    word: str
    asked: list[str] = field(default_factory=list)
    seen_headers: list[dict[bytes, bytes]] = field(default_factory=list)

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = b""
        while (part := await receive())["type"] == "http.request":
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        message = json.loads(body) if body else {}
        self.asked.append(message.get("method", scope["method"]))
        self.seen_headers.append(dict(scope["headers"]))
        result = {"content": [{"type": "text", "text": self.word}], "protocolVersion": "2025-11-25"}
        answer = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": result}).encode()
        headers = [(b"content-type", b"application/json"), (b"mcp-session-id", f"s-{self.word}".encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    @staticmethod
    async def _live(receive, send) -> None:
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


@dataclass
class Stage:
    base: str
    upstream: CanaryServer
    ours: Tenant
    theirs: Tenant
    private: Server  # of ours
    public: Server  # of ours, granted to both
    keys: dict[str, str]
    task_id: str  # of the owner, at the private server

    def send(
        self, actor: str, server: str, method: str, *, modern: bool = False, path: str = "/mcp/{}", **headers: str
    ) -> httpx.Response:
        params: dict[str, Any] = {"name": TOOL, "arguments": {}, "uri": "x://y", "protocolVersion": "2025-11-25"}
        params["taskId"] = self.task_id
        sent = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            **({"authorization": f"Bearer {self.keys[actor]}"} if actor in self.keys else {}),
            **headers,
        }
        if modern:
            params["_meta"] = META
            name = params["uri"] if method.startswith("resources/") else TOOL
            name = self.task_id if method.startswith("tasks/") else name
            sent |= {"mcp-protocol-version": "2026-07-28", "mcp-method": method, "mcp-name": name}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return httpx.post(self.base + path.format(server), json=body, headers=sent, timeout=20)

    def invoke(self, actor: str, server: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.keys[actor]}"} if actor in self.keys else {}
        body = {"server": server, "tool": TOOL, "arguments": {}}
        return httpx.post(f"{self.base}/v1/invoke", json=body, headers=headers, timeout=20)

    def count(self, tenant: Tenant) -> int:
        with tenant_scope(tenant):
            return Call.objects.count()

    def last(self, tenant: Tenant) -> Call:
        with tenant_scope(tenant):
            return Call.objects.order_by("-call_id").first()


@pytest.fixture(scope="module")
def stage(django_db_setup, django_db_blocker) -> Iterator[Stage]:
    mark = uuid7().hex[-12:]
    upstream = CanaryServer(f"canary{mark}")
    with django_db_blocker.unblock(), serving(upstream) as port:
        made = _organisations(mark, f"http://127.0.0.1:{port}/mcp")
        config = replace(build_config(), egress_allow=frozenset({("127.0.0.1", port)}))
        with serving(Gateway(config, ModelLoader())) as gateway:
            yield Stage(base=f"http://127.0.0.1:{gateway}", upstream=upstream, **made)
        with platform_scope():
            # Committed rows stay; a public server would turn up in the catalog of other tests.
            Server.objects.filter(owner_tenant=made["ours"]).update(status=Status.REMOVED)


def _organisations(mark: str, url: str) -> dict[str, Any]:
    cast = Cast.load()
    ours = onboarding.create_organisation(name=f"Ours {mark}", slug=f"ours-{mark}", owner=cast.alice)
    theirs = onboarding.create_organisation(name=f"Theirs {mark}", slug=f"theirs-{mark}", owner=cast.charlie)
    with platform_scope():
        private = make_server(ours, f"private-{mark}", "Private", visibility="org", url=url)
        public = make_server(ours, f"public-{mark}", "Public", visibility="public", url=url)
    made = {
        "owner": api_keys.issue(tenant=ours, name="owner", scopes=Scope.values, actor=cast.alice),
        "colleague": api_keys.issue(tenant=ours, name="colleague", scopes=Scope.values, actor=cast.bob),
        "other": api_keys.issue(tenant=theirs, name="other", scopes=Scope.values, actor=cast.charlie),
    }
    _give(ours, private, made["owner"].key)
    _give(ours, public, made["owner"].key)
    _give(theirs, public, made["other"].key)
    # A grant that should never have come about: it must not help.
    _give(theirs, private, made["other"].key)
    texts = {name: issued.text for name, issued in made.items()}
    task = Task(b"t-1", private.pk, private.slug, TOOL, uuid7(), modern=True, price=None)
    task_id = TaskSeal(build_config().session_key).seal(task, f"{ours.pk}|{made['owner'].key.pk}")
    return {"ours": ours, "theirs": theirs, "private": private, "public": public, "keys": texts, "task_id": task_id}


def _give(tenant: Tenant, server: Server, key: APIKey) -> None:
    with tenant_scope(tenant):
        grants.Grant.objects.create(
            server_id=server.pk,
            name=f"grant-{uuid7().hex}",
            namespace=tenant.slug,
            subject_key=str(key.pk),
            max_trust="high",
            side_effects=EVERYTHING,
        )


def reason_of(response: httpx.Response) -> str:
    return response.json()["error"]["data"]["reason"]


class TestMethods:
    @pytest.mark.parametrize(
        ("method", "modern"), [*((method, False) for method in METHODS), *((method, True) for method in MODERN)]
    )
    def test_each_caller_gets_what_is_theirs(self, stage, method, modern):
        """Owner: answered. Colleague without a grant, another organisation, a stranger: refused before the server is asked."""
        if method in METHOD_RULES:
            answer = stage.send("owner", stage.private.slug, method, modern=modern)
            assert (answer.status_code, stage.upstream.word in answer.text) == (200, True)
            assert stage.last(stage.ours).allowed
        asked, ours, theirs = len(stage.upstream.asked), stage.count(stage.ours), stage.count(stage.theirs)

        colleague = stage.send("colleague", stage.private.slug, method, modern=modern)
        other = stage.send("other", stage.private.slug, method, modern=modern)
        stranger = stage.send("nobody", stage.private.slug, method, modern=modern)

        wanted = "no_matching_grant" if method in METHOD_RULES else "method_unknown"
        assert (reason_of(colleague), reason_of(other)) == (wanted, "server_unknown")
        assert stranger.status_code == 401
        for answer in (colleague, other, stranger):
            assert stage.upstream.word not in answer.text
        assert len(stage.upstream.asked) == asked
        # Each decision is in the log of the one who asked, and nowhere else.
        assert (stage.count(stage.ours), stage.count(stage.theirs)) == (ours + 1, theirs + 1)
        assert not stage.last(stage.theirs).allowed
        assert stage.last(stage.theirs).server_id is None

    @pytest.mark.parametrize("modern", [False, True])
    def test_the_other_spelling_of_a_path_opens_nothing_more(self, stage, modern):
        def send(actor: str, server: str = stage.private.slug) -> httpx.Response:
            return stage.send(actor, server, "tools/call", modern=modern, path="/{}/mcp")

        assert stage.upstream.word in send("owner").text
        assert stage.last(stage.ours).server_id == stage.private.pk
        asked, ours, theirs = len(stage.upstream.asked), stage.count(stage.ours), stage.count(stage.theirs)

        assert reason_of(send("colleague")) == "no_matching_grant"
        assert reason_of(send("other")) == "server_unknown"
        assert send("nobody").status_code == 401
        assert send("owner", "servers").status_code == 404
        assert len(stage.upstream.asked) == asked
        assert (stage.count(stage.ours), stage.count(stage.theirs)) == (ours + 1, theirs + 1)

    def test_plain_invocation_is_refused_alike(self, stage):
        assert stage.upstream.word in stage.invoke("owner", stage.private.slug).text
        asked = len(stage.upstream.asked)
        answers = {actor: stage.invoke(actor, stage.private.slug) for actor in ("colleague", "other", "nobody")}

        assert {actor: answer.status_code for actor, answer in answers.items()} == {
            "colleague": 403,
            "other": 404,
            "nobody": 401,
        }
        assert len(stage.upstream.asked) == asked

    def test_a_hidden_server_and_one_that_does_not_exist_look_alike(self, stage):
        hidden = stage.invoke("other", stage.private.slug)
        missing = stage.invoke("other", "no-such-server")
        differing = {"call_id", "server", "instance"}

        assert hidden.status_code == missing.status_code == 404
        assert {k: v for k, v in hidden.json().items() if k not in differing} == {
            k: v for k, v in missing.json().items() if k not in differing
        }

    @pytest.mark.parametrize("verb", ["GET", "DELETE"])
    def test_streams_of_another_organisation_are_refused(self, stage, verb):
        asked = len(stage.upstream.asked)
        headers = {"authorization": f"Bearer {stage.keys['other']}", "accept": "text/event-stream"}
        answer = httpx.request(verb, f"{stage.base}/mcp/{stage.private.slug}", headers=headers, timeout=20)

        assert answer.status_code == 404
        assert len(stage.upstream.asked) == asked


class TestAllServersAsOne:
    """`POST /mcp`: every method, for every caller. What names a server is that server's; what is left shows one's own alone."""

    @pytest.mark.parametrize("method", MODERN)
    def test_each_caller_gets_what_is_theirs(self, stage, method):
        asked = len(stage.upstream.asked)
        ours, theirs = stage.count(stage.ours), stage.count(stage.theirs)
        if method == "subscriptions/listen":
            assert self.send(stage, "nobody", method).status_code == 401
            return
        answers = {actor: self.send(stage, actor, method) for actor in ("colleague", "other", "nobody")}

        assert answers["nobody"].status_code == 401
        for answer in answers.values():
            assert stage.upstream.word not in answer.text
            assert stage.private.slug not in answer.text or "error" in answer.json()
        if method in NAMING:
            assert reason_of(answers["colleague"]) == "no_matching_grant"
            assert reason_of(answers["other"]) == "server_unknown"
            assert len(stage.upstream.asked) == asked
        assert (stage.count(stage.ours), stage.count(stage.theirs)) == (ours + 1, theirs + 1)

    @pytest.mark.parametrize("method", sorted(NAMING))
    def test_the_owner_reaches_the_server(self, stage, method):
        assert stage.upstream.word in self.send(stage, "owner", method).text
        assert stage.last(stage.ours).server_id == stage.private.pk

    @staticmethod
    def send(stage: Stage, actor: str, method: str) -> httpx.Response:
        slug = stage.private.slug
        params: dict[str, Any] = {"_meta": META}
        if method == "completion/complete":
            params |= {"ref": {"type": "ref/prompt", "name": f"{slug}__p"}, "argument": {"name": "a", "value": ""}}
        name = f"mcp://{slug}/x://y" if method == "resources/read" else f"{slug}__{TOOL}"
        params |= {"uri": name} if method == "resources/read" else {"name": name}
        headers = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": method,
            "mcp-name": name,
            **({"authorization": f"Bearer {stage.keys[actor]}"} if actor in stage.keys else {}),
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return httpx.post(f"{stage.base}/mcp", json=body, headers=headers, timeout=20)


class TestSessions:
    def test_a_session_of_another_key_or_server_is_not_there(self, stage):
        opened = stage.send("owner", stage.public.slug, "initialize")
        session = opened.headers["mcp-session-id"]
        assert stage.upstream.word not in session
        assert stage.send("owner", stage.public.slug, "tools/list", **{"mcp-session-id": session}).status_code == 200
        asked = len(stage.upstream.asked)

        for actor, server in (("other", stage.public), ("owner", stage.private)):
            answer = stage.send(actor, server.slug, "tools/list", **{"mcp-session-id": session})
            assert answer.status_code == 404
            assert stage.upstream.word not in answer.text
        assert len(stage.upstream.asked) == asked

    def test_an_altered_or_invented_session_is_not_there(self, stage):
        session = stage.send("owner", stage.public.slug, "initialize").headers["mcp-session-id"]
        asked = len(stage.upstream.asked)
        for wrong in (session[:-2], session.swapcase(), f"s-{stage.upstream.word}", "x", session + "."):
            answer = stage.send("owner", stage.public.slug, "tools/list", **{"mcp-session-id": wrong})
            assert answer.status_code == 404
        assert len(stage.upstream.asked) == asked


class TestCredentials:
    def test_no_credential_of_a_caller_reaches_the_server(self, stage):
        stage.upstream.seen_headers.clear()
        stage.send(
            "owner", stage.private.slug, "tools/call", cookie="session=abc", **{"x-api-key": stage.keys["owner"]}
        )
        (seen,) = stage.upstream.seen_headers

        assert stage.keys["owner"].encode() not in b"\n".join(seen.values())
        assert not {b"authorization", b"x-api-key", b"cookie"} & set(seen)

    def test_a_browser_s_session_is_no_credential(self, stage):
        from django.test import Client

        browser = Client()
        browser.force_login(Cast.load().alice)
        cookie = f"session={browser.cookies['session'].value}"

        assert stage.send("nobody", stage.private.slug, "tools/list", cookie=cookie).status_code == 401

    def test_a_key_in_the_address_is_no_credential(self, stage):
        for name in ("key", "api_key", "access_token", "token"):
            answer = httpx.post(
                f"{stage.base}/mcp/{stage.private.slug}?{name}={stage.keys['owner']}",
                json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
                headers={"accept": "application/json, text/event-stream"},
            )
            assert answer.status_code == 401
