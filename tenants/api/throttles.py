"""How often one caller may ask an open API: by key or organisation, else by address. Fails open: these are only reads."""

from __future__ import annotations

import redis
from django.conf import settings
from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from core import addresses, clock
from tenants.api.credential import Credential

_WINDOW_S = 60


class CallerThrottle(BaseThrottle):
    """So many requests in each minute of the clock; the view's `throttle_name` says which count it belongs to."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        limit: int = settings.API_REQUESTS_PER_MINUTE
        if not limit:
            return True
        now = int(clock.now().timestamp())
        self.seconds_left = _WINDOW_S - now % _WINDOW_S
        name = getattr(view, "throttle_name", "api")
        key = f"throttle:{name}:{_caller(request)}:{now // _WINDOW_S}"
        try:
            cache.add(key, 0, timeout=2 * _WINDOW_S)
            return cache.incr(key) <= limit
        except (redis.RedisError, OSError, ValueError):  # ValueError: it ended between the two
            return True

    def wait(self) -> float | None:
        return float(self.seconds_left)


def _caller(request: Request) -> str:
    caller = request.auth
    if isinstance(caller, Credential):
        return f"key:{caller.key.pk}" if caller.key is not None else f"organisation:{caller.tenant.pk}"
    peer, forwarded = request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", "")
    return f"address:{addresses.origin(peer, forwarded, settings.TRUSTED_PROXIES)}"
