"""Public keys of platforms, fetched through the guarded client."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from hub.egress.http import GuardedHttp

KEYS_SECONDS: Final = 3600.0
KEYS_MISS_SECONDS: Final = 30.0
"""An unknown key makes us ask again at most this often, so that forgeries cannot make us ask all the time."""
MAX_KEY_DOCUMENTS: Final = 256


@dataclass(slots=True)
class _Document:
    content: Mapping[str, object] | None = None
    fetched: float = float("-inf")
    asked: float = float("-inf")


class Keys:
    """The hub's `KeySource`: documents of public keys, fetched at most once each half minute, kept for an hour."""

    def __init__(self, http: GuardedHttp, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._clock = clock
        self._documents: OrderedDict[str, _Document] = OrderedDict()
        self._asked: list[str] = []
        self._lock = asyncio.Lock()

    def get(self, url: str) -> Mapping[str, object] | None:
        """The document last fetched, or None when there is none or it is too old; notes that it was asked for."""
        if len(self._asked) < 8:
            self._asked.append(url)
        document = self._documents.get(url)
        if document is None or self._clock() - document.fetched > KEYS_SECONDS:
            return None
        return document.content

    def forget_asked(self) -> None:
        """Begin to note anew, before a verification (which never awaits, so nothing else comes in between)."""
        self._asked.clear()

    async def refresh(self, urls: Sequence[str] | None = None) -> bool:
        """Fetch what was asked for since `forget_asked` (or `urls`); whether anything was fetched anew."""
        wanted = list(dict.fromkeys(self._asked if urls is None else urls))
        self._asked.clear()
        async with self._lock:
            return any([await self._fetch(url) for url in wanted])

    async def _fetch(self, url: str) -> bool:
        document = self._documents.setdefault(url, _Document())
        if len(self._documents) > MAX_KEY_DOCUMENTS:
            self._documents.popitem(last=False)
        now = self._clock()
        if now - document.asked < KEYS_MISS_SECONDS:
            return now - document.fetched < KEYS_MISS_SECONDS
        document.asked = now
        response = await self._http.request("GET", url, timeout=5.0, max_bytes=1 << 18)
        try:
            content = orjson.loads(response.body) if response.status == 200 else None
        except orjson.JSONDecodeError:
            content = None
        if not isinstance(content, dict):
            return False
        document.content, document.fetched = content, now
        return True
