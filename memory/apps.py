"""Django's view of this package."""

from django.apps import AppConfig


class MemoryConfig(AppConfig):
    """Lines waiting to be summarised, the batches that claim them, and what came of them."""

    name = "memory"
    label = "memory"
    verbose_name = "Memory"
