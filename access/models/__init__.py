"""Rows of access, one module a subject. All of them live in the organisation's schema."""

from access.models.approval import ApprovalState, CallApproval, ToolGuarding
from access.models.connection import ConnectAttempt, CredentialKind, CredentialStatus, OAuthClient, UpstreamCredential
from access.models.flow import FlowPolicy, FlowSession, OwnLabel
from access.models.grant import TRUST_CHOICES, Grant, Origin
from access.models.limit import Limit
from access.models.playground import PlaygroundRun, RunShows, RunState
from access.models.request import (
    Absence,
    AccessRequest,
    ApprovalLink,
    ApprovalRule,
    Campaign,
    CampaignItem,
    EventKind,
    GrantReminder,
    ProviderReview,
    RequestEvent,
    RequestState,
    ReviewOutcome,
)
from access.models.session import AgentSession
from access.models.simulation import Simulation, SimulationState

__all__ = [
    "TRUST_CHOICES",
    "Absence",
    "AccessRequest",
    "AgentSession",
    "ApprovalLink",
    "ApprovalRule",
    "ApprovalState",
    "CallApproval",
    "Campaign",
    "CampaignItem",
    "ConnectAttempt",
    "CredentialKind",
    "CredentialStatus",
    "EventKind",
    "FlowPolicy",
    "FlowSession",
    "Grant",
    "GrantReminder",
    "Limit",
    "OAuthClient",
    "Origin",
    "OwnLabel",
    "PlaygroundRun",
    "ProviderReview",
    "RequestEvent",
    "RequestState",
    "ReviewOutcome",
    "RunShows",
    "RunState",
    "Simulation",
    "SimulationState",
    "ToolGuarding",
    "UpstreamCredential",
]
