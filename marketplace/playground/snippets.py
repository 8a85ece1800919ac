"""The same call in a shell, in Python and in TypeScript. Pure.

Names and arguments are whatever somebody typed: each is quoted by the rules of its language, and tests read every snippet back by
running it.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

KEY_VARIABLE = "MARKETPLACE_API_KEY"
_SAFE_INTEGER = 2**53 - 1


def snippets(public_url: str, server: str, tool: str, arguments: dict[str, Any]) -> list[dict[str, str]]:
    """For components/_snippets.html."""
    body = {"server": server, "tool": tool, "arguments": arguments}
    url = f"{public_url}/v1/invoke"
    return [
        {"label": "curl", "code": curl(url, body), "caption": "shell"},
        {"label": "Python", "code": python(url, body), "caption": "Python, standard library"},
        {"label": "TypeScript", "code": typescript(url, body), "caption": "TypeScript or JavaScript, fetch"},
    ]


def curl(url: str, body: dict[str, Any]) -> str:
    return (
        f"curl -sS {shlex.quote(url)} \\\n"
        f'  -H "Authorization: Bearer ${KEY_VARIABLE}" \\\n'
        f"  -H 'Content-Type: application/json' \\\n"
        f"  --data-raw {shlex.quote(json.dumps(body, ensure_ascii=False))}"
    )


def python(url: str, body: dict[str, Any]) -> str:
    return (
        "import json, os, urllib.request\n\n"
        f"body = {_python(body)}\n"
        "request = urllib.request.Request(\n"
        f"    {url!a},\n"
        "    data=json.dumps(body).encode(),\n"
        "    headers={\n"
        f'        "Authorization": "Bearer " + os.environ["{KEY_VARIABLE}"],\n'
        '        "Content-Type": "application/json",\n'
        "    },\n"
        ")\n"
        "with urllib.request.urlopen(request) as answer:\n"
        "    print(json.load(answer))"
    )


def typescript(url: str, body: dict[str, Any]) -> str:
    literal = (
        f"JSON.stringify({_script(body)})" if _is_exact(body) else json.dumps(json.dumps(body, ensure_ascii=False))
    )
    return (
        f"const answer = await fetch({json.dumps(url)}, {{\n"
        '  method: "POST",\n'
        "  headers: {\n"
        f'    Authorization: "Bearer " + process.env.{KEY_VARIABLE},\n'
        '    "Content-Type": "application/json",\n'
        "  },\n"
        f"  body: {literal},\n"
        "})\n"
        "console.log(await answer.json())"
    )


def _python(value: Any) -> str:
    """A Python literal of a JSON value: one member a line at the top, ASCII only."""
    members = ",\n".join(f"    {name!a}: {each!a}" for name, each in value.items())
    return f"{{\n{members},\n}}"


def _script(value: Any) -> str:
    return json.dumps(value, indent=2).replace("\n", "\n  ")


def _is_exact(value: Any) -> bool:
    """Whether the JSON text of a value, read as JavaScript, means the same: not for large numbers, nor for `__proto__`."""
    if isinstance(value, dict):
        return "__proto__" not in value and all(_is_exact(each) for each in value.values())
    if isinstance(value, list):
        return all(_is_exact(each) for each in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= _SAFE_INTEGER
    # 1.0 is written 1 by JavaScript.
    return not (isinstance(value, float) and value.is_integer())
