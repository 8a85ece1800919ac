"""What a server answers, with the URIs in it as they are called at the aggregated endpoint; everything else stays as it is.

`ui://` keeps its form, because hosts know an interface by it: such a resource is found by looking who lists it.
"""

from __future__ import annotations

from typing import Any

from catalog import names

Json = dict[str, Any]


def of_server(slug: str, method: str, message: Json) -> Json:
    """A message of a server for the client of the aggregated endpoint."""
    if "error" in message:
        return _error(slug, message)
    result = message.get("result")
    if not isinstance(result, dict):
        return _notification(slug, message)
    match method:
        case "tools/call":
            return {**message, "result": _with_blocks(slug, result)}
        case "tasks/get":
            inner = result.get("result")
            if isinstance(inner, dict):
                result = {**result, "result": _with_blocks(slug, inner)}
            return {**message, "result": result}
        case "prompts/get":
            messages = result.get("messages")
            if isinstance(messages, list):
                result = {**result, "messages": [_prompt_message(slug, each) for each in messages]}
            return {**message, "result": result}
        case "resources/read":
            contents = result.get("contents")
            if isinstance(contents, list):
                result = {**result, "contents": [_with_uri(slug, each) for each in contents]}
            return {**message, "result": result}
    return message


def listed(slug: str, method: str, item: Json) -> Json:
    """An item of a list under its name at the aggregated endpoint."""
    match method:
        case "tools/list" | "prompts/list":
            name = item.get("name")
            return {**item, "name": names.expose(slug, name)} if isinstance(name, str) else item
        case "resources/templates/list":
            template = item.get("uriTemplate")
            return {**item, "uriTemplate": _uri(slug, template)} if isinstance(template, str) else item
    return _with_uri(slug, item)


def _notification(slug: str, message: Json) -> Json:
    if message.get("method") == "notifications/resources/updated" and isinstance(message.get("params"), dict):
        return {**message, "params": _with_uri(slug, message["params"])}
    return message


def _error(slug: str, message: Json) -> Json:
    error = message["error"]
    if isinstance(error, dict) and isinstance(error.get("data"), dict) and "uri" in error["data"]:
        return {**message, "error": {**error, "data": _with_uri(slug, error["data"])}}
    return message


def _with_blocks(slug: str, result: Json) -> Json:
    content = result.get("content")
    return {**result, "content": [_block(slug, each) for each in content]} if isinstance(content, list) else result


def _prompt_message(slug: str, message: Any) -> Any:
    return {**message, "content": _block(slug, message.get("content"))} if isinstance(message, dict) else message


def _block(slug: str, block: Any) -> Any:
    if not isinstance(block, dict):
        return block
    if block.get("type") == "resource_link":
        return _with_uri(slug, block)
    if block.get("type") == "resource":
        return {**block, "resource": _with_uri(slug, block.get("resource"))}
    return block


def _with_uri(slug: str, item: Any) -> Any:
    if isinstance(item, dict) and isinstance(item.get("uri"), str):
        return {**item, "uri": _uri(slug, item["uri"])}
    return item


def _uri(slug: str, uri: str) -> str:
    return uri if uri.startswith("ui://") else names.expose_uri(slug, uri)
