"""The pages of one organisation, `/o/<org>/…`: one list, composed of the apps' pages.

`tenants.middleware` has resolved the organisation and the membership before any of these views runs.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path

from access.web import (
    connections,
    explain,
    files,
    flow,
    foreseeing,
    grants,
    keys,
    limits,
    policy,
    request_rules,
    requests,
    sessions,
)
from audit.web import views as audit
from billing.web import urls as billing
from catalog.web import claims, serving
from marketplace.pages import approvals, budgets, calls, decisions, live, playground
from marketplace.pages import limits as limit_pages
from notifications.web import views as notifications
from repositories.web import urls as sources
from tenants.choices import Right
from tenants.web import elevations, identity, people, renaming, settings, webhooks
from tenants.web.guards import needs

app_name = "org"


def home(request: HttpRequest, org: str) -> HttpResponse:
    return redirect("org:calls", org)


urlpatterns = [
    path("", home, name="home"),
    path("calls/", calls.call_list, name="calls"),
    path("calls/<uuid:call_id>/", calls.call_detail, name="call"),
    path("live/", live.organisation_live, name="live"),
    path("playground/", playground.playground_home, name="playground"),
    path("playground/servers/<slug:slug>/", playground.playground_tool, name="playground-tool"),
    path("playground/runs/<uuid:run_id>/", playground.playground_run, name="playground-run"),
    path("playground/runs/<uuid:run_id>/cancel/", playground.playground_cancel, name="playground-cancel"),
    path("playground/runs/<uuid:run_id>/keep/", playground.playground_keep, name="playground-keep"),
    path("playground/runs/<uuid:run_id>/remove/", playground.playground_remove, name="playground-remove"),
    path("keys/", keys.key_list, name="keys"),
    path("keys/new/", keys.key_create, name="key-create"),
    path("keys/<uuid:key_id>/lists/", keys.key_lists, name="key-lists"),
    path("keys/<uuid:key_id>/identity/", keys.key_identity, name="key-identity"),
    path("keys/<uuid:key_id>/revoke/", keys.key_revoke, name="key-revoke"),
    path("keys/applications/<uuid:consent_id>/revoke/", keys.application_revoke, name="application-revoke"),
    path("access/", grants.grant_list, name="access"),
    path("access/new/", grants.grant_create, name="grant-create"),
    path("access/files/", files.access_files, name="access-files"),
    path("access/files/export.yaml", files.access_export, name="access-export"),
    path("access/explain/", explain.explain, name="access-explain"),
    path("access/explain/who/", foreseeing.who_can, name="access-who"),
    path("access/explain/can/", foreseeing.what_can, name="access-can"),
    path("access/explain/simulate/", foreseeing.simulate, name="access-simulate"),
    path("access/explain/simulate/<uuid:simulation_id>/", foreseeing.simulation, name="access-simulation"),
    path("access/limits/", limit_pages.limit_list, name="limits"),
    path("access/limits/new/", limits.limit_create, name="limit-create"),
    path("access/limits/<uuid:limit_id>/", limits.limit_change, name="limit-change"),
    path("access/limits/<uuid:limit_id>/remove/", limits.limit_remove, name="limit-remove"),
    path("access/request/", requests.request_create, name="access-request"),
    path("access/<uuid:grant_id>/renew/", requests.grant_renew, name="grant-renew"),
    path("access/<uuid:grant_id>/shrink/", request_rules.shrink, name="grant-shrink"),
    path("requests/", requests.request_list, name="requests"),
    path("requests/rules/", request_rules.rules, name="request-rules"),
    path("requests/rules/<uuid:rule_id>/remove/", request_rules.rule_remove, name="request-rule-remove"),
    path("requests/away/", request_rules.absence, name="absence"),
    path("requests/reviews/", request_rules.reviews, name="reviews"),
    path("requests/reviews/<uuid:campaign_id>/", request_rules.review, name="review"),
    path("requests/provider/<uuid:request_id>/", request_rules.provider_request, name="provider-request"),
    path("requests/by-mail/<str:link>/", requests.request_by_mail, name="request-by-mail"),
    path("requests/<uuid:request_id>/", requests.request_detail, name="request"),
    path("requests/<uuid:request_id>/change/", requests.request_edit, name="request-edit"),
    path("access/<uuid:grant_id>/revoke/", grants.grant_revoke, name="grant-revoke"),
    path("access/<uuid:grant_id>/switch/", grants.grant_switch, name="grant-switch"),
    path("access/approvals/", approvals.approval_list, name="call-approvals"),
    path("access/approvals/<uuid:approval_id>/", approvals.approval_detail, name="call-approval"),
    path("access/sessions/", sessions.session_list, name="sessions"),
    path("access/sessions/new/", sessions.session_create, name="session-create"),
    path("access/sessions/<uuid:session_id>/revoke/", sessions.session_revoke, name="session-revoke"),
    path("access/flow/", flow.flow_rule, name="flow"),
    path("access/flow/sessions/<uuid:session_id>/forget/", flow.flow_forget, name="flow-forget"),
    path("access/flow/<slug:slug>/", flow.flow_server, name="flow-server"),
    path("access/policies/", policy.policy_list, name="policies"),
    path("access/policies/<slug:slug>/", policy.policy_detail, name="server-policy"),
    path("connections/", connections.connection_list, name="connections"),
    path("connections/new/", connections.connection_create, name="connection-create"),
    path("connections/client/", connections.connection_client, name="connection-client"),
    path(
        "connections/client/<uuid:registration_id>/forget/",
        connections.connection_client_forget,
        name="connection-client-forget",
    ),
    path("connections/connect/", connections.connection_connect, name="connection-connect"),
    path("connections/callback/", connections.connection_callback, name="connection-callback"),
    path("connections/<uuid:connection_id>/test/", connections.connection_test, name="connection-test"),
    path("connections/<uuid:connection_id>/remove/", connections.connection_remove, name="connection-remove"),
    *sources.patterns("sources/"),
    path("servers/", serving.server_list, name="servers"),
    path("servers/<slug:slug>/settings/", serving.server_settings, name="server-settings"),
    path("servers/<slug:slug>/gateway/", serving.server_gateway, name="server-gateway"),
    path("claims/", claims.claim_list, name="claims"),
    path("claims/new/", claims.claim_create, name="claim-create"),
    path("claims/<uuid:claim_id>/", claims.claim_detail, name="claim"),
    path("claims/<uuid:claim_id>/give-up/", claims.claim_give_up, name="claim-give-up"),
    *billing.organisation,
    path("billing/budgets/", needs(Right.VIEW_BILLING)(budgets.budget_list), name="budgets"),
    path("people/", people.people_list, name="people"),
    path("people/invitations/", people.invitation_create, name="invitation-create"),
    path("people/invitations/<uuid:invitation_id>/withdraw/", people.invitation_withdraw, name="invitation-withdraw"),
    path("people/teams/", people.team_create, name="team-create"),
    path("people/teams/<uuid:team_id>/add/", people.team_member_add, name="team-member-add"),
    path("people/teams/<uuid:team_id>/remove/", people.team_member_remove, name="team-member-remove"),
    path("people/<uuid:membership_id>/role/", people.member_change, name="member-change"),
    path("people/<uuid:membership_id>/remove/", people.member_remove, name="member-remove"),
    path("settings/", settings.organisation_settings, name="settings"),
    path("settings/identity/", identity.page, name="identity"),
    path("settings/identity/test/", identity.test, name="identity-test"),
    path("settings/rename/", renaming.rename, name="rename"),
    path("settings/webhooks/", webhooks.webhook_list, name="webhooks"),
    path("settings/webhooks/new/", webhooks.webhook_create, name="webhook-create"),
    path("settings/webhooks/<uuid:webhook_id>/", webhooks.webhook_detail, name="webhook"),
    path("settings/webhooks/<uuid:webhook_id>/change/", webhooks.webhook_change, name="webhook-change"),
    path("settings/webhooks/<uuid:webhook_id>/secret/", webhooks.webhook_secret, name="webhook-secret"),
    path("settings/webhooks/<uuid:webhook_id>/remove/", webhooks.webhook_remove, name="webhook-remove"),
    path("settings/webhooks/<uuid:webhook_id>/switch/", webhooks.webhook_switch, name="webhook-switch"),
    path("settings/webhooks/<uuid:webhook_id>/test/", webhooks.webhook_test, name="webhook-test"),
    path(
        "settings/webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/again/",
        webhooks.webhook_again,
        name="webhook-again",
    ),
    path("audit/", needs(Right.VIEW_AUDIT)(audit.audit_log), name="audit"),
    path("audit/checkpoint/", needs(Right.VIEW_AUDIT)(audit.audit_checkpoint), name="audit-checkpoint"),
    path("audit/decisions/", decisions.decision_list, name="decisions"),
    path("audit/export/", decisions.export_file, name="audit-export"),
    path("audit/operators/", elevations.operator_list, name="operators"),
    path("audit/operators/<uuid:elevation_id>/end/", elevations.operator_end, name="operator-end"),
    path("notifications/", notifications.inbox, name="notifications"),
]
