"""What a source asks for, sealed for its row. It goes in and comes out for the fetcher only."""

from __future__ import annotations

import json
from collections.abc import Mapping

from core import clock
from repositories.adapters import addresses
from repositories.adapters.fetching import Secret
from repositories.choices import AuthType
from repositories.errors import SourceInvalidError
from repositories.models import Repository
from tenants.services import vault

# What each kind consists of; those in brackets of the second set may be blank.
PARTS: dict[str, tuple[str, ...]] = {
    AuthType.NONE: (),
    AuthType.BASIC: ("user", "password"),
    AuthType.TOKEN: ("token",),
    AuthType.OAUTH: ("token_url", "client_id", "client_secret", "scope"),
}
_OPTIONAL = frozenset({"scope"})
_LENGTH_MAX = 8000


def check(auth_type: str, values: Mapping[str, str]) -> dict[str, str]:
    """The values that this kind takes. Raises SourceInvalidError that names the missing or odd one."""
    found = {name: values.get(name, "").strip() for name in PARTS[auth_type]}
    for name, value in found.items():
        if not value and name not in _OPTIONAL:
            raise SourceInvalidError("This credential needs a value here.", next_step="Enter it.", field=name)
        if len(value) > _LENGTH_MAX or not value.isprintable() or not value.isascii():
            raise SourceInvalidError("A credential holds printable ASCII characters only.", field=name)
    if ":" in found.get("user", ""):
        raise SourceInvalidError("A user name holds no colon.", field="user")
    if "token_url" in found:
        _check_token_url(found["token_url"])
    return found


def keep(repository: Repository, auth_type: str, values: Mapping[str, str]) -> None:
    """Seal checked values into the row, which the caller saves."""
    repository.auth_type = auth_type
    if auth_type == AuthType.NONE:
        repository.credentials, repository.credentials_at = b"", None
        return
    place = vault.place_of(repository, "credentials", repository.owner_tenant)
    repository.credentials = vault.seal(place, json.dumps(dict(values)))
    repository.credentials_at = clock.now()


def secret_of(repository: Repository) -> Secret:
    """Raises SealBrokenError when it cannot be opened."""
    if repository.auth_type == AuthType.NONE or not repository.credentials:
        return Secret()
    place = vault.place_of(repository, "credentials", repository.owner_tenant)
    return Secret(repository.auth_type, json.loads(vault.unseal(place, bytes(repository.credentials))))


def _check_token_url(url: str) -> None:
    try:
        addresses.web(url)
    except SourceInvalidError as error:
        raise SourceInvalidError(error.message, next_step=error.next_step, field="token_url") from error
