"""What MCP Runtime's two authoring formats share: the description of one server, its rules and its defaults. Pure.

Rules and defaults: Agent-Hellboy/mcp-runtime `api/v1alpha1/{mcpserver_types,validation}.go` and `pkg/metadata/loader.go`. As
there, a description that breaks a rule is refused as a whole: a server that is governed otherwise than was written down would
be worse than none. Blocks (`auth`, `policy`, `session`, `gateway`, `analytics`, `rollout`) are filled only where they stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from catalog.formats import claims
from catalog.formats.commands import looks_secret
from catalog.formats.normal import JSON, Entry, Input, Package, ToolClaim, Transport
from catalog.formats.reading import Node

PORT, SERVICE_PORT, GATEWAY_PORT = 8088, 80, 8091
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
NAME_MAX = 63
AUTH_MODES = ("none", "header", "oauth", "mtls")
POLICY_MODES = ("allow-list", "observe")
SCOPES = ("tenant", "org", "public")

_AUTH = {
    "mode": "header",
    "humanIDHeader": "X-MCP-Human-ID",
    "agentIDHeader": "X-MCP-Agent-ID",
    "teamIDHeader": "X-MCP-Team-ID",
    "sessionIDHeader": "X-MCP-Agent-Session",
    "tokenHeader": "Authorization",
}
_POLICY = {"mode": "allow-list", "defaultDecision": "deny", "enforceOn": "call_tool", "policyVersion": "v1"}
_SESSION = {
    "required": False,
    "store": "kubernetes",
    "headerName": "X-MCP-Agent-Session",
    "maxLifetime": "24h",
    "idleTimeout": "1h",
    "upstreamTokenHeader": "Authorization",
}
_ROLLOUT = {"strategy": "RollingUpdate", "maxUnavailable": "25%", "maxSurge": "25%"}
_SHARE = re.compile(r"\d{1,3}%\Z")
# What becomes a field of the entry; everything else that is written stays as it is in `extra`.
_MAPPED = ("description", "tools", "prompts", "mcpResources", "tasks", "image", "imageTag", "envVars", "secretEnvVars")


def read_server(node: Node, name: str, fmt: str, *, image: str, path: str, extra: JSON) -> Entry | None:
    """The entry of one description, or None with the rules that it breaks. `path` is where it answers."""
    before = len(node.reading.problems)
    port = node.whole("port", least=1, most=65_535) or PORT
    tools = tuple(_tools(node))
    spec = _spec(node, name, port)
    environment = (*_variables(node), *_secret_variables(node))
    reference = _with_tag(image, node.text("imageTag", most=200).strip())
    entry = Entry(
        name=name,
        format=fmt,
        title=name,
        description=node.text("description"),
        packages=(
            Package(
                registry_type="oci",
                identifier=reference,
                transport=Transport("streamable-http", url=f"http://localhost:{port}{path}"),
                environment=environment,
            ),
        ),
        tools=tools,
        resources=claims.read_claims(node, "mcpResources"),
        prompts=claims.read_claims(node, "prompts"),
        tasks=claims.read_claims(node, "tasks"),
        auth_mode=str(spec.get("auth", {}).get("mode", "")),
        requirements={"resources": node.mapping("resources")} if "resources" in node else {},
        extra=extra | {"spec": spec},
    )
    return entry if len(node.reading.problems) == before else None


def good_server_name(node: Node) -> str:
    name = node.text("name").strip()
    if not name:
        node.report("name", "is missing")
    elif len(name) > NAME_MAX or not NAME.match(name):
        node.report("name", "is not a name of at most 63 lower-case letters, digits and hyphens")
    else:
        return name
    return ""


def _with_tag(image: str, tag: str) -> str:
    """The image with its tag: `latest`, unless a digest or a tag stands behind the last slash already."""
    last = image.rpartition("/")[2]
    if "@" in last or ":" in last:
        return image
    return f"{image}:{tag or 'latest'}"


def split_image(reference: str) -> tuple[str, str]:
    """The image and its tag; the tag is blank behind a digest."""
    head, slash, last = reference.rpartition("/")
    if "@" in last:
        return reference, ""
    name, _, tag = last.partition(":")
    return f"{head}{slash}{name}", tag


def _tools(node: Node) -> Iterator[ToolClaim]:
    before = len(node.reading.problems)
    tools = claims.read_tools(node)
    is_said = len(node.reading.problems) > before
    for tool in tools:
        if not tool.side_effect and not is_said:
            node.report(f"tools.{tool.name}.sideEffect", "is missing: one of read, write, destructive")
        yield replace(tool, required_trust=tool.required_trust or "low")


def _variables(node: Node) -> Iterator[Input]:
    for each in node.nodes("envVars", count=200):
        if name := each.text("name", most=500).strip():
            value = each.text("value")
            yield Input(name=name, value=value, is_secret=looks_secret(name))
        else:
            each.report("name", "is missing")


def _secret_variables(node: Node) -> Iterator[Input]:
    for each in node.nodes("secretEnvVars", count=200):
        name, reference = each.text("name", most=500).strip(), each.node("secretKeyRef")
        secret, key = reference.text("name", most=500), reference.text("key", most=500)
        if name and secret and key:
            where = {"secretKeyRef": reference.data}
            yield Input(name=name, is_required=True, is_secret=True, extra=where)
        else:
            each.report("", "needs a name and a secretKeyRef with name and key")


def _spec(node: Node, name: str, port: int) -> JSON:
    """Everything that the entry has no field for, with the defaults that the platform would fill in."""
    spec = {key: value for key, value in node.data.items() if key not in _MAPPED and value is not None}
    spec["replicas"] = _number(node, "replicas", least=0, most=1_000, default=1)
    spec["port"] = port
    for key, check in _BLOCKS.items():
        if key in node:
            spec[key] = check(node.node(key), spec, name)
    if spec.get("gateway", {}).get("port") == port:
        node.report("gateway.port", "must not be the port of the server")
    _team(node)
    return spec


def _number(node: Node, key: str, *, least: int, most: int, default: int) -> int:
    found = node.whole(key, least=least, most=most)
    return default if found is None else found


def _team(node: Node) -> None:
    team = node.text("teamID")
    if len(team) > 128 or any(letter.isspace() for letter in team):
        node.report("teamID", "has at most 128 characters and no spaces")


def _auth(node: Node, spec: JSON, name: str) -> JSON:
    found = _AUTH | node.data | {"mode": node.choice("mode", among=AUTH_MODES, default="header")}
    if found["mode"] == "oauth" and not node.text("issuerURL"):
        node.report("issuerURL", "is needed when mode is oauth")
    if found["mode"] == "mtls":
        if not node.text("trustDomain"):
            node.report("trustDomain", "is needed when mode is mtls")
        gateway = spec.get("gateway")
        if not (isinstance(gateway, dict) and gateway.get("enabled")):
            node.report("mode", "mtls needs gateway.enabled")
        if spec.get("ingressClass", "traefik") != "traefik":
            node.report("mode", "mtls needs the ingressClass traefik")
    return found


def _policy(node: Node, spec: JSON, name: str) -> JSON:
    mode = node.choice("mode", among=POLICY_MODES, default="allow-list")
    decision = node.choice("defaultDecision", among=("allow", "deny"), default="deny")
    return _POLICY | node.data | {"mode": mode, "defaultDecision": decision}


def _session(node: Node, spec: JSON, name: str) -> JSON:
    return _SESSION | node.data | {"required": node.flag("required")}


def _gateway(node: Node, spec: JSON, name: str) -> JSON:
    port = _number(node, "port", least=1, most=65_535, default=GATEWAY_PORT)
    return (
        {"upstreamURL": f"http://127.0.0.1:{spec['port']}"}
        | node.data
        | {"port": port, "enabled": node.flag("enabled")}
    )


def _analytics(node: Node, spec: JSON, name: str) -> JSON:
    gateway = spec.get("gateway")
    told = [key for key in ("ingestURL", "source", "eventType", "apiKeySecretRef") if key in node]
    if told and not (isinstance(gateway, dict) and gateway.get("enabled")):
        node.report(told[0], "is only taken when gateway.enabled is true")
    if "apiKeySecretRef" in node:
        reference = node.node("apiKeySecretRef")
        if not (reference.text("name") and reference.text("key")):
            node.report("apiKeySecretRef", "needs name and key")
    defaults = {"source": f"{name}-gateway", "eventType": "mcp.request"}
    return defaults | node.data | {"disabled": node.flag("disabled")}


def _rollout(node: Node, spec: JSON, name: str) -> JSON:
    strategies = {"rollingupdate": "RollingUpdate", "recreate": "Recreate", "canary": "Canary"}
    strategy = node.choice("strategy", among=tuple(strategies), default="rollingupdate")
    for key in ("maxUnavailable", "maxSurge"):
        _share(node, key)
    if strategy == "canary":
        replicas = node.whole("canaryReplicas", least=1, most=1_000)
        if replicas is None or replicas >= spec["replicas"]:
            node.report("canaryReplicas", "is a number from 1 to below replicas")
    return _ROLLOUT | node.data | {"strategy": strategies[strategy]}


def _share(node: Node, key: str) -> None:
    _, value = node.get(key)
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    is_share = isinstance(value, str) and (_SHARE.match(value) or value.isdecimal())
    if value is not None and not is_count and not is_share:
        node.report(key, "is a number of at least 0, or a share such as 25%")


# `gateway` first: others ask whether it is on.
_BLOCKS: dict[str, Callable[[Node, JSON, str], JSON]] = {
    "gateway": _gateway,
    "auth": _auth,
    "policy": _policy,
    "session": _session,
    "analytics": _analytics,
    "rollout": _rollout,
}


def write_server(entry: Entry) -> JSON:
    """What both formats say of one server, without its name."""
    images = [package for package in entry.packages if package.registry_type == "oci"]
    if not images:
        raise ValueError(f"{entry.name!r} has no image, which the format needs")
    image, tag = split_image(images[0].identifier)
    variables = [each for each in images[0].environment if "secretKeyRef" not in each.extra]
    secrets = [each for each in images[0].environment if "secretKeyRef" in each.extra]
    document: dict[str, Any] = {
        "description": entry.description,
        "image": image,
        "imageTag": tag,
        "envVars": [{"name": each.name, "value": each.value or each.default} for each in variables],
        "secretEnvVars": [{"name": each.name, **each.extra} for each in secrets],
        "tools": claims.write_tools(entry.tools),
        "prompts": claims.write_claims(entry.prompts),
        "mcpResources": claims.write_claims(entry.resources),
        "tasks": claims.write_claims(entry.tasks),
    }
    return {key: value for key, value in document.items() if value} | entry.extra.get("spec", {})
