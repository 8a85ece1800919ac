"""The paths of MCP Runtime's API, as it has them: without a slash at the end."""

from django.urls import path

from access.api.runtime import governance, inventory, policy

urlpatterns = [
    path("servers", inventory.Servers.as_view(), name="servers"),
    path("servers/<slug:namespace>/<slug:slug>", inventory.OneServer.as_view(), name="server"),
    path("tools", inventory.Tools.as_view(), name="tools"),
    path("teams", inventory.Teams.as_view(), name="teams"),
    path("teams/<slug:team_slug>", inventory.OneTeam.as_view(), name="team"),
    path("teams/<slug:team_slug>/members", inventory.Members.as_view(), name="members"),
    path("teams/<slug:team_slug>/members/<uuid:user_id>", inventory.OneMember.as_view(), name="member"),
    path("namespaces", inventory.Namespaces.as_view(), name="namespaces"),
    path("namespaces/<slug:namespace>", inventory.OneNamespace.as_view(), name="namespace"),
    path("grants", governance.Grants.as_view(), name="grants"),
    path("grants/<slug:namespace>/<str:grant_name>", governance.OneGrant.as_view(), name="grant"),
    path("grants/<slug:namespace>/<str:grant_name>/enable", governance.EnableGrant.as_view(), name="grant-enable"),
    path("grants/<slug:namespace>/<str:grant_name>/disable", governance.DisableGrant.as_view(), name="grant-disable"),
    path("sessions", governance.Sessions.as_view(), name="sessions"),
    path("sessions/<slug:namespace>/<str:session_name>", governance.OneSession.as_view(), name="session"),
    path(
        "sessions/<slug:namespace>/<str:session_name>/revoke", governance.RevokeSession.as_view(), name="session-revoke"
    ),
    path(
        "sessions/<slug:namespace>/<str:session_name>/unrevoke",
        governance.UnrevokeSession.as_view(),
        name="session-unrevoke",
    ),
    path("adapter/sessions", governance.AdapterSessions.as_view(), name="adapter-sessions"),
    path("policy", policy.Policy.as_view(), name="policy"),
]
