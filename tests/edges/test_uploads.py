"""Visitors' files: what is taken, kept, shown to whom, counted, handed to the agent and thrown away."""

import asyncio
import base64
import os
import struct
import zlib
from typing import Any
from uuid import UUID

import aiohttp
import psycopg
import pytest

from hub.edges.files import disposition, file_name
from hub.edges.filetypes import tell
from hub.edges.showing import address_of, opens
from tests.conftest import Database
from tests.edges.conftest import Gateway, House
from tests.edges.test_chat import opened
from tests.edges.test_rich_chat import said
from tests.support.patience import PATIENCE

OFFICE = "application/vnd.openxmlformats-officedocument."
PDF = b"%PDF-1.7\n" + b"x" * 300_000


def png(size: int = 64) -> bytes:
    """A whole picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(3 * size) for _ in range(size))
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("head", "name", "declared", "found"),
    [
        (png(), "a.png", "image/png", "image/png"),
        (png(), "", "", "image/png"),
        (png(), "a.jpg", "image/png", ""),
        (png(), "a.png", "text/html", ""),
        (b"\xff\xd8\xff\xe0", "a.JPEG", "image/jpg", "image/jpeg"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "a.webp", "", "image/webp"),
        (b"%PDF-1.4", "a.pdf", "application/octet-stream", "application/pdf"),
        (b"%PDF-1.4", "a.png", "", ""),
        (b"PK\x03\x04" + b"\0" * 26 + b"[Content_Types].xml", "a.docx", "", f"{OFFICE}wordprocessingml.document"),
        (b"PK\x03\x04" + b"\0" * 26 + b"[Content_Types].xml..xl/", "a.docx", "", ""),
        (b"PK\x03\x04" + b"\0" * 26 + b"evil.exe", "a.docx", "", ""),
        (b"a,b\n1,2\n", "a.csv", "application/vnd.ms-excel", "text/csv"),
        ("grüße".encode(), "a.md", "text/markdown; charset=utf-8", "text/markdown"),
        (b"{}", "", "application/json", "application/json"),
        (b"plain", "", "", "text/plain"),
        (b"<html>", "a.html", "text/html", ""),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "a.svg", "image/svg+xml", ""),
        (b"MZ\0\0", "a.txt", "text/plain", ""),
        (b"\xff\xfe\0a", "a.txt", "text/plain", ""),
    ],
)
def test_a_file_is_what_its_bytes_say(head: bytes, name: str, declared: str, found: str) -> None:
    assert tell(head, name=name, declared=declared) == found


def test_names_are_only_names() -> None:
    assert file_name("../../etc/passwd") == "passwd"
    assert file_name("C:\\x\\plan\r\n.pdf") == "plan.pdf"
    assert file_name("合同\0.pdf") == "合同.pdf"
    assert disposition('a"b\\合.pdf', inline=False).startswith(
        "attachment; filename=\"a_b__.pdf\"; filename*=UTF-8''a%22"
    )


class Page:
    """A visitor's page that sends and fetches files."""

    def __init__(self, http: aiohttp.ClientSession, gateway: Gateway, public_id: str, token: str) -> None:
        self.http, self.root, self.url = http, gateway.url, f"{gateway.url}/sse/chat/{public_id}/uploads"
        self.headers = {"Authorization": f"Bearer {token}"}

    async def send(self, data: Any, name: str = "", kind: str = "", **headers: str) -> tuple[int, dict[str, Any]]:
        given = {**self.headers, "Content-Type": kind or "application/octet-stream", **headers}
        async with self.http.post(self.url, params={"name": name}, data=data, headers=given) as answer:
            return answer.status, await answer.json()

    async def get(self, url: str, **headers: str) -> tuple[int, bytes, Any]:
        async with self.http.get(self.root + url if url[0] == "/" else url, headers=headers) as answer:
            return answer.status, await answer.read(), answer.headers


async def test_a_file_is_kept_said_and_shown_to_its_visitor_alone(gateway: Gateway, house: House) -> None:
    public_id = house.connect("web", origins=("https://shop.example",))
    picture = png()
    async with opened(gateway, public_id) as chat, opened(gateway, public_id) as other:
        await chat.until("welcome")
        await other.until("welcome")
        async with aiohttp.ClientSession() as http:
            page, stranger = (Page(http, gateway, public_id, one.token) for one in (chat, other))
            status, pdf = await page.send(PDF, "../Pläne.pdf", "application/pdf", Origin="https://shop.example")
            assert (status, pdf["name"], pdf["media_type"], pdf["size"]) == (
                201,
                "Pläne.pdf",
                "application/pdf",
                len(PDF),
            )
            _, shot = await page.send(picture, "shot.png", "image/png")
            files = [{"upload": pdf["upload"]}, {"upload": shot["upload"]}]
            _, answer = await said(chat, "a", "look [[echo]]", attachments=files)
            assert "[file: Pläne.pdf]" in answer["text"]
            shown = chat.messages[0]["attachments"]
            assert [item["kind"] for item in shown] == ["file", "image"] and "platform_id" not in shown[0]
            status, data, headers = await page.get(shown[0]["url"])
            assert (status, data) == (200, PDF)
            assert headers["Content-Type"] == "application/pdf" and headers["Content-Length"] == str(len(PDF))
            assert headers["Content-Disposition"].startswith("attachment; ")
            assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
            assert headers["X-Content-Type-Options"] == "nosniff" and "private" in headers["Cache-Control"]
            status, data, headers = await page.get(shown[1]["url"], Origin="https://shop.example")
            assert (status, data) == (200, picture) and headers["Content-Disposition"].startswith("inline; ")
            assert headers["Access-Control-Allow-Origin"] == "https://shop.example"
            plain = f"{page.url}/{pdf['upload']}"
            assert (await page.get(plain, **page.headers))[:2] == (200, PDF)
            assert (await page.get(plain, **stranger.headers))[0] == 404
            assert (await page.get(plain))[0] == 403
            assert (await page.get(shown[0]["url"] + "0"))[0] == 403
            assert (await page.get(f"{page.url}/{UUID(int=0)}", **page.headers))[0] == 404
        await other.tell("say", client_id="a", text="mine?", attachments=files)
        assert (await other.until("error"))["code"] == "unknown_upload"
        ack = next(message for message in chat.messages if message["role"] == "user")
        _, answer = await said(chat, "b", "", edits=ack["id"])  # said again, the files come along
        assert "[file: Pläne.pdf]" in answer["text"]


async def test_what_is_not_taken(gateway: Gateway, house: House) -> None:
    public_id, off = house.connect("web", upload_megabytes=1), house.connect("web", uploads=False)
    async with opened(gateway, public_id) as chat, opened(gateway, off) as closed:
        await chat.until("welcome")
        await closed.until("welcome")
        async with aiohttp.ClientSession() as http:
            page, none = Page(http, gateway, public_id, chat.token), Page(http, gateway, off, closed.token)

            async def unknown_length() -> Any:
                yield b"x"

            for data, name, kind, status, code in (
                (png(), "a.exe", "application/x-msdownload", 415, "type_refused"),
                (b"<svg/>", "a.svg", "image/svg+xml", 415, "type_refused"),
                (b"ok" + b"\xff" * 10, "a.txt", "text/plain", 415, "type_refused"),
                (b"a" * 200_000 + b"\xff", "a.txt", "text/plain", 415, "type_refused"),
                (b"", "a.txt", "text/plain", 400, "empty"),
                (b"x" * ((1 << 20) + 1), "a.txt", "text/plain", 413, "too_large"),
                (unknown_length(), "a.txt", "text/plain", 411, "length_required"),
            ):
                found, answer = await page.send(data, name, kind)
                assert (found, answer["code"]) == (status, code), name
            assert (await none.send(b"x", "a.txt"))[1]["code"] == "uploads_off"
            page.headers = {}
            assert (await page.send(b"x", "a.txt"))[1]["code"] == "bad_token"
    assert house.run(_uploads) == []


def _uploads() -> list[tuple[str, str]]:
    from hub.models import Upload, UploadChunk

    found = list(Upload.objects.order_by("id").values_list("media_type", "status"))
    assert found or not UploadChunk.objects.exists()
    return found


async def test_space_is_counted_and_given_back(uvicorn_gateway: Gateway, house: House, database: Database) -> None:
    from hub.pipeline import uploads

    public_id = house.connect("web")

    def used() -> int:
        with psycopg.connect(database.superuser_dsn) as conn:
            query = "SELECT used FROM quota WHERE tenant_id = %s AND metric = 'storage_bytes'"
            row = conn.execute(query, (house.tenant_id,)).fetchone()
            return int(row[0]) if row else -1

    def change(query: str) -> None:
        with psycopg.connect(database.superuser_dsn, autocommit=True) as conn:
            conn.execute(query, {"tenant": house.tenant_id})

    async with opened(uvicorn_gateway, public_id) as chat, aiohttp.ClientSession() as http:
        await chat.until("welcome")
        page = Page(http, uvicorn_gateway, public_id, chat.token)
        _, kept = await page.send(b"k" * 1000, "kept.txt")
        _, lost = await page.send(b"l" * 2000, "lost.txt")
        await said(chat, "a", "look [[echo]]", attachments=[{"upload": kept["upload"]}])
        assert used() == 3000
        change("UPDATE quota SET override = 3500 WHERE tenant_id = %(tenant)s AND metric = 'storage_bytes'")
        status, answer = await page.send(b"x" * 600, "more.txt")
        assert (status, answer["code"], used()) == (507, "storage_full", 3000)
        change("UPDATE quota SET override = -1 WHERE tenant_id = %(tenant)s AND metric = 'storage_bytes'")
        change(f"UPDATE upload SET size = {uploads.VISITOR_BYTES} WHERE tenant_id = %(tenant)s AND size = 1000")
        status, answer = await page.send(b"x" * 600, "more.txt")
        assert (status, answer["code"], used()) == (429, "upload_quota", 3000)
        change("UPDATE upload SET size = 1000 WHERE tenant_id = %(tenant)s AND size > 100000")
        change("UPDATE upload SET created = now() - interval '25 hours' WHERE tenant_id = %(tenant)s")
        await _broken_off(uvicorn_gateway, public_id, chat.token)
        await asyncio.to_thread(_collect)
        async with asyncio.timeout(PATIENCE):
            while used() != 1000:  # the broken one is dropped when its server notices
                await asyncio.sleep(0.05)
        assert (await page.get(f"{page.url}/{kept['upload']}", **page.headers))[1] == b"k" * 1000
        assert (await page.get(f"{page.url}/{lost['upload']}", **page.headers))[0] == 404


async def _broken_off(gateway: Gateway, public_id: str, token: str) -> None:
    """A client that leaves in the middle of a file."""
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = f"POST /sse/chat/{public_id}/uploads?name=a.txt HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    writer.write(f"{head}Content-Type: text/plain\r\nContent-Length: 500000\r\n\r\n".encode() + b"y" * 300_000)
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.close()


def _collect() -> None:
    from hub.upkeep import uploads

    uploads.apply()


async def test_files_are_sealed(uvicorn_gateway: Gateway, house: House, database: Database) -> None:
    public_id, secret = house.connect("web"), base64.b64encode(os.urandom(60))
    async with opened(uvicorn_gateway, public_id) as chat, aiohttp.ClientSession() as http:
        await chat.until("welcome")
        page = Page(http, uvicorn_gateway, public_id, chat.token)
        _, stored = await page.send(secret, "Kündigung.txt")
        assert stored["size"] == len(secret)
    with psycopg.connect(database.superuser_dsn) as conn:
        rows = conn.execute(
            "SELECT u.name, c.data FROM upload u JOIN upload_chunk c ON c.upload_id = u.id WHERE u.tenant_id = %s",
            (house.tenant_id,),
        ).fetchall()
    assert len(rows) == 1 and secret not in bytes(rows[0][1]) and b"ndigung" not in bytes(rows[0][0])


def test_addresses_open_one_file_for_a_day() -> None:
    ident = UUID(int=7)
    address = address_of("chat", ident)
    key = address.partition("?key=")[2]
    assert address.startswith(f"/sse/chat/chat/uploads/{ident}?key=")
    assert opens("chat", ident, key)
    ends, _, mark = key.partition(".")
    for public_id, upload, given in (
        ("other", ident, key),
        ("chat", UUID(int=8), key),
        ("chat", ident, f"{int(ends) + 1}.{mark}"),
        ("chat", ident, f"1.{mark}"),
        ("chat", ident, ""),
        ("chat", ident, "x.y"),
        ("chat", ident, "9" * 200),
    ):
        assert not opens(public_id, upload, given)
