"""A fragment's lines in two blobs: a shelf that can be scored without a key, and a body that cannot be read
without one.

The shelf holds what ranking needs: int8 vectors, 32-bit prints of keyed token hashes, lengths, moments. The body
holds the words, deflated, and is sealed by the caller. One row for a whole fragment costs a sixth of a row, a
vector and an index entry per line.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from memory.embeddings.base import DIMENSIONS, Vectors
from memory.types import Line

VERSION = 1
_HEADER = struct.Struct("<BBHIqq")
QUESTION = 1
MOST_LINES = 4096


class ShelfDamaged(ValueError):
    """A stored shelf is not one of ours, or not whole."""


@dataclass(slots=True)
class Shelf:
    """What ranking needs of some lines of one session, in the order they were said."""

    seqs: npt.NDArray[np.int64]
    moments: npt.NDArray[np.int64]
    """Seconds since 1970."""
    flags: npt.NDArray[np.uint8]
    lengths: npt.NDArray[np.uint16]
    speakers: npt.NDArray[np.uint32]
    counts: npt.NDArray[np.uint16]
    """How many of `terms` belong to each line."""
    terms: npt.NDArray[np.uint32]
    scales: npt.NDArray[np.float32]
    vectors: npt.NDArray[np.int8]
    """Empty (0, 384) where there are none."""

    def __len__(self) -> int:
        return len(self.seqs)

    @property
    def has_vectors(self) -> bool:
        """Whether every line has its vector (else none has)."""
        return len(self.vectors) > 0


def print_of(lexeme: str) -> int:
    """32 bits of a keyed token hash. Two words of one subject collide once in some hundred thousand pairs of pairs."""
    return zlib.crc32(lexeme.encode())


def quantise(vectors: Vectors) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Each row as int8 with its own scale; the cosine changes in the third decimal."""
    peaks = np.abs(vectors).max(axis=1, initial=1e-9).astype(np.float32)
    scales = peaks / 127
    return np.rint(vectors / scales[:, None]).astype(np.int8), scales


def no_vectors() -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """What stands for vectors where none were made."""
    return np.zeros((0, DIMENSIONS), np.int8), np.zeros(0, np.float32)


def pack(shelf: Shelf) -> bytes:
    """The stored form, little-endian throughout."""
    count = len(shelf)
    base_seq, base_moment = (int(shelf.seqs[0]), int(shelf.moments.min())) if count else (0, 0)
    head = _HEADER.pack(VERSION, int(shelf.has_vectors), count, len(shelf.terms), base_seq, base_moment)
    parts = [
        (shelf.seqs - base_seq).astype("<u4"), (shelf.moments - base_moment).astype("<u4"), shelf.flags,
        shelf.lengths.astype("<u2"), shelf.speakers.astype("<u4"), shelf.counts.astype("<u2"),
        shelf.terms.astype("<u4"), shelf.scales.astype("<f4"), shelf.vectors,
    ]  # fmt: skip
    return head + b"".join(part.tobytes() for part in parts)


def unpack(blob: bytes) -> Shelf:
    """Read a stored shelf. Raises ShelfDamaged."""
    try:
        version, dense, count, terms, base_seq, base_moment = _HEADER.unpack_from(blob)
    except struct.error as error:
        raise ShelfDamaged("too short for a header") from error
    if version != VERSION or count > MOST_LINES:
        raise ShelfDamaged(f"version {version}, {count} lines")
    vectors = count if dense else 0
    layout = [("<u4", count), ("<u4", count), ("u1", count), ("<u2", count), ("<u4", count), ("<u2", count),
              ("<u4", terms), ("<f4", vectors), ("i1", vectors * DIMENSIONS)]  # fmt: skip
    if len(blob) != _HEADER.size + sum(np.dtype(kind).itemsize * size for kind, size in layout):
        raise ShelfDamaged("its length does not fit its header")
    arrays, offset = [], _HEADER.size
    for kind, size in layout:
        arrays.append(np.frombuffer(blob, dtype=kind, count=size, offset=offset))
        offset += np.dtype(kind).itemsize * size
    return Shelf(
        seqs=arrays[0].astype(np.int64) + base_seq,
        moments=arrays[1].astype(np.int64) + base_moment,
        flags=arrays[2],
        lengths=arrays[3],
        speakers=arrays[4],
        counts=arrays[5],
        terms=arrays[6],
        scales=arrays[7],
        vectors=arrays[8].reshape(-1, DIMENSIONS),
    )


def pack_lines(lines: Sequence[Line]) -> bytes:
    """The words of some lines, deflated; to be sealed by the caller before it touches a disk."""
    rows = [[line.seq, line.role, line.speaker, line.text, line.at.timestamp() if line.at else None] for line in lines]
    return zlib.compress(json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"), 9)


def unpack_lines(blob: bytes) -> list[Line]:
    """The lines that `pack_lines` wrote."""
    return [
        Line(seq, role, text, speaker, datetime.fromtimestamp(at, UTC) if at is not None else None)
        for seq, role, speaker, text, at in json.loads(zlib.decompress(blob))
    ]
