"""`/oauth/…`: the authorization server."""

from django.urls import path

from tenants.web import oauth

urlpatterns = [
    path("authorize", oauth.authorize, name="oauth-authorize"),
    path("token", oauth.token, name="oauth-token"),
    path("register", oauth.RegistrationView.as_view(), name="oauth-register"),
    path("revoke", oauth.revoke, name="oauth-revoke"),
]
