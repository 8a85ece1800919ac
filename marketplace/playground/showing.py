"""A run as people see it: the result in parts, the raw exchange without secrets, and only what its owner shows. Pure.

Everything that came back was written by strangers: texts are escaped by templates, pictures are shown only when they are
pictures.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.mcp import sse
from marketplace.playground import masks

IMAGE_BYTES_MAX: Final = 400 * 1024
PARTS_MAX: Final = 50
TEXT_MAX: Final = 60_000
_PICTURES = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a result. `kind`: text | json | image | link | other"""

    kind: str
    text: str = ""
    url: str = ""  # of an image, as data
    label: str = ""
    value: Any = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What one person sees of a run. `arguments` is None where they are not shown."""

    arguments: dict[str, Any] | None
    parts: list[Part] = field(default_factory=list)
    structured: Any = None
    has_structured: bool = False
    error: str = ""
    next_step: str = ""
    request_url: str = ""
    approve_url: str = ""
    code: str = ""
    asks_input: bool = False
    request_text: str = ""
    response_text: str = ""
    progress: list[str] = field(default_factory=list)
    hides_result: bool = False


def shown(content: dict[str, Any], *, arguments: str = "all", result: bool = True, masked: bool = False) -> Shown:
    """`arguments`: all | masked | nothing; `masked`: hide secrets of the arguments in the result as well."""
    given = content.get("arguments") or {}
    exchange = content.get("exchange") or {}
    secrets = masks.secrets_in(given)
    seen = {"all": given, "masked": masks.masked(given)}.get(arguments)
    answer = _answer(exchange)
    if masked:
        answer = masks.hide_in(answer, secrets)
    error, found = _object(answer.get("error")), _object(answer.get("result"))
    data = _object(error.get("data"))
    told = result or not found  # a refusal is the marketplace's own, and no result
    return Shown(
        arguments=seen,
        parts=_parts(found) if told else [],
        structured=found.get("structuredContent") if told else None,
        has_structured=told and "structuredContent" in found,
        error=_failure(exchange, error),
        next_step=_text(data.get("next_step")),
        request_url=_text(data.get("request_url")),
        approve_url=_text(data.get("approve_url")),
        code=_text(data.get("code")),
        asks_input=found.get("resultType") == "input_required" or "inputRequests" in found,
        request_text=_request_text(exchange, secrets, has_body=arguments != "nothing"),
        response_text=_response_text(exchange, secrets) if told else "",
        progress=_progress(exchange),
        hides_result=not told,
    )


def _answer(exchange: dict[str, Any]) -> dict[str, Any]:
    found = [each for each in exchange.get("messages") or [] if isinstance(each, dict) and sse.is_answer(each)]
    return found[-1] if found else {}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value[:2000] if isinstance(value, str) else ""


def _failure(exchange: dict[str, Any], error: dict[str, Any]) -> str:
    if error:
        return _text(error.get("message")) or "The call was refused."
    if failure := _text(exchange.get("failure")):
        return failure
    if exchange.get("truncated"):
        return "The answer was too large to be kept whole."
    if exchange and not _answer(exchange):
        return f"The gateway answered HTTP {exchange.get('status')} without a result."
    return ""


def _parts(result: dict[str, Any]) -> list[Part]:
    content = result.get("content")
    return [_part(each) for each in (content if isinstance(content, list) else [])[:PARTS_MAX]]


def _part(block: Any) -> Part:
    if not isinstance(block, dict):
        return Part("json", value=block)
    kind = block.get("type")
    if kind == "text" and isinstance(block.get("text"), str):
        return _text_part(block["text"])
    if kind == "image":
        return _image(block)
    if kind == "resource_link":
        return Part("link", text=_text(block.get("uri")), label=_text(block.get("title") or block.get("name")))
    inner = block.get("resource")
    if kind == "resource" and isinstance(inner, dict) and isinstance(inner.get("text"), str):
        return Part("text", text=inner["text"][:TEXT_MAX], label=_text(inner.get("uri")))
    return Part("other", label=_text(kind) or "part without a type", value=_brief(block))


def _text_part(text: str) -> Part:
    """Text, or a tree where the whole text is a JSON object or list."""
    if text.lstrip()[:1] in {"{", "["} and len(text) <= TEXT_MAX:
        try:
            return Part("json", value=json.loads(text))
        except (ValueError, RecursionError):
            pass
    return Part("text", text=text[:TEXT_MAX])


def _image(block: dict[str, Any]) -> Part:
    """A picture whose bytes are of the kind that it claims to be, and of one that cannot run anything."""
    kind, data = block.get("mimeType"), block.get("data")
    if isinstance(data, str) and isinstance(kind, str) and kind in _PICTURES and len(data) < IMAGE_BYTES_MAX * 4 // 3:
        try:
            raw = base64.b64decode(data, validate=True)
        except (ValueError, binascii.Error):
            raw = b""
        if raw.startswith(_PICTURES[kind]):
            return Part("image", url=f"data:{kind};base64,{base64.b64encode(raw).decode()}", label=kind)
    return Part("other", label="Picture that cannot be shown safely", value=_brief(block))


def _brief(block: dict[str, Any]) -> Any:
    """The block without its bulk."""
    return {
        name: f"{len(value)} characters" if isinstance(value, str) and name in {"data", "blob"} else value
        for name, value in block.items()
    }


def _progress(exchange: dict[str, Any]) -> list[str]:
    found = []
    for message in exchange.get("messages") or []:
        if isinstance(message, dict) and message.get("method") == "notifications/progress":
            told = _object(message.get("params"))
            found.append(_text(told.get("message")) or f"{told.get('progress')} of {told.get('total', '?')}")
    return found[-20:]


def _request_text(exchange: dict[str, Any], secrets: set[str], *, has_body: bool) -> str:
    request = exchange.get("request")
    if not isinstance(request, dict):
        return ""
    lines = [f"{request['method']} {request['path']} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request["headers"]]
    body = _pretty(request["body"]) if has_body else "(not shown)"
    head = masks.hide("\n".join(lines), secrets) if has_body else "\n".join(lines[:8])
    return f"{head}\n\n{_masked_body(body, secrets)}"


def _response_text(exchange: dict[str, Any], secrets: set[str]) -> str:
    if not exchange.get("status"):
        return ""
    lines = [f"HTTP/1.1 {exchange['status']}"]
    lines += [f"{name}: {value}" for name, value in exchange.get("headers") or []]
    body = str(exchange.get("body") or "")
    return masks.hide("\n".join(lines), secrets) + "\n\n" + _masked_body(_pretty(body), secrets)


def _pretty(text: str) -> str:
    try:
        return json.dumps(masks.masked(json.loads(text)), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text


def _masked_body(text: str, secrets: set[str]) -> str:
    escaped = {json.dumps(secret, ensure_ascii=False)[1:-1] for secret in secrets}
    return masks.hide(text, secrets | escaped)[:TEXT_MAX]
