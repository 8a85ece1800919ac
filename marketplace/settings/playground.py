"""How the playground reaches the gateway."""

from marketplace.settings import env
from marketplace.settings.base import PUBLIC_URL

PLAYGROUND_GATEWAY_URL = (
    env.text(
        "MARKETPLACE_GATEWAY_URL",
        "Where the playground reaches the gateway, where that differs from MARKETPLACE_URL: without a path, http or https.",
        "",
    ).rstrip("/")
    or PUBLIC_URL
)
