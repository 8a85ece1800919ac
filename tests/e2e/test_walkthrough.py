"""The payments walk-through (requirements A19, S2) with the demo's server, from MCP Runtime's files: by API and on the pages.

The files are those of the governed agent, with the tools of the payments server in place of its own. As they are, nothing
passes. Mended, invoices are listed and a refund is refused below trust; an approved request lets it pass for an hour, and not
longer. Nobody waits for the hour: what was given is brought to its end in the database.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import httpx
import pytest

from tests.e2e.conftest import THEMES, WIDTHS
from tests.e2e.furnish import log_in, shell
from tests.e2e.test_main_path import axe_faults
from tests.support.processes import wait_until
from tests.support.stack import RunningStack, data_folder, running_stack

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("walkthrough")]

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "mcp-runtime" / "governed-agent" / "deploy"
# The grant and the session of the files, and the tools that they are about: one that only reads, one that needs more.
IN_PLACE_OF = {"governed-agent-demo-mcp": "payments", "slugify": "list_invoices", "upper": "refund_invoice"}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "walkthrough", "version": "1"},
}
ARGUMENTS = {"list_invoices": {"limit": 1}, "refund_invoice": {"invoice_id": "INV-1040", "amount": 1}}
REASON = "Refunds of the October invoices"

KEYS = """
from tenants.choices import Scope
from tenants.models import Tenant, User
from tenants.services import api_keys
acme, initech = (Tenant.objects.get(slug=slug) for slug in ("acme", "initech"))
for tenant, person, scope in (
    (acme, "alice@acme.example", Scope.INVOKE), (acme, "alice@acme.example", Scope.ADMIN),
    (acme, "bob@acme.example", Scope.ADMIN), (initech, "diana@initech.example", Scope.ADMIN),
):
    issued = api_keys.issue(
        tenant=tenant, name="{word}-" + scope, scopes=[scope], actor=User.objects.get(email=person), agent="{word}"
    )
    print("KEY", issued.text, issued.key.pk)
"""
ASSERT = """
from tenants.models import Tenant, User
from tenants.services import api_keys
api_keys.set_asserts_identity(
    tenant=Tenant.objects.get(slug="acme"), key_id="{key}", asserts=True, actor=User.objects.get(email="alice@acme.example")
)
"""
END = """
from access.models import AgentSession, Grant
from core import clock
from tenants.context import tenant_scope
from tenants.models import Tenant
from tenants.services import revisions
acme = Tenant.objects.get(slug="acme")
with tenant_scope(acme):
    assert {what}.objects.filter(subject_agent="{agent}", origin="request").update(expires_at=clock.now()) == 1
    revisions.touch(acme.pk)
"""
# What the rows of the calls say, one after the other.
STORY = [
    "side_effect_not_allowed",
    "allowed",
    "trust_too_low",
    "allowed",
    "trust_too_low",
    "session_expired",
    "allowed",
]
VERIFY = "from django.core.management import call_command; call_command('audit_verify')"


@pytest.fixture(scope="module")
def stack():
    if not SHARED.is_dir():
        pytest.skip("The shared data is not beside the project.")
    with data_folder() as data, running_stack(data) as running:
        yield running


class Scene:
    """One run of the walk: the files under names of its own, the keys of the people, and the agent that calls."""

    def __init__(self, stack: RunningStack) -> None:
        self.stack, self.word = stack, f"walk{uuid4().hex[:8]}"
        found = re.findall(r"KEY (\S+) (\S+)", shell(stack, KEYS.format(word=self.word)))
        (self.key, self.key_id), (self.alice, _), (self.bob, _), (self.diana, _) = found
        self.agent, self.session = f"ticket-triage-{self.word}", f"sess-{self.word}"

    def file(self, name: str, *, mended: bool = False) -> str:
        text = (SHARED / name).read_text()
        for old, new in IN_PLACE_OF.items():
            text = text.replace(old, new)
        text = text.replace("sess-ticket-triage-agent", self.session).replace("ticket-triage-agent", self.agent)
        text = text.replace("governed-agent-demo-grant", f"grant-{self.word}")
        if mended:
            assert "  maxTrust: high\n" in text
            text = text.replace("  maxTrust: high\n", "  maxTrust: medium\n  allowedSideEffects: [read, destructive]\n")
        return text

    def files(self, *, mended: bool = False) -> dict[str, str]:
        return {
            name: self.file(name, mended=mended and name == "grant.yaml") for name in ("grant.yaml", "session.yaml")
        }

    def call(self, tool: str, session: str = "") -> tuple[str, dict[str, Any]]:
        """The reason of the refusal, empty for none, and what the answer says beside it."""
        headers = {
            "authorization": f"Bearer {self.key}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": tool,
            "x-mcp-human-id": "support-lead",
            "x-mcp-agent-id": self.agent,
            "x-mcp-agent-session": session or self.session,
        }
        params = {"name": tool, "arguments": ARGUMENTS[tool], "_meta": META}
        content = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        answer = httpx.post(f"{self.stack.url}/mcp/payments", content=content, headers=headers, timeout=20)
        body = answer.json()
        if error := body.get("error"):
            assert answer.status_code in {403, 404}, answer.text
            return error["data"]["reason"], error["data"]
        return "", body["result"]

    def until(self, tool: str, reason: str, session: str = "") -> dict[str, Any]:
        """Wait until a change has reached the gateway; the answer says what it did."""
        seen: list[tuple[str, dict[str, Any]]] = []

        def _is_so() -> bool:
            seen[:] = [self.call(tool, session)]
            return seen[0][0] == reason

        try:
            wait_until(_is_so, reason or "allowed", deadline_s=20)
        except AssertionError as error:
            raise AssertionError(f"{error}; seen: {seen}") from None
        return seen[0][1]

    def end(self, what: str) -> None:
        shell(self.stack, END.format(what=what, agent=self.agent))


class Hands(Protocol):
    """How people do their part: by a program, or on the pages."""

    def govern(self) -> None: ...
    def apply(self, files: dict[str, str]) -> None: ...
    def ask(self, request_url: str) -> str: ...
    def approve(self, request: str) -> str: ...
    def look(self) -> None: ...


def walk(scene: Scene, hands: Hands) -> None:
    hands.govern()
    hands.apply(scene.files())
    # As they are, the files let nothing pass (requirements C6, Q10).
    scene.until("list_invoices", "side_effect_not_allowed")

    hands.apply(scene.files(mended=True))
    listed = scene.until("list_invoices", "")
    assert len(listed["structuredContent"]["invoices"]) == 1
    refused = scene.until("refund_invoice", "trust_too_low")

    request = hands.ask(refused["request_url"])
    assert scene.call("refund_invoice")[0] == "trust_too_low", "asking alone changes nothing"
    session = hands.approve(request)
    scene.until("refund_invoice", "", session)
    # The session that consented to less still does.
    assert scene.call("refund_invoice")[0] == "trust_too_low"

    scene.end("Grant")
    scene.until("refund_invoice", "trust_too_low", session)
    scene.end("AgentSession")
    scene.until("refund_invoice", "session_expired", session)
    assert scene.call("list_invoices")[0] == "", "what the files give is as it was"
    hands.look()


class Programs:
    """The people's part by the API, each with a key of theirs."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def _ask(self, method: str, path: str, key: str, status: int = 200, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {key}"}
        answer = httpx.request(method, f"{self.scene.stack.url}{path}", headers=headers, timeout=30, **more)
        assert answer.status_code == status, answer.text
        return answer.text if path.startswith("/api/v1/audit/") else answer.json()

    def _carry_out(self, key: str, files: dict[str, str]) -> dict[str, Any]:
        body = {"files": [{"name": name, "content": text} for name, text in files.items()]}
        planned = self._ask("POST", "/api/v1/access/plan/", key, json=body)
        assert planned["problems"] == []
        return self._ask("POST", "/api/v1/access/apply/", key, json=body | {"digest": planned["digest"]})

    def govern(self) -> None:
        name = "server.metadata.yaml"
        self._carry_out(self.scene.diana, {name: self.scene.file(name)})
        shell(self.scene.stack, ASSERT.format(key=self.scene.key_id))

    def apply(self, files: dict[str, str]) -> None:
        self._carry_out(self.scene.alice, files)

    def ask(self, request_url: str) -> str:
        asked = httpx.URL(request_url).params
        wish = {
            "server": asked["server"],
            "tools": [asked["tool"]],
            "trust": asked["trust"],
            "effect": asked["effect"],
            "agent": asked["agent"],
            "reason": REASON,
            "duration_h": 1,
            "wants_session": True,
        }
        return self._ask("POST", "/api/v1/access-requests/", self.scene.bob, 201, json=wish)["id"]

    def approve(self, request: str) -> str:
        path = f"/api/v1/access-requests/{request}/"
        found = self._ask("GET", path, self.scene.alice)
        decision = {"act": "approve", "digest": found["digest"]}
        self._ask("POST", path, self.scene.bob, 403, json=decision)
        done = self._ask("POST", path, self.scene.alice, json=decision)
        assert done["state"] == "approved"
        sessions = self._ask("GET", "/api/v1/sessions/", self.scene.alice)["sessions"]
        [session] = [each for each in sessions if each["id"] == done["session_id"]]
        assert (session["consented_trust"], session["subject"]["agent"]) == ("high", self.scene.agent)
        return session["name"]

    def look(self) -> None:
        scene = self.scene
        document = self._ask("GET", "/api/runtime/policy?namespace=mcp-servers&server=payments", scene.alice)
        assert f"grant-{scene.word}" in json.dumps(document)
        text = self._ask("GET", "/api/v1/audit/export/?what=audit&format=jsonl", scene.alice)
        events = [json.loads(line) for line in text.splitlines()]
        about = [
            event["action"] for event in events if scene.agent in json.dumps(event) or scene.word in json.dumps(event)
        ]
        assert [each for each in about if each.startswith("access:request")] == [
            "access:request:opened",
            "access:request:approved",
        ]
        assert about.count("access:grant:given") == 3, "as the files are, mended, and by the request"
        calls = self._ask("GET", "/api/v1/calls/?page_size=100", scene.alice)["results"]
        told = iter([each["reason"] for each in reversed(calls) if each["agent"] == scene.agent])
        assert all(reason in told for reason in STORY), (
            "in this order; beside them stands what was refused while news travelled"
        )
        checked = shell(scene.stack, VERIFY)
        assert "chain holds" in checked
        assert "broken" not in checked


class Pages:
    """The people's part in a browser, each in a window of their own."""

    def __init__(self, scene: Scene, open_page: Any, shoot: Any, folder: Path) -> None:
        self.scene, self.open_page, self.shoot, self.folder = scene, open_page, shoot, folder
        self.alice, self.bob = self._window("alice@acme.example"), self._window("bob@acme.example")

    def _window(self, address: str) -> Any:
        page = self.open_page()
        log_in(page, self.scene.stack, address)
        return page

    def _upload(self, page: Any, organisation: str, files: dict[str, str]) -> None:
        paths = []
        for name, text in files.items():
            paths.append(self.folder / name)
            paths[-1].write_text(text)
        page.goto(f"/o/{organisation}/access/files/")
        page.get_by_label("Files", exact=True).set_input_files(paths)
        page.get_by_role("button", name="Show what would change").click()
        page.get_by_role("heading", name=re.compile("What would change|Nothing would change")).wait_for()
        if page.get_by_role("button", name="Apply these changes").count():
            page.get_by_role("button", name="Apply these changes").click()
            page.get_by_text("Gateways follow within a second").wait_for()

    def govern(self) -> None:
        name = "server.metadata.yaml"
        self._upload(self._window("diana@initech.example"), "initech", {name: self.scene.file(name)})
        self.alice.goto(f"/o/acme/keys/{self.scene.key_id}/identity/")
        self.alice.get_by_role("button", name="Let it say for whom it calls").click()
        self.alice.wait_for_url("**/o/acme/keys/**")

    def apply(self, files: dict[str, str]) -> None:
        self._upload(self.alice, "acme", files)

    def ask(self, request_url: str) -> str:
        self.bob.goto(request_url)
        assert self.bob.get_by_role("checkbox", name=re.compile("refund_invoice")).is_checked()
        assert not self.bob.get_by_role("checkbox", name=re.compile("list_invoices")).is_checked()
        self.bob.get_by_label("For how long").select_option(label="1 hour")
        self.bob.get_by_label("What for").fill(REASON)
        self.bob.get_by_label("Open a session for an agent as well").check()
        self.bob.get_by_role("button", name="Request access").click()
        self.bob.get_by_role("heading", name="Access to Payments").wait_for()
        assert self.bob.get_by_role("button", name="Approve").count() == 0
        return str(self.bob.url)

    def approve(self, request: str) -> str:
        self.alice.goto(request)
        self.alice.get_by_role("button", name="Approve").click()
        self.alice.get_by_text("Holds until").wait_for()
        self.alice.goto("/o/acme/access/sessions/")
        row = self.alice.get_by_role("row").filter(has_text=f"{self.scene.agent} (agent)")
        assert "High" in row.inner_text()
        return str(row.locator("strong").get_attribute("title"))

    def look(self) -> None:
        agent = self.scene.agent
        pages = {
            "walk-decisions": f"/o/acme/audit/decisions/?agent={agent}",
            "walk-grants": "/o/acme/access/?state=all",
            "walk-sessions": "/o/acme/access/sessions/?state=all",
            "walk-audit": "/o/acme/audit/",
            "walk-policy": "/o/acme/access/policies/payments/",
        }
        self.alice.goto(pages["walk-decisions"])
        said = self.alice.get_by_role("table", name="Decisions, newest first").inner_text()
        for words in ("Allowed", "Refused", "list_invoices", "refund_invoice", "medium of high", "high of high"):
            assert words in said, words
        self.alice.goto(pages["walk-audit"])
        self.alice.get_by_role("button", name="Verify the chain").click()
        self.alice.get_by_text("The chain holds").wait_for()
        assert self.alice.get_by_text("access:request:approved").count() > 0
        self.bob.reload()
        self.bob.get_by_text("The access is expired").wait_for()
        pages["walk-request"] = str(self.bob.url)
        self._photograph(pages)

    def _photograph(self, pages: dict[str, str]) -> None:
        state, faults = self.alice.context.storage_state(), {}
        for theme in THEMES:
            for width in WIDTHS:
                page = self.open_page(theme, width, state)
                for name, path in pages.items():
                    page.goto(path)
                    self.shoot(page, name, theme, width)
                    faults[f"{name} {theme} {width}"] = axe_faults(page)
        assert {name: found for name, found in faults.items() if found} == {}


def test_the_payments_walk_through_by_api(stack: RunningStack) -> None:
    scene = Scene(stack)
    walk(scene, Programs(scene))


@pytest.mark.browser
def test_the_payments_walk_through_on_the_pages(stack: RunningStack, open_page, shoot, tmp_path) -> None:
    scene = Scene(stack)
    walk(scene, Pages(scene, open_page, shoot, tmp_path))
