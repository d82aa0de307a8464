"""Hub as a Django application."""

from django.apps import AppConfig


class HubConfig(AppConfig):
    """Connections, contacts, sessions, messages, turns and deliveries."""

    name = "hub"
    label = "hub"
    verbose_name = "Hub"
