"""A visitor's file in the console: for those who work in its tenant, and nobody else."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.console.world import World

PIECES = (b"a" * 700, b"b" * 300)


def stored(world: World, name: str, media_type: str) -> UUID:
    from hub.models import Upload, UploadChunk
    from hub.pipeline.reading import vault
    from tenants.context import tenant_scope
    from tenants.crypto import CellRef
    from tenants.ids import uuid7

    ident, tenant_id = uuid7(), world.tenant.id
    vault().load_sync(tenant_id)
    with tenant_scope(tenant_id):
        Upload.objects.create(
            id=ident,
            tenant_id=tenant_id,
            connection_id=world.connections["web"].id,
            owner=b"o" * 16,
            name=vault().seal(CellRef(tenant_id, "content", "upload", "name", ident), name.encode()),
            media_type=media_type,
            size=1000,
            status="ready",
            created=datetime.now(UTC),
        )
        for position, piece in enumerate(PIECES):
            part = uuid7()
            data = vault().seal(CellRef(tenant_id, "content", "upload_chunk", "data", part), piece)
            UploadChunk.objects.create(id=part, tenant_id=tenant_id, upload_id=ident, position=position, data=data)
    return ident


@pytest.mark.parametrize(
    ("name", "kind", "shown"), [("plan.pdf", "application/pdf", "attachment"), ("a.png", "image/png", "inline")]
)
def test_who_may_open_a_file(
    acme: World, umbrella: World, login: Callable[..., Any], name: str, kind: str, shown: str
) -> None:
    address = f"/admin/uploads/{stored(acme, name, kind)}"
    answer = login(acme.users["viewer"]).get(address)
    assert (answer.status_code, answer.content) == (200, b"".join(PIECES))
    assert answer["Content-Type"] == kind and answer["Content-Disposition"].startswith(f'{shown}; filename="{name}"')
    assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer["X-Content-Type-Options"] == "nosniff" and "no-store" in answer["Cache-Control"]
    assert login(umbrella.users["owner"]).get(address).status_code == 404
    assert login(acme.users["viewer"]).get(f"/admin/uploads/{uuid4()}").status_code == 404


def test_strangers_are_asked_who_they_are(acme: World, staff: Any, login: Callable[..., Any]) -> None:
    from django.test import Client

    address = f"/admin/uploads/{stored(acme, 'x.pdf', 'application/pdf')}"
    assert Client(SERVER_NAME="localhost").get(address).status_code == 302
    assert login(staff).get(address).status_code == 404  # reading all tenants opens nothing that was said


def test_a_conversation_shows_pictures_and_markdown_but_no_markup(acme: World, login: Callable[..., Any]) -> None:
    from hub.models import Message
    from hub.pipeline.bodies import Body, body_cell, pack
    from hub.pipeline.reading import vault
    from tenants.context import tenant_scope

    picture, paper = stored(acme, "a.png", "image/png"), stored(acme, "b.pdf", "application/pdf")
    files = [
        {"kind": "image", "platform_id": f"upload:{picture.hex}", "name": "a.png", "media_type": "image/png"},
        {"kind": "file", "platform_id": f"upload:{paper.hex}", "name": "b.pdf", "media_type": "application/pdf"},
        {"kind": "file", "platform_id": "upload:of-another-world", "name": "c"},
    ]
    answer = "**Yes** <script>alert(1)</script> [x](javascript:alert(1)) ![p](https://else.example/p.png)"
    asked, answered = acme.messages[0], acme.messages[1]
    kept = {row.id: bytes(row.body) for row in (asked, answered)}
    bodies = {asked.id: Body(text="look", attachments=files), answered.id: Body(text=answer)}
    with tenant_scope(acme.tenant.id):
        for ident, body in bodies.items():
            sealed = vault().seal(body_cell(acme.tenant.id, ident), pack(body))
            Message.objects.filter(id=ident).update(body=sealed)
        page = login(acme.users["viewer"]).get(f"/admin/hub/session/{acme.session.id}/change/").text
        for ident, before in kept.items():
            Message.objects.filter(id=ident).update(body=before)
    assert f'<img src="/admin/uploads/{picture}"' in page
    assert f'<a href="/admin/uploads/{paper}"' in page
    assert "<strong>Yes</strong> &lt;script&gt;" in page
    assert "javascript:alert" not in page.replace("[x](javascript:alert(1))", "")
    assert '<a href="https://else.example/p.png"' in page and '<img src="https://else' not in page
