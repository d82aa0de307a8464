"""HTTP API: programs that call the hub with an API key. A pull channel: the response carries the reply.

Requests come over the completions and REST edges, which check the key; no webhook is ever accepted.
Level: complete.
"""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field
from typing_extensions import override

from channels_adapters.base import ChannelAdapter, Credentials
from channels_adapters.errors import SignatureInvalid, Unsupported
from channels_adapters.types import (
    Address,
    Capabilities,
    Ignored,
    InboundEvent,
    Part,
    Probe,
    Reply,
    SentMessage,
    WebhookRequest,
)


class ApiCredentials(Credentials):
    """API keys belong to the tenant, so a connection has options only."""

    allowed_origins: str = ""
    """Origins whose pages may call the API from a browser, separated by spaces; empty: none."""
    wait_limit: float = Field(default=120.0, ge=1.0, le=600.0)
    """Seconds that a call without streaming waits for its reply."""


class ApiAdapter(ChannelAdapter[ApiCredentials]):
    """Replies are stored as they are."""

    slug = "api"
    name = "HTTP API"
    docs_url = "https://platform.openai.com/docs/api-reference/chat"
    credentials_type: ClassVar[type[Credentials]] = ApiCredentials
    capabilities = Capabilities(
        text_limit=1_000_000,
        markup="markdown",
        images=True,
        files=True,
        buttons=20,
        pull=True,
        machine=True,
        idempotency="key",
        sends_per_second=1000.0,
        sends_per_second_per_conversation=100.0,
    )

    @override
    def verify(self, request: WebhookRequest) -> None:
        raise SignatureInvalid("the API takes no webhooks")

    @override
    def parse(self, request: WebhookRequest) -> Sequence[InboundEvent]:
        return [Ignored(reason="pull_channel")]

    @override
    def render(self, reply: Reply) -> Sequence[Part]:
        buttons = [{"label": choice.label, "value": choice.value} for choice in reply.quick_replies]
        return [Part(kind="reply", payload={"text": reply.text, "quick_replies": buttons}, text=reply.text)]

    @override
    async def send(self, address: Address, part: Part, *, key: str) -> SentMessage:
        raise Unsupported("API replies are fetched by the client")

    @override
    async def probe(self) -> Probe:
        """Nothing outside the hub is needed."""
        return Probe(ok=True, detail="served by the hub itself")
