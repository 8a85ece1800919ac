"""Applications, tenancy, database, cache, jobs, templates, static files, logging."""

import sys
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from core import compiled
from marketplace.settings import env
from marketplace.supervisor import graces

BASE_DIR = Path(__file__).resolve().parents[2]

ENVIRONMENT = env.text(
    "MARKETPLACE_ENV",
    "Which kind of installation this is.",
    "development",
    choices=("development", "test", "production"),
)
TESTING = ENVIRONMENT == "test"
DEVELOPMENT = ENVIRONMENT != "production"
DEBUG = False
_GRACES = graces.defaults(ENVIRONMENT)

_TEST_SECRET = "test-only-secret-that-protects-nothing-at-all-0123456789" if TESTING else None
SECRET_KEY = env.secret(
    "MARKETPLACE_SECRET_KEY",
    "The master secret; sessions, key pepper and audit chain derive from it.",
    _TEST_SECRET,
    minimum=32 if DEVELOPMENT else 50,
)
ROLE = env.text(
    "MARKETPLACE_ROLE",
    "What this process serves: everything, only pages and the API, or only the gateway.",
    "all",
    choices=("all", "web", "gateway"),
)
# Read by core.compiled, before there are settings.
env.text(
    compiled.SETTING,
    "Whether calls pass modules made by scripts/compile: `auto` (those in var/compiled, where they fit), `off`, or a folder "
    "with such sets. Tests run interpreted unless it is set.",
    "auto",
)
PUBLIC_URL = env.text(
    "MARKETPLACE_URL", "The address that people and agents use, without a trailing slash.", "http://127.0.0.1:8000"
).rstrip("/")
DATA_DIR = Path(
    env.text("MARKETPLACE_DATA", "Folder for the development mailbox and run files.", str(BASE_DIR / "var"))
)

# Each application has one schema home: SHARED_APPS in `public`, TENANT_APPS in every organisation's schema, audit and
# notifications in both.
SHARED_APPS = [
    "django_tenants",  # first: it replaces the migrate command
    "tenants",
    "audit",
    "notifications",
    "catalog",
    "repositories",
    "billing",
    "unfold",  # before the admin, whose templates it replaces
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.usersessions",
    "allauth.idp.oidc",
    "csp",
    "django_filters",
    "django_htmx",
    "drf_spectacular",
    "rest_framework",
    "core",
    "gateway",
    "reviews",
    "marketplace",
]
TENANT_APPS = ["audit", "notifications", "calls", "access"]
INSTALLED_APPS = SHARED_APPS + [app for app in TENANT_APPS if app not in SHARED_APPS]

TENANT_MODEL = "tenants.Tenant"
TENANT_DOMAIN_MODEL = "tenants.Domain"
TENANT_LIMIT_SET_CALLS = True  # one SET per connection and schema; safe from django-tenants 4.0.1 on
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
AUTH_USER_MODEL = "tenants.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASE_POOL = env.integer(
    "MARKETPLACE_DB_POOL", "Largest number of database connections of one process; 0 turns the pool off.", default=10
)
DATABASES = {
    "default": {
        "ENGINE": "tenants.postgresql",
        **env.database(
            "DATABASE_URL",
            "The PostgreSQL database (15 or newer).",
            "postgresql://marketplace@127.0.0.1:5432/marketplace" if TESTING else None,
        ),
        "ATOMIC_REQUESTS": False,
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            "connect_timeout": 5,
            **(
                {"pool": {"min_size": 1, "max_size": DATABASE_POOL, "timeout": 5}}
                if DATABASE_POOL and not TESTING
                else {}
            ),
        },
    }
}

REDIS_URL = env.text(
    "REDIS_URL",
    "The Redis or Valkey server for cache, jobs and pushes.",
    "redis://127.0.0.1:6379/0" if TESTING else None,
)
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "web",
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
    }
}

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_TIME_LIMIT = 240
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 300,
    "socket_connect_timeout": 2,
    # A request waits while it enqueues: one more attempt, then the sweep finds the work. Workers wait on their own terms.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.1,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

ROOT_URLCONF = "marketplace.urls"
ASGI_APPLICATION = "marketplace.asgi.application"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "core.middleware.StaticFilesMiddleware",
    "core.middleware.RequestIdMiddleware",
    "core.middleware.PlainQueryMiddleware",
    "marketplace.csp.ContentPolicyMiddleware",
    "core.middleware.PermissionsPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
    "tenants.middleware.OrganisationMiddleware",
    "tenants.middleware.OperatorMiddleware",
    "core.middleware.ErrorPageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "tenants.context_processors.frame",
                "billing.context_processors.dues",
            ],
            "builtins": ["core.templatetags.ui"],
        },
    }
]

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEVELOPMENT
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = DEVELOPMENT
# Files change under a running development server; a stale length would cut them short.
WHITENOISE_AUTOREFRESH = DEVELOPMENT

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["tenants.api.authentication.APIKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["tenants.api.permissions.DenyAll"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "core.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,  # `format` is a parameter of ours
}
CATALOG_API_PER_MINUTE = env.integer(
    "MARKETPLACE_CATALOG_API_PER_MINUTE",
    "Requests to the catalog's REST API per minute of each organisation.",
    default=600,
    minimum=1,
)
SPECTACULAR_SETTINGS = {
    "TITLE": "MCP Marketplace API",
    "VERSION": "v1",
    "DESCRIPTION": "What an organisation has and has done. Calls themselves go to the gateway, which is described elsewhere.",
    "EXTERNAL_DOCS": {
        "url": f"{PUBLIC_URL}/v1/openapi.json",
        "description": "Plain calls of tools, by `POST /v1/invoke`",
    },
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "ENUM_NAME_OVERRIDES": {
        "SideEffectEnum": "catalog.choices.SideEffect",
        "TrustEnum": "catalog.choices.TrustLevel",
        "DecisionEnum": "catalog.policies.DECISIONS",
        "RequestStateEnum": "access.models.RequestState",
        "CallApprovalStateEnum": "access.models.ApprovalState",
    },
}

# Loopback and private addresses that servers of this installation may have, as host:port.
DNS_SERVERS = env.items(
    "MARKETPLACE_DNS_SERVERS",
    "Name servers (address or address:port, over TCP) that are asked for proofs of domains; the machine's own when empty.",
)
# Where a domain's web server is asked for the proof; tests serve it elsewhere.
DOMAIN_PROOF_URL = "https://{domain}/.well-known/mcp-marketplace-verification"
EGRESS_ALLOW = env.items("MARKETPLACE_EGRESS_ALLOW", "host:port pairs that may be loopback or private addresses.")
SOURCE_FOLDERS = env.items(
    "MARKETPLACE_SOURCE_FOLDERS", "Folders, as full paths, below which operators may read listings from files."
)
GATEWAY_ALLOWED_ORIGINS = [
    origin.lower().rstrip("/")
    for origin in env.items(
        "MARKETPLACE_ALLOWED_ORIGINS",
        "Origins (scheme://host[:port]) of other web pages that may call the gateway from a browser.",
    )
    if "://" in origin
]
GATEWAY_REQUEST_BYTES_MAX = env.integer(
    "MARKETPLACE_REQUEST_BYTES", "Largest request body.", default=1_048_576, minimum=1024
)
WEB_REQUEST_BYTES_MAX = env.integer(
    "MARKETPLACE_PAGE_BYTES",
    "Largest request to the pages and their API; an import has a limit of its own.",
    default=2_097_152,
    minimum=1_048_576,
)
GATEWAY_RESPONSE_BYTES_MAX = env.integer(
    "MARKETPLACE_RESPONSE_BYTES", "Largest answer of a server.", default=10_485_760, minimum=1024
)
GATEWAY_FIRST_BYTE_S = env.integer(
    "MARKETPLACE_FIRST_BYTE_SECONDS", "How long a server may take to begin its answer.", default=30, minimum=1
)
GATEWAY_TOTAL_S = env.integer("MARKETPLACE_TOTAL_SECONDS", "How long one call may take.", default=300, minimum=1)

RECORD_DIR = Path(
    env.text(
        "MARKETPLACE_RECORD_DIR",
        "Folder on a durable local disk for calls that are under way or that PostgreSQL did not take yet.",
        str(DATA_DIR / "record"),
    )
)
_anchors = env.text(
    "MARKETPLACE_AUDIT_ANCHORS",
    "Folder for signed checkpoints of the audit logs, best on storage that whoever runs the database cannot write to.",
    "" if TESTING else str(DATA_DIR / "audit-anchors"),
)
AUDIT_ANCHOR_DIR = Path(_anchors) if _anchors else None
SPOOL_MB = env.integer(
    "MARKETPLACE_SPOOL_MB",
    "Calls kept on disk while PostgreSQL is away, of one process; beyond it, calls that cost or change something are refused.",
    default=64,
    minimum=1,
)
SPOOL_MINUTES = env.integer(
    "MARKETPLACE_SPOOL_MINUTES", "How long they are kept before the same happens.", default=15, minimum=1
)
INTENT_SYNC = env.text(
    "MARKETPLACE_INTENT_SYNC",
    "Which calls wait until their intent is on disk, so that even a power failure leaves a trace of them.",
    "writes",
    choices=("writes", "all", "none"),
)
CONNECTIONS_PER_SERVER = env.integer(
    "MARKETPLACE_CONNECTIONS_PER_SERVER",
    "Connections of one process to one address of a server; streams that only listen have at most half of them.",
    default=512,
    minimum=1,
)
STREAMS_PER_KEY = env.integer(
    "MARKETPLACE_STREAMS_PER_KEY", "Listening streams of one key that a process holds.", default=500, minimum=1
)
STREAMS_PER_ORGANISATION = env.integer(
    "MARKETPLACE_STREAMS_PER_ORGANISATION",
    "Listening streams of one organisation that a process holds.",
    default=1000,
    minimum=1,
)
DRAIN_S = env.integer(
    "MARKETPLACE_DRAIN_SECONDS",
    "How long a process that was told to stop still serves, so that proxies notice; then it finishes what is in flight.",
    default=_GRACES.drain,
)
STOP_GRACE_S = env.integer(
    graces.STOP,
    "How long `scripts/up` lets what is in flight finish when it stops the web process.",
    default=_GRACES.stop,
    minimum=1,
)
KILL_AFTER_S = env.integer(
    graces.KILL,
    "After how long `scripts/up` ends a web process that was told to stop; more than draining and finishing take.",
    default=_GRACES.kill,
    minimum=1,
)
HUNG_AFTER_S = env.integer(
    graces.HUNG,
    "After how long without an answer `scripts/up` starts a process again; 0 leaves it alone.",
    default=_GRACES.hung,
)
HEARTBEAT_FILE = env.text(
    "MARKETPLACE_HEARTBEAT_FILE", "File that a worker or beat touches to show that it is not hung.", ""
)
CLOCK_FILE = env.text(
    "MARKETPLACE_CLOCK_FILE",
    "File with the seconds by which every process is ahead of the machine's clock, for tests that need a month to pass; "
    "refused in production.",
    "",
)
if CLOCK_FILE and not DEVELOPMENT:
    raise ImproperlyConfigured("MARKETPLACE_CLOCK_FILE moves the clock, which production does not allow. Unset it.")
LIMIT_KEY_REQUESTS_PER_MINUTE = env.integer(
    "MARKETPLACE_LIMIT_KEY_PER_MINUTE",
    "Requests per minute of each key, where its organisation has set no rate for keys; 0 is no limit.",
    default=600,
)
APPROVAL_LIFETIME_S = env.integer(
    "MARKETPLACE_APPROVAL_LIFETIME_S",
    "How long a call waits for a person's approval, and how long it may be used from the decision on, in seconds.",
    default=900,
)
APPROVAL_ARGUMENTS_KEPT_H = env.integer(
    "MARKETPLACE_APPROVAL_ARGUMENTS_KEPT_HOURS",
    "How long the arguments of a call that needed approval are kept after it was decided, used or over.",
    default=24,
)
API_REQUESTS_PER_MINUTE = env.integer(
    "MARKETPLACE_API_PER_MINUTE",
    "Requests per minute of each caller to APIs that need no key; 0 is no limit.",
    default=600,
)
PUBLISH_SERVERS_MAX = env.integer(
    "MARKETPLACE_PUBLISH_SERVERS_MAX",
    "Servers that an organisation can have published by itself at one time.",
    default=5,
)
LIMIT_SPEND_PER_MONTH = env.integer(
    "MARKETPLACE_LIMIT_SPEND_PER_MONTH",
    "USD that an organisation may spend in a month before it sets a cap of its own; 0 is no limit.",
    default=50,
)

METRICS_TOKEN = env.text(
    "MARKETPLACE_METRICS_TOKEN",
    "Bearer token for /metrics of a gateway; without one it is closed in production, and open to this machine elsewhere.",
    "",
)
OTLP_ENDPOINT = env.text(
    "MARKETPLACE_OTLP_ENDPOINT",
    "Where gateways send OpenTelemetry spans over HTTP, such as http://collector:4318/v1/traces; needs the extra `telemetry`.",
    "",
)
FAILPOINT = env.text("FAILPOINT", "For tests: the point at which a gateway kills itself; ignored elsewhere.", "")

EMAIL_URL = env.text(
    "MARKETPLACE_SMTP_URL",
    "smtp://user:password@host:port, or empty for the development mailbox.",
    "" if DEVELOPMENT else None,
)
DEFAULT_FROM_EMAIL = env.text(
    "MARKETPLACE_FROM_EMAIL", "Sender of mails.", "MCP Marketplace <no-reply@marketplace.invalid>"
)
if EMAIL_URL:
    _mail = urlsplit(EMAIL_URL)
    EMAIL_HOST, EMAIL_PORT = _mail.hostname or "", _mail.port or 587
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail.username or "", _mail.password or ""
    EMAIL_USE_TLS = _mail.scheme == "smtps" or EMAIL_PORT == 587
elif TESTING:
    EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
MAILBOX_DIR = DATA_DIR / "mailbox"
EMAIL_FILE_PATH = str(MAILBOX_DIR)
MAILBOX_PAGE = DEVELOPMENT and not EMAIL_URL

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "core.logs.JSONFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": sys.stderr}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "django.server": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        # The server's own lines take the same form. Of requests it says nothing: addresses of pages may carry codes of a
        # sign-in, and each call has its row.
        "uvicorn": {"handlers": [], "propagate": True},
        "uvicorn.access": {"handlers": [], "propagate": False},
    },
}
