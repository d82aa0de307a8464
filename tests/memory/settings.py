"""Only what this package needs; the database is filled in by conftest."""

SECRET_KEY = "test"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "tenants",
    "memory",
]
USE_TZ = True
TIME_ZONE = "UTC"
HUB_DB_ROLE_PREFIX = "hub"
HUB_DATABASE_POOLER = ""
_NOWHERE = {"ENGINE": "tenants.db.backend", "NAME": "x", "HOST": "/nonexistent"}
DATABASES = {"default": {**_NOWHERE}, "owner": {**_NOWHERE, "OPTIONS": {"hub_role": "owner"}}}
