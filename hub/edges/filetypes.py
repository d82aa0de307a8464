"""What a file is, told by its first bytes; names and declared types only ever confirm it."""

import codecs
from typing import Final

LOOK_BYTES: Final = 4096
"""How much of a file is needed to tell."""

_OFFICE: Final = "application/vnd.openxmlformats-officedocument."
_MAGIC: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"OggS", "audio/ogg"),
    (0, b"\x1aE\xdf\xa3", "audio/webm"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftyp", "video/mp4"),
)
_RIFF: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_PARTS: Final = {
    b"word/": f"{_OFFICE}wordprocessingml.document",
    b"xl/": f"{_OFFICE}spreadsheetml.sheet",
    b"ppt/": f"{_OFFICE}presentationml.presentation",
}
_ENDINGS: Final = {
    "docx": f"{_OFFICE}wordprocessingml.document",
    "xlsx": f"{_OFFICE}spreadsheetml.sheet",
    "pptx": f"{_OFFICE}presentationml.presentation",
    "csv": "text/csv",
    "md": "text/markdown",
    "markdown": "text/markdown",
    "json": "application/json",
    "txt": "text/plain",
    "text": "text/plain",
    "log": "text/plain",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "pdf": "application/pdf",
}
TEXTS: Final = frozenset({"text/plain", "text/csv", "text/markdown", "application/json"})
"""Types without a mark of their own: any readable text may be one of them."""
_PACKED: Final = "office"
"""An office document whose kind its first bytes do not name: then the file's name does."""
_SAME: Final = {
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/mp3": "audio/mpeg",
    "image/jpg": "image/jpeg",
    "video/webm": "audio/webm",
    "text/x-markdown": "text/markdown",
}
# What browsers say of a file that they do not know.
_NOTHING: Final = frozenset({"", "application/octet-stream"})


def tell(head: bytes, *, name: str, declared: str) -> str:
    """The media type of a file that begins with `head`; empty when it is unknown or contradicts name or type."""
    declared = _SAME.get(plain(declared), plain(declared))
    ending = _ENDINGS.get(name.rpartition(".")[2].lower(), "")
    found = _by_bytes(head) or _text(head, ending, declared)
    if found == _PACKED:
        found = next((claim for claim in (ending, declared) if claim.startswith(_OFFICE)), "")
    if not found:
        return ""
    # Some systems call every CSV a spreadsheet: for text the ending counts.
    claims = (ending,) if found in TEXTS and ending in TEXTS else (ending, declared)
    return found if all(claim in (*_NOTHING, found) for claim in claims) else ""


def plain(declared: str) -> str:
    """A media type without its parameters, lower case."""
    return declared.partition(";")[0].strip().lower()


def _by_bytes(head: bytes) -> str:
    for at, mark, media_type in _MAGIC:
        if head[at : at + len(mark)] == mark:
            return media_type
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], "")
    if head[:4] == b"PK\x03\x04":
        found = next((found for part, found in _PARTS.items() if part in head), "")
        return found or (_PACKED if b"[Content_Types].xml" in head[:64] else "")
    return ""


def _text(head: bytes, ending: str, declared: str) -> str:
    if not readable(head):
        return ""
    for claim in (ending, declared):
        if claim in TEXTS:
            return claim
    return "text/plain" if ending == "" and declared in _NOTHING else ""


def readable(head: bytes) -> bool:
    """Whether bytes are the beginning of a text in UTF-8."""
    return b"\0" not in head and TextCheck().feed(head)


class TextCheck:
    """Checks a text as it comes, piece by piece."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def feed(self, data: bytes, *, final: bool = False) -> bool:
        """Whether the text is whole so far."""
        try:
            self._decoder.decode(data, final)
        except UnicodeDecodeError:
            return False
        return b"\0" not in data
