"""Grants on the tables of Django and its applications, whose migrations are not ours to extend."""

from django.apps import apps
from django.conf import settings
from django.db import connections

from tenants.db.rls import Expose

# Accounts, sessions and the admin belong to no tenant; a tenant's members are rows of `member`, which is protected.
FRAMEWORK = ("auth", "contenttypes", "sessions", "admin", "otp_totp", "otp_static")


def expose_framework(alias: str) -> None:
    """Let the application role use the framework's tables. Idempotent; runs as the owner after each migrate.

    `settings.HUB_SHARED_APPS` replaces the list of application labels.
    """
    labels = getattr(settings, "HUB_SHARED_APPS", FRAMEWORK)
    with connections[alias].cursor() as cursor:
        known = set(connections[alias].introspection.table_names(cursor))
        tables = {
            model._meta.db_table
            for label in labels
            if apps.is_installed(f"django.contrib.{label}") or label in apps.app_configs
            for model in apps.get_app_config(label).get_models(include_auto_created=True)
        }
        for table in sorted(tables & known):
            for statement in Expose(table, app="rw", ops=True).statements():
                cursor.execute(statement.as_string(None))
        if "django_migrations" in known:
            for statement in Expose("django_migrations", app="r", ops=True).statements():
                cursor.execute(statement.as_string(None))
