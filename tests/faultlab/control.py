"""What people do in the middle of a fault. Run as a program: `revoke <organisation>` or `suspend <organisation>`."""

from __future__ import annotations

import os
import sys


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
    import django

    django.setup()
    from tenants.context import platform_scope
    from tenants.models import APIKey, Tenant, User
    from tenants.services import api_keys, organisations

    verb, slug = sys.argv[1:]
    with platform_scope():
        tenant, owner = Tenant.objects.get(slug=slug), User.objects.get(email="owner@faultlab.example")
        if verb == "suspend":
            operator, _ = User.objects.get_or_create(email="operator@faultlab.example", defaults={"is_staff": True})
            organisations.suspend(tenant_id=tenant.pk, operator=operator)
            return 0
        for key in APIKey.objects.filter(tenant=tenant, revoked_at=None):
            api_keys.revoke(tenant=tenant, key_id=key.pk, actor=owner)
    return 0


if __name__ == "__main__":
    sys.exit(main())
