"""Hub as a Django application."""

from django.apps import AppConfig


class HubConfig(AppConfig):
    """Connections, contacts, sessions, messages, turns and deliveries."""

    name = "hub"
    label = "hub"
    verbose_name = "Hub"

    def ready(self) -> None:
        """Name the sealed columns, so that key rotation finds them; have changes told to every process."""
        from hub import changes
        from tenants.crypto.rotation import register_column

        changes.watch()
        register_column("connection", "secrets", "credentials")
        for table, column in (
            ("contact", "external"),
            ("contact", "name"),
            ("session", "address"),
            ("session", "title"),
            ("message", "body"),
            ("turn", "partial"),
            ("turn", "journal"),
            ("delivery", "address"),
            ("delivery", "part"),
        ):
            register_column(table, column, "content")
