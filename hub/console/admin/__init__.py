"""The pages of the admin; importing them registers them."""

from hub.console.admin import (
    agents,
    connections,
    conversations,
    deliveries,
    keys,
    limits,
    memory,
    people,
    plans,
    platform,
    tenants,
    turns,
)
from hub.console.site import site

__all__ = [
    "agents",
    "connections",
    "conversations",
    "deliveries",
    "keys",
    "limits",
    "memory",
    "people",
    "plans",
    "platform",
    "site",
    "tenants",
    "turns",
]
