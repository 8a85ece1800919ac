"""LiteLLM's proxy with one MCP server in its configuration."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator

from bench.rivals.place import Place, Started, call, port

REQUIREMENT = "litellm[proxy]"


@contextlib.contextmanager
def start(place: Place) -> Iterator[Started]:
    at, key = port(), f"sk-{secrets.token_hex(16)}"
    server = {"url": place.upstream, "transport": "http", "allow_all_keys": True}
    settings = {
        "model_list": [],
        "mcp_servers": {"bench": server},
        "general_settings": {"master_key": key},
        "litellm_settings": {"set_verbose": False, "telemetry": False},
    }
    # YAML is a superset of JSON.
    (place.folder / "config.yaml").write_text(json.dumps(settings), encoding="utf-8")
    options = ("--host", "127.0.0.1", "--port", str(at), "--num_workers", "1")
    environment = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_DOCS": "True"}
    with place.run(("litellm", "--config", str(place.folder / "config.yaml"), *options), environment) as child:
        yield Started(child, at, call("/mcp", "bench-echo", key))
