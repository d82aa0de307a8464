"""Agents as a Django application."""

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    """Registers the sealed columns, so that key rotation finds them."""

    name = "agents"
    verbose_name = "Agents"

    def ready(self) -> None:
        """Name the sealed columns."""
        from tenants.crypto.rotation import register_column

        register_column("agent", "credentials", "credentials")
        register_column("checkpoint", "state", "content")
        register_column("tool_call", "arguments", "content")
        register_column("tool_call", "result", "content")
