"""The fixtures of a whole hub."""

from tests.support.runtime import hub_runtime, hub_world

__all__ = ["hub_runtime", "hub_world"]
