"""The keys that sign for the platform: made, published, used, retired.

`next` is published while `active` signs, and `retiring` stays published after it signed: whoever keeps our public keys for
a while always holds the one that he needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from django.db import connection, transaction

from audit import services as audit
from core import clock, signing
from core.errors import ConflictError, NotFoundError
from core.jobs import on_commit
from tenants import signals
from tenants.models import SigningKey
from tenants.services import vault

State = SigningKey.State

ROTATE_EVERY = timedelta(days=30)
# Longer than any token lives and than anybody may keep our keys (the cache lifetime of /.well-known/jwks.json).
OVERLAP = timedelta(days=1)
PUBLISHED_FOR = timedelta(minutes=15)
_LOCK = 80


@dataclass(frozen=True, slots=True)
class Keys:
    """The key that signs, PKCS 8, and every public key by its id."""

    kid: str
    private: bytes = field(repr=False)
    public: dict[str, bytes]

    @property
    def signer(self) -> signing.Signer:
        return signing.Signer(self.kid, self.private)


def ensure() -> None:
    """Make the first keys of an installation; nothing when there are some."""
    if SigningKey.objects.filter(state__in=[State.NEXT, State.ACTIVE]).count() == 2:
        return
    with transaction.atomic():
        _lock()
        held = set(SigningKey.objects.values_list("state", flat=True))
        if State.ACTIVE not in held:
            SigningKey.objects.filter(state=State.NEXT).update(state=State.ACTIVE, activated_at=clock.now())
            if State.NEXT not in held:
                _make(State.ACTIVE)
        if not SigningKey.objects.filter(state=State.NEXT).exists():
            _make(State.NEXT)
        _announce()


def active_keys() -> Keys:
    """What signs and what checks; the first call of an installation makes it."""
    ensure()
    keys = list(SigningKey.objects.filter(state__in=SigningKey.PUBLISHED))
    active = next(key for key in keys if key.state == State.ACTIVE)
    return Keys(kid=active.kid, private=private_part(active), public={key.kid: bytes(key.public) for key in keys})


def public_key(kid: str) -> EllipticCurvePublicKey | None:
    """The published key of an id."""
    key = SigningKey.objects.filter(kid=kid[:64], state__in=SigningKey.PUBLISHED).first() if kid.isprintable() else None
    return signing.load_public(bytes(key.public)) if key is not None else None


def private_part(key: SigningKey) -> bytes:
    """PKCS 8, DER."""
    return vault.unseal(vault.place_of(key, "private", None), bytes(key.private))


def jwks() -> dict[str, Any]:
    """The JSON Web Key Set that everybody may read: the active key first."""
    ensure()
    order = {State.ACTIVE: 0, State.NEXT: 1}
    keys = sorted(
        SigningKey.objects.filter(state__in=SigningKey.PUBLISHED), key=lambda key: order.get(State(key.state), 2)
    )
    return {"keys": [signing.jwk(key.kid, bytes(key.public)) for key in keys]}


def rotate(*, at_once: bool = False) -> SigningKey:
    """Let the next key sign; the key that signs now. `at_once` does so even when the next was published only just now.

    Raises ConflictError.
    """
    ensure()
    with transaction.atomic():
        _lock()
        coming = SigningKey.objects.select_for_update().get(state=State.NEXT)
        if not at_once and clock.now() - coming.created_at < PUBLISHED_FOR:
            raise ConflictError(
                "The next key was published a moment ago, and not everybody has read it yet.",
                next_step=f"Wait {int(PUBLISHED_FOR.total_seconds() // 60)} minutes, or rotate at once with --now.",
            )
        _retire_active()
        coming.state, coming.activated_at = State.ACTIVE, clock.now()
        coming.save(update_fields=["state", "activated_at", "updated_at"])
        _make(State.NEXT)
        audit.record("tenants:signing_key:rotated", actor=audit.SYSTEM, target=_party(coming))
        _announce()
    return coming


def keep_fresh() -> None:
    """The daily work: rotate what has signed for a month, and wipe what nobody needs any more."""
    ensure()
    due = clock.now() - ROTATE_EVERY
    if SigningKey.objects.filter(state=State.ACTIVE, activated_at__lte=due).exists():
        rotate()
    with transaction.atomic():
        over = SigningKey.objects.filter(state=State.RETIRING, retires_at__lte=clock.now())
        if over.update(state=State.RETIRED, private=b""):
            _announce()


def withdraw(kid: str) -> None:
    """Take a key out of use this moment, because somebody else may have it. Tokens that it signed count no more.

    Raises NotFoundError.
    """
    ensure()
    with transaction.atomic():
        _lock()
        key = SigningKey.objects.select_for_update().filter(kid=kid, state__in=SigningKey.PUBLISHED).first()
        if key is None:
            raise NotFoundError("No key of that id is published.")
        was = key.state
        key.state, key.private, key.retires_at = State.RETIRED, b"", clock.now()
        key.save(update_fields=["state", "private", "retires_at", "updated_at"])
        if was == State.ACTIVE:
            SigningKey.objects.filter(state=State.NEXT).update(state=State.ACTIVE, activated_at=clock.now())
        if was in {State.ACTIVE, State.NEXT}:
            _make(State.NEXT)
        audit.record("tenants:signing_key:withdrawn", actor=audit.SYSTEM, target=_party(key))
        _announce()


def _party(key: SigningKey) -> audit.Party:
    return audit.Party("signing_key", str(key.pk), key.kid)


def _retire_active() -> None:
    SigningKey.objects.filter(state=State.ACTIVE).update(state=State.RETIRING, retires_at=clock.now() + OVERLAP)


def _make(state: SigningKey.State) -> SigningKey:
    kid, private, public = signing.mint()
    key = SigningKey(kid=kid, public=public, state=state)
    key.activated_at = clock.now() if state == State.ACTIVE else None
    key.private = vault.seal(vault.place_of(key, "private", None), private)
    key.save(force_insert=True)
    return key


def _announce() -> None:
    on_commit(lambda: signals.signing_keys_changed.send_robust(sender=None))


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, 0)", [_LOCK])
