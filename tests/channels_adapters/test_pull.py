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


def test_a_form_is_a_question_per_line() -> None:
    text = "name: Your name\n\nphone*: Call me\n topic(Sales | Support)*: nothing"
    with pytest.raises(ValueError, match="not understood"):
        cases.adapter("web", form=text)
    fields = cases.adapter("web", form=text.replace(")*:", "):").replace("topic", "topic*")).credentials.fields
    assert [(f.name, f.label, f.kind, f.required, f.options) for f in fields] == [
        ("name", "Your name", "text", False, ()),
        ("phone", "Call me", "tel", True, ()),
        ("topic", "nothing", "choice", True, ("Sales", "Support")),
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"form": "a: 1\na: 2"},
        {"form": "Name: capital"},
        {"form": "x(date): When"},
        {"form": "\n".join(f"f{n}: x" for n in range(9))},
        {"logo": "https://example.org/logo.png"},
        {"logo": "data:image/svg+xml;base64,PHN2Zy8+"},
        {"logo": "data:image/png;base64,AAA"},
        {"upload_types": "image/png image/svg+xml"},
        {"upload_megabytes": 0},
        {"identity_secret": "too short"},
        {"colour": "red"},
    ],
)
def test_what_a_page_cannot_look_like(options: Any) -> None:
    with pytest.raises(ValueError):
        cases.adapter("web", **options)
