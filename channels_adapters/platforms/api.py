"""HTTP API: programs that call the hub with an API key. A pull channel: the response carries the reply.

Requests come over the completions and REST edges, which check the key; no webhook is ever accepted.
Level: complete.
"""

from typing import ClassVar

from pydantic import Field

from channels_adapters.base import Credentials
from channels_adapters.pull import PullAdapter, pull_capabilities


class ApiCredentials(Credentials):
    """API keys belong to the tenant, so a connection has options only."""

    allowed_origins: str = ""
    """Origins whose pages may call the API from a browser, separated by spaces; empty: none."""
    wait_limit: float = Field(default=120.0, ge=1.0, le=600.0)
    """Seconds that a call without streaming waits for its reply."""


class ApiAdapter(PullAdapter[ApiCredentials]):
    """Replies are stored as they are."""

    slug = "api"
    name = "HTTP API"
    docs_url = "https://platform.openai.com/docs/api-reference/chat"
    credentials_type: ClassVar[type[Credentials]] = ApiCredentials
    capabilities = pull_capabilities(machine=True)
