from django.urls import path

from catalog.api.searches import SearchAPI, SearchListAPI
from catalog.api.views import FacetsAPI, ServerDetailAPI, ServerListAPI, ToolListAPI

urlpatterns = [
    path("servers/", ServerListAPI.as_view(), name="server-list"),
    path("servers/<slug:slug>/", ServerDetailAPI.as_view(), name="server-detail"),
    path("tools/", ToolListAPI.as_view(), name="tool-list"),
    path("facets/", FacetsAPI.as_view(), name="facets"),
    path("searches/", SearchListAPI.as_view(), name="search-list"),
    path("searches/<uuid:search_id>/", SearchAPI.as_view(), name="search-detail"),
]
