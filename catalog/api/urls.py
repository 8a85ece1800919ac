from django.urls import path

from catalog.api.views import ServerDetailAPI, ServerListAPI

urlpatterns = [
    path("servers/", ServerListAPI.as_view(), name="server-list"),
    path("servers/<slug:slug>/", ServerDetailAPI.as_view(), name="server-detail"),
]
