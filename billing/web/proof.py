"""Where people prove once more that it is them, before they decide over money."""

from __future__ import annotations

from django.urls import reverse
from django.utils.http import urlencode


def proof_url(back: str) -> str:
    """The page that asks for it and leads `back`, a path of ours."""
    return f"{reverse('account_reauthenticate')}?{urlencode({'next': back})}"
