"""Django's view of this package."""

from django.apps import AppConfig


class MemoryConfig(AppConfig):
    """Lines waiting to be summarised, the batches that claim them, and what came of them."""

    name = "memory"
    label = "memory"
    verbose_name = "Memory"

    def ready(self) -> None:
        """Name the sealed columns, so that key rotation finds them."""
        from tenants.crypto.rotation import register_column

        for table, column in (("memory_line", "body"), ("summary", "text"), ("summary", "body")):
            register_column(table, column, "memory")
