"""Web chat and the API: nothing comes by webhook and nothing is sent; the options are checked."""

from typing import Any

import pytest

from channels_adapters import errors
from channels_adapters.types import Address, Ignored, QuickReply, Reply
from tests.conformance import cases


@pytest.mark.parametrize("slug", ["web", "api"])
async def test_the_stored_reply_is_the_delivery(slug: Any) -> None:
    adapter = cases.adapter(slug)
    assert adapter.capabilities.pull
    assert adapter.capabilities.machine == (slug == "api")
    (part,) = adapter.render(Reply(text="**Hi**\n" * 9_000, quick_replies=(QuickReply(label="Y", value="y"),)))
    assert part.payload == {"text": "**Hi**\n" * 9_000, "quick_replies": [{"label": "Y", "value": "y"}]}
    with pytest.raises(errors.Unsupported):
        await adapter.send(Address(conversation="c"), part, key="k")
    assert adapter.parse(cases.request("webhook", b"{}")) == [Ignored(reason="pull_channel")]
    assert (await adapter.probe()).ok


@pytest.mark.parametrize("origin", ["example.org", "https://example.org/path", "ftp://example.org", "https://"])
def test_an_origin_is_a_scheme_and_a_host(origin: Any) -> None:
    with pytest.raises(ValueError, match="origin"):
        cases.adapter("web", allowed_origins=origin)


def test_origins_are_read_as_browsers_send_them() -> None:
    credentials = cases.adapter("web", allowed_origins="https://Example.org  http://localhost:8000").credentials
    assert credentials.origins == {"https://example.org", "http://localhost:8000"}
    assert cases.adapter("web", allowed_origins="*").credentials.origins == {"*"}
    assert cases.adapter("web", allowed_origins="").credentials.origins == frozenset()
