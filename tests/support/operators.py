"""Operators in tests: a browser that has just proven whose it is, and one that looks into an organisation."""

from __future__ import annotations

import time

from django.test import Client

from tenants.elevated import SESSION_KEY
from tenants.models import Elevation, Tenant, User
from tenants.services import elevations


def prove(browser: Client, person: User) -> None:
    """As after the page that asks for the password once more."""
    session = browser.session
    session["account_authentication_methods_user"] = str(person.pk)
    session["account_authentication_methods"] = [{"method": "password", "at": time.time(), "reauthenticated": True}]
    session.save()


def elevate(browser: Client, operator: User, tenant: Tenant) -> Elevation:
    """Let a browser of an operator look into an organisation, as its pages do."""
    made = elevations.start(operator=operator, tenant=tenant, reason="The tests look around", minutes=60)
    session = browser.session
    session[SESSION_KEY] = str(made.pk)
    session.save()
    return made
