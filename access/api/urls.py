from django.urls import path

from access.api.files import ApplyAPI, ExportAPI, PlanAPI
from access.api.flow import FlowLabelsAPI, FlowRuleAPI, FlowSessionListAPI
from access.api.requests import RequestAPI, RequestListAPI
from access.api.rights import (
    GrantAPI,
    GrantListAPI,
    PolicyAPI,
    PolicyListAPI,
    SessionAPI,
    SessionListAPI,
    TeamAPI,
    TeamListAPI,
)
from access.api.views import ExplainAPI, SimulationAPI, SimulationListAPI, WhatCanAPI, WhoCanAPI

urlpatterns = [
    path("access/export/", ExportAPI.as_view(), name="access-export"),
    path("access/plan/", PlanAPI.as_view(), name="access-plan"),
    path("access/apply/", ApplyAPI.as_view(), name="access-apply"),
    path("grants/", GrantListAPI.as_view(), name="grants"),
    path("grants/<uuid:grant_id>/", GrantAPI.as_view(), name="grant"),
    path("sessions/", SessionListAPI.as_view(), name="sessions"),
    path("sessions/<uuid:session_id>/", SessionAPI.as_view(), name="session"),
    path("policy/", PolicyListAPI.as_view(), name="policies"),
    path("policy/<slug:slug>/", PolicyAPI.as_view(), name="policy"),
    path("flow/", FlowRuleAPI.as_view(), name="flow"),
    path("flow/sessions/", FlowSessionListAPI.as_view(), name="flow-sessions"),
    path("flow/labels/<slug:slug>/", FlowLabelsAPI.as_view(), name="flow-labels"),
    path("teams/", TeamListAPI.as_view(), name="teams"),
    path("teams/<uuid:team_id>/", TeamAPI.as_view(), name="team"),
    path("access-requests/", RequestListAPI.as_view(), name="access-requests"),
    path("access-requests/<uuid:request_id>/", RequestAPI.as_view(), name="access-request"),
    path("access/explain/", ExplainAPI.as_view(), name="access-explain"),
    path("access/who-can/", WhoCanAPI.as_view(), name="access-who-can"),
    path("access/what-can/", WhatCanAPI.as_view(), name="access-what-can"),
    path("access/simulations/", SimulationListAPI.as_view(), name="access-simulations"),
    path("access/simulations/<uuid:simulation_id>/", SimulationAPI.as_view(), name="access-simulation"),
]
