"""Deciding from a mail: a link for one person, about one state of one request, once.

The token is signed and names the request and the person; of it only a digest is kept. It opens a page that asks, and a look at
that page changes nothing, so that mail scanners decide nothing. The person signs in as well: a forwarded mail gives no right.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.db import transaction

from access.models import AccessRequest, ApprovalLink
from core import clock, keys
from core.errors import ConflictError, NotFoundError
from tenants.models import User

_SALT = "access.request.link"
_NONCE_BYTES = 24
LIFETIME = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class OpenedLink:
    link: ApprovalLink
    request: AccessRequest
    obstacle: str  # empty | used | expired | changed | decided


def mint(request: AccessRequest, approver_id: UUID) -> str:
    """A token for a mail; the only moment at which its text exists on our side."""
    text = signing.dumps([request.pk.hex, approver_id.hex, secrets.token_urlsafe(_NONCE_BYTES)], salt=_SALT)
    ApprovalLink.objects.create(
        request=request,
        approver_id=approver_id,
        digest=request.digest,
        token_digest=_digest(text),
        expires_at=clock.now() + LIFETIME,
    )
    return text


def opened(token: str, user: User, *, lock: bool = False) -> OpenedLink:
    """What a link is about. Raises NotFoundError for a link that was never given out here, and for somebody else's."""
    try:
        signing.loads(token, salt=_SALT, max_age=LIFETIME)
    except signing.SignatureExpired:
        pass  # the row says so as well, and says it in words
    except signing.BadSignature as error:
        raise _unknown() from error
    rows = ApprovalLink.objects.select_for_update() if lock else ApprovalLink.objects.all()
    link = rows.filter(token_digest=_digest(token), approver_id=user.pk).first()
    if link is None:
        raise _unknown()
    request = AccessRequest.objects.get(pk=link.request_id)
    return OpenedLink(link, request, _obstacle(link, request))


def use(token: str, user: User) -> OpenedLink:
    """Use the link up, within the transaction of the decision. Raises ConflictError when it is of no use any more."""
    assert transaction.get_connection().in_atomic_block, "a link is used in the transaction of its decision"
    found = opened(token, user, lock=True)
    if found.obstacle:
        raise ConflictError(
            OBSTACLES[found.obstacle], code=f"access.link_{found.obstacle}", next_step="Open the request itself."
        )
    found.link.used_at = clock.now()
    found.link.save(update_fields=["used_at", "updated_at"])
    return found


OBSTACLES = {
    "used": "This link was used already.",
    "expired": "This link has expired.",
    "changed": "The request was changed after this mail was sent.",
    "decided": "This request is decided.",
}


def _obstacle(link: ApprovalLink, request: AccessRequest) -> str:
    if link.used_at is not None:
        return "used"
    if not request.undecided:
        return "decided"
    if link.digest != request.digest:
        return "changed"
    return "expired" if link.expires_at <= clock.now() else ""


def _digest(token: str) -> bytes:
    return keys.digest(f"approval:{token}", settings.KEY_PEPPER)


def _unknown() -> NotFoundError:
    return NotFoundError(
        "This link is not known, or it was sent to somebody else.",
        code="access.link_unknown",
        next_step="Sign in as the person whom the mail was sent to, or open the request under Requests.",
    )
