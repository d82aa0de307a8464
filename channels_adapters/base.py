"""The contract that every channel implements: synchronous, pure translation and one network call."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from channels_adapters.types import (
    Address,
    Attachment,
    Capabilities,
    InboundEvent,
    InboundMessage,
    Outcome,
    Part,
    Probe,
    Reply,
    SentMessage,
    WebhookRequest,
    WebhookResponse,
)


class Credentials(BaseModel):
    """Base of every adapter's credentials and options; secrets are `SecretStr`. It drives the admin's form."""

    # Attribute docstrings become the descriptions that forms show.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    api_base: str = ""
    """Another base address of the platform's API (a local server, a regional host); empty: the platform's own."""


C = TypeVar("C", bound=Credentials)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A platform's answer, read whole (bounded)."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http(Protocol):
    """The one way out: made by the hub over its egress client, so that every address is checked and bounded.

    Raises NotConnected when no connection could be made and OutcomeUnknown when the request was sent but no whole
    answer came; any HTTP status is returned, not raised.
    """

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: object | None = None,
        data: bytes | None = None,
        files: Sequence[tuple[str, str, str, bytes]] = (),
        form: Mapping[str, str] | None = None,
        timeout: float = 15.0,
        max_bytes: int = 1 << 20,
    ) -> HttpResponse:
        """Send one request. `files` are (field, file name, media type, bytes) of a multipart body with `form`.

        An answer of more than `max_bytes` is not a whole answer: OutcomeUnknown. Redirects are not followed.
        """
        ...


class KeySource(Protocol):
    """Public keys of a platform (JWKS, x509), fetched and cached by the hub."""

    def get(self, url: str) -> Mapping[str, object] | None:
        """The document last fetched from `url`, or None when there is none yet (raise KeyUnknown then)."""
        ...


@dataclass(frozen=True, slots=True)
class Scope:
    """What the hub knows of the connection beside its credentials."""

    connection_id: str
    public_id: str
    name: str = ""


class ChannelAdapter(ABC, Generic[C]):
    """One connection's translator. Cheap to build; holds no state that outlives a call."""

    slug: ClassVar[str]
    name: ClassVar[str]
    docs_url: ClassVar[str]
    credentials_type: ClassVar[type[Credentials]]
    capabilities: Capabilities
    """A class attribute; a connection's options may narrow it for the instance in `__init__`."""

    def __init__(self, credentials: C, *, http: Http, keys: KeySource, scope: Scope) -> None:
        self.credentials = credentials
        self.http = http
        self.keys = keys
        self.scope = scope

    # ---- inbound: synchronous and pure -------------------------------------------------------------------------

    @abstractmethod
    def verify(self, request: WebhookRequest) -> None:
        """Return when the request is authentic and fresh; raise SignatureInvalid (or KeyUnknown) otherwise."""

    @abstractmethod
    def parse(self, request: WebhookRequest) -> Sequence[InboundEvent]:
        """The events of a verified request. Unknown kinds become Ignored; PayloadMalformed only for broken bodies."""

    def dedupe_key(self, event: InboundEvent, request: WebhookRequest) -> str:  # noqa: ARG002 (for subclasses)
        """What makes two deliveries the same event, within one connection."""
        if isinstance(event, InboundMessage):
            return event.external_id
        return f"{type(event).__name__}:{getattr(event, 'edit_id', '') or getattr(event, 'external_id', '')}"

    def acknowledge(
        self,
        request: WebhookRequest,  # noqa: ARG002 (for subclasses)
        events: Sequence[InboundEvent],  # noqa: ARG002
        outcomes: Sequence[Outcome],  # noqa: ARG002
        answer: Reply | None = None,  # noqa: ARG002
    ) -> WebhookResponse:
        """The HTTP answer after everything was stored; handshakes are answered here too."""
        return WebhookResponse()

    # ---- outbound ----------------------------------------------------------------------------------------------

    @abstractmethod
    def render(self, reply: Reply) -> Sequence[Part]:
        """The reply as parts within the platform's limits; pure and deterministic."""

    @abstractmethod
    async def send(self, address: Address, part: Part, *, key: str) -> SentMessage:
        """Send one part. `key` is stable per delivery: pass it on where the platform deduplicates.

        A part made by `types.streamed` opens a message that `update` and `finish` go on with.
        """

    # ---- optional; overriding one must agree with `capabilities` ------------------------------------------------

    async def update(self, address: Address, sent: SentMessage, part: Part, *, key: str) -> SentMessage:
        """Bring the streamed message `sent` to `part` (cumulative text); returns what the next update must get."""
        raise NotImplementedError

    async def finish(self, address: Address, sent: SentMessage, part: Part, *, key: str) -> SentMessage:
        """End a streamed message with its final text."""
        raise NotImplementedError

    async def show_typing(self, address: Address) -> None:
        """Show that an answer is being written."""
        raise NotImplementedError

    async def fetch(self, attachment: Attachment, *, max_bytes: int) -> Attachment:
        """The attachment with its `data`."""
        raise NotImplementedError

    async def install(self, webhook_url: str) -> str:
        """Register the webhook with the platform; returns a line for the operator."""
        raise NotImplementedError

    async def probe(self) -> Probe:
        """Really ask the platform whether the credentials work."""
        raise NotImplementedError

    async def reconcile(self, address: Address, part: Part, *, key: str, since: datetime) -> SentMessage | None:
        """After an unknown outcome: the message if the platform has it, None if it certainly has not."""
        raise NotImplementedError

    def identify(self, event: InboundEvent) -> str:  # noqa: ARG002 (for subclasses)
        """The application or workspace id inside the payload, checked against the credentials; empty = none."""
        return ""
