"""Every URL that Django answers. Gateway paths (`/mcp/…` and `/v1/…` but for documents) go elsewhere in `marketplace.asgi`."""

from allauth.account.decorators import secure_admin_login
from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularJSONAPIView

from access.web.connections import came_back
from billing.web import urls as billing
from marketplace.pages import (
    adopting,
    claims,
    development,
    discovery,
    health,
    imports,
    landing,
    live,
    operations,
    quarantine,
    server_health,
    well_known,
)
from repositories.web import urls as sources
from tenants.web import applications, elevations, oauth, sso

admin.autodiscover()
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns = [
    path("", include("catalog.web.urls")),
    path("start/", landing.landing, name="landing"),
    path("organisations/", include("tenants.web.urls")),
    path("o/<slug:org>/", include("marketplace.pages.organisation_urls")),
    path("accounts/applications/", applications.applications, name="applications"),
    path("accounts/applications/<uuid:consent_id>/", applications.revoke, name="application-revoke"),
    path("accounts/sso/", sso.sign_in, name="sso"),
    path("accounts/sso/callback/", sso.callback, name="sso-callback"),
    path("accounts/sso/saml/metadata/", sso.saml_metadata, name="sso-saml-metadata"),
    path("accounts/sso/saml/answer/", sso.saml_answer, name="sso-saml-answer"),
    path("accounts/sso/saml/back/", sso.saml_back, name="sso-saml-back"),
    path("accounts/sso/<slug:organisation>/", sso.start, name="sso-start"),
    path("accounts/", include("allauth.urls")),
    path("oauth/", include("tenants.web.oauth_urls")),
    path("scim/v2/<slug:organisation>/", include("tenants.scim.urls")),
    path(".well-known/oauth-authorization-server", oauth.metadata, name="oauth-metadata"),
    path(".well-known/openid-configuration", oauth.metadata, name="openid-metadata"),
    path("operations/settings/", operations.settings_page, name="operations-settings"),
    path("operations/records/", elevations.operations_records, name="operations-records"),
    path("operations/live/", live.operations_live, name="operations-live"),
    path("operations/health/", server_health.operations_health, name="operations-health"),
    path("operations/adopt/<uuid:listed_id>/", adopting.operations_adopt, name="operations-adopt"),
    path("operations/claims/", claims.operations_claims, name="operations-claims"),
    path("operations/import/", imports.operations_import, name="operations-import"),
    path("operations/quarantine/", quarantine.quarantine, name="operations-quarantine"),
    *sources.patterns("operations/sources/", "operations-"),
    path("operations/billing/", include(billing.operations)),
    path("webhooks/", include(billing.callbacks)),
    path("admin/", admin.site.urls),
    path("api/runtime/", include(("access.api.runtime.urls", "runtime"))),
    path("api/v1/runtime/", include(("access.api.runtime.urls", "runtime"), namespace="runtime-v1")),
    path("api/v1/", include("marketplace.pages.api_urls")),
    path("api/v1/openapi.json", SpectacularJSONAPIView.as_view(), name="openapi"),
    path("", include("catalog.registry.urls")),
    path("connections/callback/", came_back, name="connection-came-back"),
    path(".well-known/oauth-client.json", well_known.oauth_client, name="oauth-client"),
    path(".well-known/jwks.json", well_known.jwks, name="jwks"),
    path(".well-known/mcp/catalog.json", discovery.domain_catalog, name="mcp-catalog"),
    path("mcp/<slug:slug>/server-card", discovery.server_card, name="server-card"),
    path("v1/openapi.json", discovery.invoke_openapi, name="invoke-openapi"),
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
]

if settings.DEVELOPMENT:
    urlpatterns += [
        path("styleguide/", development.styleguide, name="styleguide"),
        path("mailbox/", development.mailbox, name="mailbox"),
        path("mailbox/<str:name>/", development.mail, name="mailbox-mail"),
    ]

handler400 = "marketplace.pages.errors.bad_request"
handler403 = "marketplace.pages.errors.forbidden"
handler404 = "marketplace.pages.errors.not_found"
handler500 = "marketplace.pages.errors.server_error"
