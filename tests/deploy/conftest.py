"""A whole hub for the tests that ask what it shows."""

from tests.support.runtime import hub_runtime, hub_world

__all__ = ["hub_runtime", "hub_world"]
