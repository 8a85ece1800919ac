"""One hand-written entry of each format, with what makes the format odd."""

from __future__ import annotations

from typing import Any

DOCKER: dict[str, Any] = {
    "name": "mail",
    "image": "mcp/mail",
    "type": "server",
    "meta": {"category": "communication", "tags": ["mail", "smtp"]},
    "about": {"title": "Mail", "description": "Sends mail.", "icon": "https://acme.example/i.png"},
    "source": {"project": "https://github.com/acme/mail", "commit": "abc", "directory": "src/mail"},
    "run": {"command": ["--level={{mail.level}}"], "volumes": ["{{mail.folder}}:/data"], "env": {"MODE": "fast"}},
    "config": {
        "description": "How to reach the server",
        "secrets": [{"name": "mail.key", "env": "MAIL_KEY", "example": "<key>"}],
        "env": [{"name": "MAIL_HOST", "example": "smtp", "value": "{{mail.host}}"}, {"name": "PORT", "value": 25}],
        "parameters": {
            "type": "object",
            "properties": {"host": {"type": "string", "description": "The host"}, "level": {"default": "info"}},
            "required": ["host"],
        },
    },
    "tools": [
        {
            "name": "send",
            "description": "Sends",
            "arguments": [
                {"name": "to", "type": "string", "desc": "Whom"},
                {"name": "copies", "type": "array", "items": {"type": "string"}, "optional": True},
            ],
        },
        {"name": "read", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
    ],
}
DOCKER_REMOTE: dict[str, Any] = {
    "name": "mail-remote",
    "type": "remote",
    "meta": {"category": "communication", "tags": []},
    "about": {"title": "Mail", "icon": "https://acme.example/i.png"},
    "remote": {
        "transport_type": "sse",
        "url": "https://mail.example/sse",
        "headers": {"Authorization": "Bearer ${MAIL_KEY}"},
    },
    "config": {"secrets": [{"name": "mail.key", "env": "MAIL_KEY"}]},
}
CONTEXTFORGE: dict[str, Any] = {
    "id": "mail",
    "name": "Mail",
    "category": "Communication",
    "url": "https://mail.example/sse",
    "auth_type": "OAuth2.1 & API Key",
    "provider": "Acme",
    "description": "Sends mail",
    "requires_api_key": True,
    "secure": True,
    "tags": ["mail"],
    "logo_url": "https://acme.example/i.png",
    "documentation_url": "https://acme.example/docs",
    "repo": "https://github.com/acme/mail",
}
MCPM: dict[str, Any] = {
    "name": "mail",
    "display_name": "Mail",
    "description": "Sends mail",
    "repository": {"type": "git", "url": "https://github.com/acme/mail"},
    "homepage": "https://acme.example",
    "author": {"name": "Acme", "url": "https://acme.example"},
    "license": "MIT",
    "categories": ["Communication", "Office"],
    "tags": ["mail"],
    "arguments": {"MAIL_KEY": {"description": "Your key", "required": True, "example": "k"}},
    "installations": {
        "uvx": {"type": "uvx", "command": "uvx", "args": ["--from", "acme-mail==2.0", "mail", "--key", "${MAIL_KEY}"]},
        "npm": {
            "type": "npm",
            "command": "npx",
            "args": ["-y", "@acme/mail@1.2.0", "--fast"],
            "env": {"MAIL_KEY": "${MAIL_KEY}", "MODE": "slow"},
            "recommended": True,
        },
        "docker": {
            "type": "docker",
            "command": "docker",
            "args": ["run", "-i", "--rm", "-e", "MAIL_KEY", "acme/mail:3"],
        },
        "custom": {"type": "custom", "command": "node", "args": ["/path/to/index.js"]},
        "http": {"type": "http", "url": "https://mail.example/mcp"},
    },
    "examples": [{"title": "Send", "prompt": "Send a mail"}],
    "tools": [{"name": "send", "description": "Sends", "inputSchema": {"type": "object"}, "category": "x"}],
    "resources": [{"uri": "mail://1", "name": "box", "mimeType": "text/plain"}, {"uri": "mail://2", "name": "box"}],
    "prompts": [{"name": "write", "description": "Writes", "arguments": []}],
    "is_archived": True,
    "docker_url": "https://hub.docker.example/acme/mail",
}
MANIFEST: dict[str, Any] = {
    "apiVersion": "mcpruntime.org/v1alpha1",
    "kind": "MCPServer",
    "metadata": {"name": "mail", "namespace": "mcp-servers", "labels": {"a": "b"}},
    "spec": {
        "teamID": "team-a",
        "description": "Sends mail.",
        "image": "registry.example:5000/acme/mail",
        "publicPathPrefix": "post",
        "port": 9000,
        "envVars": [{"name": "MODE", "value": "fast"}],
        "secretEnvVars": [{"name": "MAIL_KEY", "secretKeyRef": {"name": "mail", "key": "key"}}],
        "tools": [
            {
                "name": "send",
                "description": "Sends",
                "requiredTrust": "high",
                "sideEffect": "write",
                "riskLevel": "low",
            },
            {"name": "read", "sideEffect": "read", "labels": {"x": "y"}},
        ],
        "prompts": [{"name": "write", "description": "Writes"}],
        "mcpResources": [{"name": "box"}],
        "tasks": [{"name": "send"}],
        "gateway": {"enabled": True},
        "auth": {"mode": "oauth", "issuerURL": "https://id.example"},
        "policy": {"mode": "observe"},
        "session": {"required": True},
        "analytics": {"ingestURL": "https://in.example", "apiKeySecretRef": {"name": "a", "key": "b"}},
        "rollout": {"strategy": "Canary", "canaryReplicas": 1},
        "replicas": 3,
    },
}
METADATA: dict[str, Any] = {
    "version": "v1",
    "servers": [
        {
            "name": "mail",
            "description": "Sends mail.",
            "scope": " Org ",
            "route": "post/mcp",
            "tools": [{"name": "send", "sideEffect": "write"}],
        },
        {"name": "bare"},
    ],
}
MCPB: dict[str, Any] = {
    "manifest_version": "0.3",
    "name": "mail",
    "display_name": "Mail",
    "version": "1.2.3",
    "description": "Sends mail",
    "long_description": "Sends mail, **boldly**.",
    "author": {"name": "Acme", "email": "x@acme.example"},
    "repository": {"type": "git", "url": "https://github.com/acme/mail"},
    "homepage": "https://acme.example",
    "documentation": "https://acme.example/docs",
    "icon": "icon.png",
    "screenshots": ["https://acme.example/1.png", "shots/2.png"],
    "license": "MIT",
    "keywords": ["mail"],
    "server": {
        "type": "node",
        "entry_point": "index.js",
        "mcp_config": {
            "command": "node",
            "args": ["${__dirname}/index.js", "--folder=${user_config.folder}"],
            "env": {"MAIL_KEY": "${user_config.key}"},
        },
    },
    "user_config": {
        "key": {"type": "string", "title": "Key", "sensitive": True, "required": True, "default": "never shown"},
        "folder": {"type": "directory", "title": "Folder", "multiple": True, "default": ["${HOME}"]},
        "most": {"type": "number", "title": "Most", "default": 10, "min": 1, "max": 50},
    },
    "tools": [{"name": "send", "description": "Sends"}],
    "prompts": [{"name": "write", "arguments": ["to"]}],
    "compatibility": {"platforms": ["darwin"], "runtimes": {"node": ">=18"}},
    "localization": {"default_locale": "en"},
}
