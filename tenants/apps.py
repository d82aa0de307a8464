"""The Django application `tenants`."""

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate

MONTHS_AHEAD = 3


class TenantsConfig(AppConfig):
    """Registers what must follow every migration: partitions ahead, and grants on Django's own tables."""

    name = "tenants"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the follow-up of `migrate`."""
        post_migrate.connect(_after_migrate, sender=self)


def _after_migrate(using: str, **_: Any) -> None:
    from tenants.db.framework import expose_framework
    from tenants.db.partitions import ensure_partitions

    expose_framework(using)
    ensure_partitions(connections[using], months_ahead=MONTHS_AHEAD)
