"""Channels whose clients come to the hub: the stored reply is the delivery, and no webhook is ever accepted."""

from collections.abc import Sequence
from typing import TypeVar

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

C = TypeVar("C", bound=Credentials)


def pull_capabilities(*, machine: bool = False) -> Capabilities:
    """What every pull channel can do; `machine` where the other side is a program."""
    return Capabilities(
        text_limit=1_000_000,
        markup="markdown",
        images=True,
        files=True,
        buttons=20,
        pull=True,
        machine=machine,
        idempotency="key",
        sends_per_second=1000.0,
        sends_per_second_per_conversation=100.0,
    )


class PullAdapter(ChannelAdapter[C]):
    """Replies are stored as they are; their own doors check who asks."""

    @override
    def verify(self, request: WebhookRequest) -> None:
        raise SignatureInvalid(f"{self.slug} takes no webhooks")

    @override
    def parse(self, request: WebhookRequest) -> Sequence[InboundEvent]:
        return [Ignored(reason="pull_channel")]

    @override
    def render(self, reply: Reply) -> Sequence[Part]:
        buttons = [{"label": choice.label, "value": choice.value} for choice in reply.quick_replies]
        return [Part(kind="reply", payload={"text": reply.text, "quick_replies": buttons}, text=reply.text)]

    @override
    async def send(self, address: Address, part: Part, *, key: str) -> SentMessage:
        raise Unsupported(f"replies of {self.slug} are fetched by the client")

    @override
    async def probe(self) -> Probe:
        """Nothing outside the hub is needed."""
        return Probe(ok=True, detail="served by the hub itself")
