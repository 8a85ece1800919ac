from django.urls import path

from catalog.web import icons, status, views

app_name = "catalog"
urlpatterns = [
    path("", views.home, name="home"),
    path("suggest/", views.suggest, name="suggest"),
    path("searches/save/", views.save_search, name="search-save"),
    path("searches/<uuid:search_id>/remove/", views.remove_search, name="search-remove"),
    path("tools/", views.tools, name="tools"),
    path("compare/", views.compare, name="compare"),
    path("servers/<slug:slug>/", views.server, name="server"),
    path("servers/<slug:slug>/status/", status.status, name="status"),
    path("servers/<slug:slug>/status.json", status.status_json, name="status-json"),
    path("servers/<slug:slug>/icon/<slug:digest>/", icons.icon, name="icon"),
    path("servers/<slug:slug>/reach/", views.reach, name="reach"),
]
