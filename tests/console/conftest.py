"""The fixtures of a clean hub with two tenants, shared by the pages and the REST doors."""

from tests.support.console import acme, login, recorded_templates, staff, umbrella, worlds

__all__ = ["acme", "login", "recorded_templates", "staff", "umbrella", "worlds"]
