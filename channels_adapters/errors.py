"""What can go wrong between us and a platform; the type decides what the pipeline does, adapters never retry.

ChannelError
├── RequestRejected            inbound, answered to the platform
│   ├── SignatureInvalid       401, nothing stored
│   ├── PayloadMalformed       400, nothing stored
│   └── KeyUnknown             the edge refreshes the key source once and verifies again, then 401
├── Transient(retry_after)     outbound, retried with back-off inside the delivery window
│   ├── RateLimited
│   ├── Unavailable
│   └── NotConnected           the request certainly never reached the platform
├── OutcomeUnknown             outbound, sent but no answer: never repeated blindly
└── Permanent                  outbound, never retried
    ├── CredentialsRevoked     pauses the connection
    ├── RecipientGone
    ├── WindowClosed
    ├── ContentRefused
    └── Unsupported            cannot be expressed on this channel

FieldRefused stands apart: an operator's setting that cannot be used, found before anything is sent.
"""


class ChannelError(Exception):
    """Root. `detail` is for operators: it never holds a credential or a message text."""

    def __init__(self, detail: str = "", *, status: int | None = None, code: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code


class RequestRejected(ChannelError):
    """An inbound request that is answered with `http_status` and leaves no trace but a counter."""

    http_status = 400


class SignatureInvalid(RequestRejected):
    """Not authentic, or not fresh."""

    http_status = 401


class PayloadMalformed(RequestRejected):
    """Authentic, but not what the platform documents."""

    http_status = 400


class KeyUnknown(RequestRejected):
    """Signed by a key that the key source does not hold (yet)."""

    http_status = 401


class Transient(ChannelError):
    """Worth another try after `retry_after` seconds (None: the pipeline's back-off)."""

    def __init__(
        self, detail: str = "", *, retry_after: float | None = None, status: int | None = None, code: str = ""
    ) -> None:
        super().__init__(detail, status=status, code=code)
        self.retry_after = retry_after


class RateLimited(Transient):
    """The platform asks us to slow down."""


class Unavailable(Transient):
    """The platform answered with a fault of its own; the request had no effect."""


class NotConnected(Transient):
    """No connection could be made: the request certainly had no effect."""


class OutcomeUnknown(ChannelError):
    """The request went out and no answer came: it may have had its effect."""


class Permanent(ChannelError):
    """No retry will help."""


class CredentialsRevoked(Permanent):
    """The platform no longer accepts our credentials."""


class RecipientGone(Permanent):
    """The chat, user or thread does not exist or blocked us."""


class WindowClosed(Permanent):
    """The platform's time window for free answers is over."""


class ContentRefused(Permanent):
    """The platform refuses this content."""


class Unsupported(Permanent):
    """This cannot be expressed on the channel."""


class FieldRefused(ValueError):
    """A field of the Credentials cannot be used. `text` takes `values` as `str.format` does, for other languages."""

    def __init__(self, text: str, /, **values: object) -> None:
        super().__init__(text.format(**values))
        self.text = text
        self.values = values
