from django.urls import path

from catalog.registry import views

app_name = "registry"
# Names hold a slash, which clients write as %2F; servers see it decoded.
_VERSIONS = "servers/<path:registry_name>/versions"
urlpatterns = [
    path("v0.1/servers", views.ServerListAPI.as_view(), name="servers"),
    path(f"v0.1/{_VERSIONS}", views.VersionListAPI.as_view(), name="versions"),
    path(f"v0.1/{_VERSIONS}/<str:registry_version>", views.VersionAPI.as_view(), name="version"),
    path("v0/servers", views.OlderServerListAPI.as_view(), name="older-servers"),
    path(f"v0/{_VERSIONS}", views.OlderVersionListAPI.as_view(), name="older-versions"),
    path(f"v0/{_VERSIONS}/<str:registry_version>", views.OlderVersionAPI.as_view(), name="older-version"),
]
