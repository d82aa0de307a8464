"""Django's settings, built from the environment that hub/env.py has checked.

Values of our own carry the prefix HUB_; packages below hub read them here or get them by constructor.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hub.env import env
from hub.settings.console import UNFOLD as UNFOLD
from hub.settings.databases import database
from hub.settings.logs import configure

_env = env()
BASE_DIR = Path(__file__).resolve().parent.parent

# --- ours, for the packages below hub ---
HUB_ENV = _env
HUB_DB_ROLE_PREFIX = _env.db_role_prefix
HUB_DATABASE_URL = _env.login_dsn
HUB_DATABASE_OWNER_URL = _env.owner_dsn
HUB_DATABASE_DIRECT_URL = _env.direct_dsn
HUB_DATABASE_POOLER = _env.database_pooler
HUB_REDIS_URL = _env.redis
HUB_BROKER_URL = _env.broker
HUB_PUBLIC_URL = _env.site_url
HUB_EGRESS_ALLOW = _env.egress_allow
HUB_RETRY_POLICY = _env.retry_policy
HUB_MEMORY_LIMIT_PERCENT = _env.memory_limit_percent
HUB_L1_SESSIONS = _env.l1_sessions
HUB_TURN_CONCURRENCY = _env.turn_concurrency
HUB_LEASE_SECONDS = _env.lease_seconds
HUB_RELEASE_IDLE_SECONDS = _env.release_idle_seconds
HUB_DRAIN = _env.drain

# --- Django ---
SECRET_KEY = _env.django_secret()
DEBUG = False
_site = urlsplit(HUB_PUBLIC_URL)
ALLOWED_HOSTS = [*{_site.hostname or "localhost", "localhost", "127.0.0.1", "[::1]", *_env.allowed_hosts}]
CSRF_TRUSTED_ORIGINS = [f"{_site.scheme}://{_site.netloc}"]
_secure = _site.scheme == "https"

# Packages of ours come as they are built; a package without an AppConfig has no tables and no admin yet.
_OURS = [name for name in ("tenants", "memory", "agents", "hub") if find_spec(f"{name}.apps")]
INSTALLED_APPS = [
    # Only its runserver needs this; elsewhere it would load Twisted into each process and command.
    *(["daphne"] if sys.argv[1:2] == ["runserver"] else []),
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    *_OURS,
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "hub.console.tenancy.TenancyMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "hub.urls"
ASGI_APPLICATION = "hub.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# `default` acts as the app role under row-level security; `owner` is for `hub migrate` only.
DATABASES = {"default": database(_env.login_dsn, role="app")}
if _env.owner_dsn is not None:
    DATABASES["owner"] = database(_env.owner_dsn, role="owner")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CHANNEL_LAYERS: dict[str, dict[str, Any]] = {}  # streams fan out inside each process; see docs/architecture.md
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": _env.redis}}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "/admin/login/"
LOGIN_REDIRECT_URL = "/admin/"  # the form does not say where to go when it is opened by its own address

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = ["hub.formats"]

STATIC_URL = "/static/"
# Only for those who collect; otherwise the finders below serve, and a folder that is not there would be warned about.
STATIC_ROOT = _env.layout.root / "static" if (_env.layout.root / "static").is_dir() else None
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# Serve straight from the installed packages: nothing to collect before the first start.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = _secure
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SECURE = _secure
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if _secure else 0
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.CursorPagination",
    "PAGE_SIZE": 50,
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    # Closed unless a view says otherwise.
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Agent hub",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "DESCRIPTION": (
        "A tenant's own rows over HTTP. Errors are RFC 9457 problems, lists are paged by keys, POST takes an "
        "Idempotency-Key, and keys are limited by their plan. The words and the policy of versions are in docs/api.md."
    ),
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "ConnectionStatusEnum": "hub.models.ConnectionStatus",
        "DeliveryStatusEnum": "hub.models.DeliveryStatus",
        "MessageStatusEnum": "hub.models.MessageStatus",
        "TurnStatusEnum": "hub.models.TurnStatus",
        "TenantStatusEnum": "tenants.models.Tenant.Status",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
}

# structlog writes for the standard library too, so Django's own configuration stays out of it.
LOGGING_CONFIG = None
configure(level=_env.log_level, form=_env.log_format)
