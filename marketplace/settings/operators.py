"""The operators' admin: django-unfold."""

from django.urls import reverse_lazy

from marketplace.settings import env

STAFF_MFA_REQUIRED = env.flag(
    "MARKETPLACE_STAFF_MFA", "Operators need a second factor before they see the admin.", default=True
)

UNFOLD = {
    "SITE_TITLE": "MCP Marketplace operations",
    "SITE_HEADER": "MCP Marketplace",
    "SITE_SUBHEADER": "Operations",
    "SITE_URL": "/",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": True,
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": True,
        "navigation": [
            {
                "title": "Marketplace",
                "items": [
                    {"title": "Servers", "icon": "dns", "link": reverse_lazy("admin:catalog_server_changelist")},
                    {
                        "title": "Providers",
                        "icon": "storefront",
                        "link": reverse_lazy("admin:catalog_provider_changelist"),
                    },
                    {"title": "Prices", "icon": "sell", "link": reverse_lazy("admin:billing_priceversion_changelist")},
                ],
            },
            {
                "title": "Organisations",
                "items": [
                    {
                        "title": "Organisations",
                        "icon": "apartment",
                        "link": reverse_lazy("admin:tenants_tenant_changelist"),
                    },
                    {"title": "People", "icon": "group", "link": reverse_lazy("admin:tenants_user_changelist")},
                    {"title": "Settings and flags", "icon": "tune", "link": reverse_lazy("operations-settings")},
                ],
            },
            {
                "title": "Records (one organisation at a time)",
                "items": [
                    {
                        "title": "Choose the organisation",
                        "icon": "swap_horiz",
                        "link": reverse_lazy("operations-records"),
                    },
                    {"title": "Calls", "icon": "receipt_long", "link": reverse_lazy("admin:calls_call_changelist")},
                    {"title": "Grants", "icon": "key", "link": reverse_lazy("admin:access_grant_changelist")},
                    {"title": "Audit", "icon": "history", "link": reverse_lazy("admin:audit_auditevent_changelist")},
                ],
            },
        ],
    },
}
