"""Ways to forge a webhook, made from one authentic request and the platform's description of its signature."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from channels_adapters.types import WebhookRequest

Forgery = tuple[str, WebhookRequest]


def forgeries(real: WebhookRequest, auth: Mapping[str, Any]) -> Iterator[Forgery]:
    """Every forgery that makes sense for this kind of signature."""
    yield from _signatures(real, auth)
    if auth.get("covers_body"):
        yield from _bodies(real)
    if "timestamp" in auth:
        yield from _timestamps(real, auth)
    for name in ("signature", "timestamp", "id"):
        if name in auth:
            yield f"{name} missing", _without(real, auth[name])
            yield f"{name} empty", _with(real, auth[name], "")
    yield "method", replace(real, method="GET", body=b"")


def _signatures(real: WebhookRequest, auth: Mapping[str, Any]) -> Iterator[Forgery]:
    name, prefix = auth["signature"], auth.get("prefix", "")
    given = real.headers[name]
    core = given.removeprefix(prefix)
    changed = {
        "first sign flipped": prefix + _flip(core, 0),
        "middle sign flipped": prefix + _flip(core, len(core) // 2),
        "cut short": prefix + core[:-1],
        "cut in half": prefix + core[: len(core) // 2],
        "made longer": given + "A",
        "doubled": prefix + core + core,
        "reversed": prefix + core[::-1],
        "upper case": prefix + core.upper(),
        "case swapped": prefix + core.swapcase(),
        "space before": prefix + " " + core,
        "space inside": prefix + core[:4] + " " + core[4:],
        "line break after": given + "\n",
        "not ASCII": prefix + "é" * len(core),
        "full-width digits": prefix + "０" * len(core),
        "surrogates": prefix + "\ud800" * len(core),
        "NUL": prefix + core[:-1] + "\0",
        "percent": prefix + "%41" * 20,
        "over-long": prefix + "a" * 100_000,
        "only the prefix": prefix,
        "zeros": prefix + "0" * len(core),
        "null": "null",
        "brackets": "[]",
        "listed twice": f"{_flip(core, 0)}, {_flip(core, 1)}",
    }
    if prefix:
        changed |= {"without prefix": core, "another version": "v9" + given[2:], "prefix twice": prefix + given}
    for words, value in changed.items():
        if value != given:
            yield f"signature {words}", _with(real, name, value)


def _bodies(real: WebhookRequest) -> Iterator[Forgery]:
    body = real.body
    for words, place in (("first", 0), ("middle", len(body) // 2), ("last", len(body) - 1)):
        yield (
            f"body {words} byte flipped",
            replace(real, body=body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]),
        )
    changed = {
        "one byte more": body + b"\n",
        "one byte less": body[:-1],
        "empty": b"",
        "line ends": body.replace(b" ", b"\r\n", 1) if b" " in body else b"\r\n" + body,
        "slashes escaped": body.replace(b"/", b"\\/") if b"/" in body else body.replace(b"e", b"\\u0065", 1),
        "spaces taken out": body.replace(b": ", b":"),
        "byte order mark": b"\xef\xbb\xbf" + body,
        "twice": body + body,
    }
    for words, value in changed.items():
        if value != body:
            yield f"body {words}", replace(real, body=value)


def _timestamps(real: WebhookRequest, auth: Mapping[str, Any]) -> Iterator[Forgery]:
    name, window = auth["timestamp"], int(auth["window"])
    now = int(real.headers[name])
    changed = {
        "other": str(now + 1),
        "fraction": f"{now}.0",
        "negative": f"-{now}",
        "plus": f"+{now}",
        "spaces": f" {now} ",
        "exponent": "1e9",
        "hexadecimal": hex(now),
        "underscore": f"{now:_}",
        "words": "now",
        "huge": "9" * 400,
        "zero": "0",
        "not a number": "nan",
        "infinite": "inf",
        "milliseconds": f"{now}000",
        "Arabic digits": "".join(chr(0x660 + int(digit)) for digit in str(now)),
        "full stop": f"{now}.",
        "line break": f"{now}\n",
    }
    for words, value in changed.items():
        yield f"timestamp {words}", _with(real, name, value)
    for words, offset in (("too old", window + 1), ("too new", -window - 1), ("a day old", 86_400)):
        moment = real.received_at.fromtimestamp(real.received_unix + offset, tz=real.received_at.tzinfo)
        yield f"timestamp {words}", replace(real, received_at=moment)


def _flip(text: str, place: int) -> str:
    other = "b" if text[place] == "a" else "a"
    return text[:place] + other + text[place + 1 :]


def _with(real: WebhookRequest, name: str, value: str) -> WebhookRequest:
    return replace(real, headers={**real.headers, name: value})


def _without(real: WebhookRequest, name: str) -> WebhookRequest:
    return replace(real, headers={key: value for key, value in real.headers.items() if key != name})
