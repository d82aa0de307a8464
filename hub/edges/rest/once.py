"""`Idempotency-Key` on POST: a request made twice is done once, and the second gets the first one's answer.

Key, work and kept answer share one transaction, so there is no moment in which one exists without the others; a second
request that arrives meanwhile finds an advisory lock and is told so. Only answers of success are kept: what was
refused may be corrected and asked again under the same key. Kept for a day.
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import connection
from django.db.models.functions import Now
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from hub.edges.rest.access import Caller
from hub.edges.rest.problems import Refusal
from hub.models import KeptAnswer
from hub.pipeline.reading import load, vault
from tenants.crypto import CellRef
from tenants.ids import uuid7

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
MAX_KEY: Final = 255
KEPT: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Once:
    """A request under a key, inside the transaction that does its work."""

    tenant_id: UUID
    key_hash: bytes
    request_hash: bytes

    @classmethod
    def of(cls, request: Request, caller: Caller) -> "Once | None":
        """None without the header. Raises Refusal for a key that is none."""
        text = request.headers.get(HEADER)
        if text is None:
            return None
        if not 0 < len(text) <= MAX_KEY or not text.isascii() or not text.isprintable() or " " in text:
            raise Refusal("bad_idempotency_key")
        asked = "\0".join([caller.name, str(request.method), request.get_full_path()]).encode()
        digest = hashlib.sha256(asked + b"\0" + request._request.body).digest()
        return cls(caller.tenant_id, hashlib.sha256(text.encode()).digest(), digest)

    def begin(self) -> Response | None:
        """The kept answer, or None when the work is to be done now. Raises Refusal (409, 422)."""
        if not self._locked():
            raise Refusal("in_progress", wait=1.0)
        KeptAnswer.objects.filter(key_hash=self.key_hash, created__lt=Now() - KEPT).delete()
        kept = KeptAnswer.objects.filter(key_hash=self.key_hash).first()
        if kept is None:
            return None
        if bytes(kept.request_hash) != self.request_hash:
            raise Refusal("idempotency_key_reused")
        load(self.tenant_id)
        data = orjson.loads(vault().open(self._cell(kept.id), bytes(kept.answer)))
        return Response(data, status=kept.status, headers={REPLAYED: "true"})

    def keep(self, response: Response) -> None:
        """Keep an answer of success."""
        row = KeptAnswer(id=uuid7(), tenant_id=self.tenant_id, key_hash=self.key_hash, request_hash=self.request_hash)
        load(self.tenant_id)
        row.status, row.created = response.status_code, Now()
        row.answer = vault().seal(self._cell(row.id), JSONEncoder().encode(response.data).encode())
        row.save(force_insert=True)

    def _locked(self) -> bool:
        # The two-number form, apart from the locks by which processes show that they live.
        digest = hashlib.sha256(self.tenant_id.bytes + self.key_hash).digest()
        numbers = [int.from_bytes(digest[at : at + 4], signed=True) for at in (0, 4)]
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", numbers)
            row: Any = cursor.fetchone()
        return bool(row[0])

    def _cell(self, row_id: UUID) -> CellRef:
        return CellRef(self.tenant_id, "content", "kept_answer", "answer", row_id)
