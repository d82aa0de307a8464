"""Web chat: the hub's own page and widget. A pull channel: the stored reply is the delivery, the client fetches it.

Messages come over the hub's own socket edge, which checks visitors' tokens and origins; no webhook is ever accepted.
Level: complete.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from channels_adapters.base import Credentials
from channels_adapters.errors import FieldRefused
from channels_adapters.pull import PullAdapter, pull_capabilities

FieldKind = Literal["text", "email", "tel", "long", "choice"]
_KINDS: Final = ("text", "email", "tel", "long")
_LINE: Final = re.compile(r"^([a-z][a-z0-9_]{0,31})(\*?)(?:\(([^()]{1,200})\))?\s*:\s*(\S.{0,119})$")
_LOGO: Final = re.compile(r"^data:(image/(?:png|jpeg|gif|webp));base64,([A-Za-z0-9+/=\s]+)$")
MOST_FIELDS: Final = 8
MOST_LOGO: Final = 64 * 1024
SHORTEST_SECRET: Final = 32
UPLOAD_TYPES: Final = (
    "image/png image/jpeg image/gif image/webp application/pdf text/plain text/csv text/markdown application/json "
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document "
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet "
    "application/vnd.openxmlformats-officedocument.presentationml.presentation"
)
KNOWN_TYPES: Final = frozenset(
    [*UPLOAD_TYPES.split(), "audio/mpeg", "audio/ogg", "audio/wav", "audio/webm", "audio/mp4", "video/mp4"]
)
"""What the hub recognises by its first bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One question before the first message."""

    name: str
    label: str
    kind: FieldKind
    required: bool
    options: tuple[str, ...] = ()


class WebCredentials(Credentials):
    """What a chat page looks like and who may open it."""

    allowed_origins: str = ""
    """Origins whose pages may open the chat, separated by spaces; empty: only the hub's own page; `*`: every page."""
    identity_secret: SecretStr = SecretStr("")
    """Signs the tokens with which a site vouches for its signed-in users (at least 32 characters); empty: visitors stay
    anonymous."""
    title: str = Field(default="", max_length=120)
    greeting: str = Field(default="", max_length=2000)
    """Shown before the first message; it is not stored as one."""
    suggestions: str = Field(default="", max_length=1000)
    """Questions offered under the greeting, one per line."""
    language: Literal["", "en", "zh"] = ""
    """Empty: the visitor's browser decides."""
    colour: str = Field(default="", pattern=r"^(#[0-9a-fA-F]{6})?$")
    """Of the launcher and the visitor's own words, as #rrggbb; empty: the page's own."""
    theme: Literal["auto", "light", "dark"] = "auto"
    """auto: as the visitor's system is set."""
    logo: str = Field(default="", max_length=120_000)
    """A picture as a data: address (PNG, JPEG, GIF or WebP, at most 64 KiB); nothing is loaded from elsewhere."""
    position: Literal["right", "left"] = "right"
    """The corner of the launcher."""
    form: str = Field(default="", max_length=2000)
    """Asked before the first message, one question per line: `email*: Your e-mail`. A star makes it required; `email`,
    `phone` and `message` check or widen the field, `topic(Sales|Support): About` offers a choice."""
    remote_images: bool = False
    """Whether pictures of other sites in an answer are loaded; the site that holds one learns who reads it."""
    uploads: bool = True
    """Whether visitors may send files and pictures."""
    upload_megabytes: int = Field(default=10, ge=1, le=50)
    """The largest file."""
    upload_types: str = Field(default=UPLOAD_TYPES, max_length=2000)
    """Media types that are accepted, separated by spaces; what a file is, its first bytes tell."""

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        for origin in value.split():
            parts = urlsplit(origin)
            plain = parts.scheme in ("http", "https") and parts.netloc and not (parts.path or parts.query)
            if origin != "*" and not plain:
                raise ValueError("an origin is a scheme and a host, such as https://example.org")
        return " ".join(value.split())

    @field_validator("identity_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < SHORTEST_SECRET:
            raise FieldRefused("the secret needs at least {count} characters", count=SHORTEST_SECRET)
        return value

    @field_validator("logo")
    @classmethod
    def _picture(cls, value: str) -> str:
        if value:
            read_logo(value)
        return value

    @field_validator("form")
    @classmethod
    def _form(cls, value: str) -> str:
        read_form(value)
        return value

    @field_validator("upload_types")
    @classmethod
    def _types(cls, value: str) -> str:
        if unknown := sorted(set(value.lower().split()) - KNOWN_TYPES):
            raise FieldRefused("not recognised by its first bytes: {kinds}", kinds=" ".join(unknown)[:250])
        return " ".join(value.lower().split())

    @property
    def origins(self) -> frozenset[str]:
        """The allowed origins, lower case as browsers send them."""
        return frozenset(origin.lower() for origin in self.allowed_origins.split())

    @property
    def fields(self) -> tuple[FormField, ...]:
        """The form's questions."""
        return read_form(self.form)


def read_logo(value: str) -> tuple[str, bytes]:
    """Media type and bytes of a data: address. Raises ValueError."""
    match = _LOGO.match(value.strip())
    if match is None:
        raise ValueError("a logo is a data: address of a PNG, JPEG, GIF or WebP in base64")
    try:
        data = base64.b64decode("".join(match[2].split()), validate=True)
    except binascii.Error:
        raise ValueError("the logo's base64 is broken") from None
    if len(data) > MOST_LOGO:
        raise FieldRefused("a logo holds at most {size} KiB", size=MOST_LOGO // 1024)
    return match[1], data


def read_form(value: str) -> tuple[FormField, ...]:
    """The questions of a form's text. Raises ValueError with the line that is not understood."""
    found: dict[str, FormField] = {}
    for line in filter(None, map(str.strip, value.splitlines())):
        match = _LINE.match(line)
        if match is None or match[1] in found:
            raise FieldRefused(
                "not understood, or asked twice: {line!r} (one question per line, as `email*: Label`)", line=line[:60]
            )
        found[match[1]] = _question(match)
    if len(found) > MOST_FIELDS:
        raise FieldRefused("a form asks at most {count} questions", count=MOST_FIELDS)
    return tuple(found.values())


def _question(match: "re.Match[str]") -> FormField:
    name, star, inside, label = match[1], match[2], match[3] or "", match[4].strip()
    options = tuple(filter(None, (option.strip() for option in inside.split("|")))) if "|" in inside else ()
    kind: FieldKind = {"email": "email", "phone": "tel", "message": "long"}.get(name, "text")  # type: ignore[assignment]
    if options:
        kind = "choice"
    elif inside in _KINDS:
        kind = inside  # type: ignore[assignment]
    elif inside:
        raise FieldRefused(
            "{kind!r} is neither a kind of field ({kinds}) nor choices parted by |",
            kind=inside,
            kinds=", ".join(_KINDS),
        )
    return FormField(name=name, label=label, kind=kind, required=bool(star), options=options)


class WebAdapter(PullAdapter[WebCredentials]):
    """Replies are stored as they are; the page renders Markdown itself."""

    slug = "web"
    name = "Web chat"
    docs_url = "https://developer.mozilla.org/docs/Web/API/WebSocket"
    credentials_type: ClassVar[type[Credentials]] = WebCredentials
    capabilities = pull_capabilities()
