"""Hosts, cookies, headers, limits, and the keys that derive from the master secret."""

from urllib.parse import urlsplit

from csp.constants import NONCE, NONE, SELF

from marketplace.settings import env
from marketplace.settings.base import DEVELOPMENT, PUBLIC_URL, SECRET_KEY

_public = urlsplit(PUBLIC_URL)
HTTPS = _public.scheme == "https"

ALLOWED_HOSTS = [
    *env.items("MARKETPLACE_HOSTS", "Further host names under which the product answers."),
    _public.hostname or "127.0.0.1",
    *(["127.0.0.1", "localhost"] if DEVELOPMENT else []),
]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]

KEY_PEPPER = env.derive(SECRET_KEY, "api-key-pepper")
AUDIT_KEY = env.derive(SECRET_KEY, "audit-chain")
AUDIT_SIGNING_SEED = env.derive(SECRET_KEY, "audit-checkpoints")
SESSION_SEAL_KEY = env.derive(SECRET_KEY, "mcp-session-seal")
STORAGE_KEY = env.derive(SECRET_KEY, "stored-secrets")
# Master keys of stored secrets (`core.vault`): the first wraps, every one unwraps, the one of the master secret always.
VAULT_KEYS = [
    env.derive(text, "vault")
    for text in [
        *env.secrets(
            "MARKETPLACE_VAULT_KEYS",
            "Master keys of stored secrets, newest first; empty: one that derives from MARKETPLACE_SECRET_KEY.",
        ),
        SECRET_KEY,
    ]
]

SESSION_COOKIE_NAME = "__Host-session" if HTTPS else "session"
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS else "csrf"
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 8 * 3600 * 10

SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz)$"]  # probes ask the process itself, and take a redirect for a yes
SECURE_HSTS_SECONDS = 63_072_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
BEHIND_PROXY = env.flag(
    "MARKETPLACE_BEHIND_PROXY", "A proxy that strips and sets X-Forwarded-Proto stands in front.", default=False
)
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
TRUSTED_PROXIES = env.integer(
    "MARKETPLACE_TRUSTED_PROXIES",
    "How many proxies of yours append to X-Forwarded-For; a caller's address is read that far from the right."
    " Used when MARKETPLACE_BEHIND_PROXY is true.",
    default=1,
)
TRUSTED_PROXIES = TRUSTED_PROXIES if BEHIND_PROXY else 0
ALLAUTH_TRUSTED_PROXY_COUNT = TRUSTED_PROXIES
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "object-src": [NONE],
        "manifest-src": [SELF],
    }
}

DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200
