"""Model providers by name. A provider is one module here and one line below."""

from collections.abc import Mapping

from agents.providers.base import Provider
from agents.providers.offline import Offline
from agents.providers.openai_compatible import OpenAICompatible
from agents.providers.wire import Wire

OPENAI = "openai"
OFFLINE = "offline"


def providers(wire: Wire) -> Mapping[str, Provider]:
    """All providers over one wire; the hub makes it, so that it owns what may be connected to."""
    return {OPENAI: OpenAICompatible(wire), "openai_compatible": OpenAICompatible(wire), OFFLINE: Offline()}
