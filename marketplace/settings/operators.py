"""The operators' admin: django-unfold."""

from django.urls import reverse_lazy

from marketplace.settings import env

STAFF_MFA_REQUIRED = env.flag(
    "MARKETPLACE_STAFF_MFA", "Operators need a second factor before they see the admin.", default=True
)

# Dates in the admin. Django asks these modules before its own ones for the language, and the plain settings after both.
FORMAT_MODULE_PATH = ["marketplace.formats"]

UNFOLD = {
    "ENVIRONMENT": "tenants.web.elevations.environment",
    "DASHBOARD_CALLBACK": "marketplace.pages.dashboard.dashboard",
    # The accent of static/css/tokens.css, in the steps that the theme asks for.
    "COLORS": {
        "primary": {
            "50": "oklch(97% .015 277)",
            "100": "oklch(94% .03 277)",
            "200": "oklch(90% .05 277)",
            "300": "oklch(82% .09 277)",
            "400": "oklch(70% .15 277)",
            "500": "oklch(60% .19 277)",
            "600": "oklch(50% .21 277)",
            "700": "oklch(46% .2 277)",
            "800": "oklch(42% .19 277)",
            "900": "oklch(36% .15 277)",
            "950": "oklch(27% .1 277)",
        }
    },
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
                    {"title": "Live state", "icon": "monitor_heart", "link": reverse_lazy("operations-live")},
                    {"title": "Server health", "icon": "ecg_heart", "link": reverse_lazy("operations-health")},
                    {"title": "Quarantine", "icon": "gpp_maybe", "link": reverse_lazy("operations-quarantine")},
                    {"title": "Prices", "icon": "sell", "link": reverse_lazy("admin:billing_priceversion_changelist")},
                    {"title": "Exceptions", "icon": "error", "link": reverse_lazy("operations-billing-exceptions")},
                    {"title": "Revenue", "icon": "monitoring", "link": reverse_lazy("operations-billing-revenue")},
                    {"title": "Ledger", "icon": "account_balance", "link": reverse_lazy("operations-billing-ledger")},
                    {"title": "Payouts", "icon": "payments", "link": reverse_lazy("operations-billing-payouts")},
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
