"""Web chat: the hub's own page and widget. A pull channel: the stored reply is the delivery, the client fetches it.

Messages come over the hub's own socket edge, which checks visitors' tokens and origins; no webhook is ever accepted.
Level: complete.
"""

from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from channels_adapters.base import Credentials
from channels_adapters.pull import PullAdapter, pull_capabilities


class WebCredentials(Credentials):
    """What a chat page looks like and who may open it."""

    allowed_origins: str = ""
    """Origins whose pages may open the chat, separated by spaces; empty: only the hub's own page; `*`: every page."""
    identity_secret: SecretStr = SecretStr("")
    """Signs the tokens with which a site vouches for its signed-in users; empty: visitors stay anonymous."""
    title: str = Field(default="", max_length=120)
    greeting: str = Field(default="", max_length=2000)
    """Shown before the first message; it is not stored as one."""
    suggestions: str = Field(default="", max_length=1000)
    """Questions offered under the greeting, one per line."""
    language: Literal["", "en", "zh"] = ""
    """Empty: the visitor's browser decides."""
    colour: str = Field(default="", pattern=r"^(#[0-9a-fA-F]{6})?$")
    uploads: bool = True

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        for origin in value.split():
            parts = urlsplit(origin)
            plain = parts.scheme in ("http", "https") and parts.netloc and not (parts.path or parts.query)
            if origin != "*" and not plain:
                raise ValueError("an origin is a scheme and a host, such as https://example.org")
        return " ".join(value.split())

    @property
    def origins(self) -> frozenset[str]:
        """The allowed origins, lower case as browsers send them."""
        return frozenset(origin.lower() for origin in self.allowed_origins.split())


class WebAdapter(PullAdapter[WebCredentials]):
    """Replies are stored as they are; the page renders Markdown itself."""

    slug = "web"
    name = "Web chat"
    docs_url = "https://developer.mozilla.org/docs/Web/API/WebSocket"
    credentials_type: ClassVar[type[Credentials]] = WebCredentials
    capabilities = pull_capabilities()
