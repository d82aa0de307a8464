"""What the suite runs over: every adapter of the registry, its fixture file and its fake platform."""

import base64
import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from channels_adapters import registry
from channels_adapters.base import ChannelAdapter, Http, HttpResponse, Scope
from channels_adapters.types import Address, Attachment, AttachmentKind, QuickReply, Reply, WebhookRequest
from tests.support.http import NoKeys
from tests.support.platforms.base import FakePlatform
from tests.support.platforms.registry import FAKES

FIXTURES = Path(__file__).parents[1] / "channels_adapters" / "fixtures"
VECTORS = Path(__file__).parents[1] / "channels_adapters" / "vectors"
SLUGS = sorted(registry.adapters())
PUSHED = [slug for slug in SLUGS if not registry.adapter_type(slug).capabilities.pull]
SCOPE = Scope(connection_id="0190a0a0-0000-7000-8000-000000000001", public_id="pub1")
Adapter = ChannelAdapter[Any]


class NoHttp:
    """For work that must not touch the network."""

    async def request(self, *words: Any, **more: Any) -> HttpResponse:
        raise AssertionError("this must not touch the network")


@dataclass(frozen=True)
class Inbound:
    """One recorded webhook and what it means."""

    slug: str
    name: str
    body: bytes
    headers: Mapping[str, str]
    expected: Mapping[str, Any]

    @property
    def id(self) -> str:
        return f"{self.slug}-{self.name}"


@cache
def fixture(slug: str) -> Mapping[str, Any]:
    """The fixture file of a channel."""
    loaded: Mapping[str, Any] = yaml.safe_load((FIXTURES / f"{slug}.yaml").read_text())
    return loaded


@cache
def vectors(slug: str) -> list[dict[str, Any]]:
    """The known-answer vectors of a channel."""
    path = VECTORS / f"{slug}.json"
    return json.loads(path.read_text()) if path.exists() else []


def fake(slug: str) -> FakePlatform:
    """A fake that is not started: good for signing."""
    return FAKES[slug]()


def adapter(slug: str, *, http: Any = None, **changed: Any) -> Adapter:
    """An adapter with the fixture's credentials and some changed."""
    kind = registry.adapter_type(slug)
    credentials = kind.credentials_type(**{**fixture(slug)["credentials"], **changed})
    return kind(credentials, http=http or NoHttp(), keys=NoKeys(), scope=SCOPE)


def against(platform: FakePlatform, http: Http, **changed: Any) -> Adapter:
    """An adapter that talks to a started fake."""
    return adapter(platform.slug, http=http, **{**platform.credentials(), **changed})


def inbound(slug: str) -> list[Inbound]:
    """The recorded webhooks of a channel."""
    return [
        Inbound(slug, item["name"], body_of(item), item.get("headers", {}), item) for item in fixture(slug)["inbound"]
    ]


def every_inbound() -> Iterator[Inbound]:
    """The recorded webhooks of every channel."""
    for slug in SLUGS:
        yield from inbound(slug)


def body_of(item: Mapping[str, Any]) -> bytes:
    """The raw body of a fixture: `body` as it is, `json`, or `form_payload` (JSON in a form's field)."""
    if "body" in item:
        return str(item["body"]).encode()
    if "form_payload" in item:
        return urlencode({"payload": json.dumps(item["form_payload"])}).encode()
    return json.dumps(item["json"], ensure_ascii=False).encode()


def request(slug: str, body: bytes, *, headers: Mapping[str, str] | None = None, now: float = 0) -> WebhookRequest:
    """A signed request at the fixture's time."""
    return fake(slug).request(body, now=now or fixture(slug)["now"], headers=headers)


def vector_request(vector: Mapping[str, Any], slug: str) -> WebhookRequest:
    """The request of a known-answer vector."""
    return WebhookRequest(
        method=vector["request"]["method"],
        path=f"/webhooks/{slug}/x",
        query="",
        headers={name.lower(): value for name, value in vector["request"]["headers"].items()},
        body=base64.b64decode(vector["request"]["body_b64"]),
        url=f"https://hub.test/webhooks/{slug}/x",
        received_at=datetime.fromtimestamp(vector["clock"], tz=UTC),
    )


def reply_of(item: Mapping[str, Any]) -> Reply:
    """A reply as fixtures write it."""
    return Reply(
        text=item["text"],
        quick_replies=tuple(QuickReply(**choice) for choice in item.get("quick_replies", ())),
        in_reply_to=tuple(item.get("in_reply_to", ())),
        attachments=tuple(_attachment(file) for file in item.get("attachments", ())),
    )


def address_of(item: Mapping[str, Any]) -> Address:
    """An address as fixtures write it."""
    return Address(**item)


def _attachment(item: Mapping[str, Any]) -> Attachment:
    words = dict(item)
    text = words.pop("data_text", None)
    data = text.encode() if text is not None else None
    return Attachment(**{**words, "kind": AttachmentKind(words["kind"]), "data": data})


def matches(value: Any, expected: Any) -> bool:
    """Whether `value` has everything that `expected` names: mappings are compared by their named parts only."""
    if isinstance(expected, Mapping):
        return all(matches(_part(value, name), wanted) for name, wanted in expected.items())
    if isinstance(expected, list):
        return len(value) == len(expected) and all(map(matches, value, expected))
    return bool(value == expected)


def _part(value: Any, name: str) -> Any:
    if name == "type" and dataclasses.is_dataclass(value):
        return type(value).__name__
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name)
