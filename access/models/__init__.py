"""Rows of access, one module a subject. All of them live in the organisation's schema."""

from access.models.connection import (
    ConnectAttempt,
    CredentialKind,
    CredentialStatus,
    OAuthClient,
    UpstreamCredential,
)
from access.models.grant import TRUST_CHOICES, Grant, Origin
from access.models.limit import Limit
from access.models.playground import PlaygroundRun, RunShows, RunState
from access.models.session import AgentSession

__all__ = [
    "TRUST_CHOICES",
    "AgentSession",
    "ConnectAttempt",
    "CredentialKind",
    "CredentialStatus",
    "Grant",
    "Limit",
    "OAuthClient",
    "Origin",
    "PlaygroundRun",
    "RunShows",
    "RunState",
    "UpstreamCredential",
]
