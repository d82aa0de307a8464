"""The fixtures of a clean hub with two tenants, shared by the pages and the REST doors."""

from tests.support.console import acme, login, recorded_templates, staff, umbrella, worlds
from tests.support.runtime import hub_runtime, hub_world

__all__ = ["acme", "hub_runtime", "hub_world", "login", "recorded_templates", "staff", "umbrella", "worlds"]
