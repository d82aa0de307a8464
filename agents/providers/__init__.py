"""Model providers by name. A provider is one module here and one line below."""

from collections.abc import Mapping

import aiohttp

from agents.providers.base import Provider
from agents.providers.offline import Offline
from agents.providers.openai_compatible import OpenAICompatible

OPENAI = "openai"
OFFLINE = "offline"


def providers(session: aiohttp.ClientSession) -> Mapping[str, Provider]:
    """All providers over one HTTP session; the hub makes the session, so that it owns what may be connected to."""
    return {OPENAI: OpenAICompatible(session), "openai_compatible": OpenAICompatible(session), OFFLINE: Offline()}
