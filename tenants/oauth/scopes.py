"""The scopes that applications may be given. Administration is not among them: it stays with keys that an admin makes."""

from __future__ import annotations

from collections.abc import Iterable

from tenants.choices import Scope

SCOPES = {
    Scope.INVOKE.value: "Call the tools of servers that you may use, on your behalf",
    Scope.CATALOG_READ.value: "Read the catalog, your organisation's own servers included",
}
# Asked for by clients that want to stay signed in; whether they may is decided by their registration.
OFFLINE = "offline_access"
DEFAULT = (Scope.INVOKE.value,)


def known(scopes: Iterable[str]) -> list[str]:
    """The ones that we give, in our order; what else was asked for is left out, as RFC 6749, 3.3 allows."""
    wanted = set(scopes)
    return [scope for scope in SCOPES if scope in wanted]
