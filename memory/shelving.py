"""From lines to a shelf: what is tokenised, hashed and measured of each line before its words are sealed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import numpy as np

from memory.embeddings.base import Vectors
from memory.packing import QUESTION, Shelf, no_vectors, print_of, quantise
from memory.phrasing import day_words, is_question, name_words, without_names
from memory.tokens import tokenize
from memory.types import Line
from tenants.crypto import Vault

MOST_TERMS = 4000
"""Terms of one line that are indexed; a pasted document is found by its beginning."""


def line_terms(line: Line) -> list[str]:
    """What a line can be found by: who said it, on which day, and its words."""
    return tokenize(f"{day_words(line.at)} {line.speaker} {line.text}")[:MOST_TERMS]


def embedded_texts(lines: Sequence[Line]) -> list[str]:
    """What of each line is embedded: its text without the names of those who talk."""
    names = sorted({name for line in lines for name in name_words(line.speaker)})
    return [without_names(line.text, names) or line.text for line in lines]


def shelve(vault: Vault, tenant_id: UUID, lines: Sequence[Line], vectors: Vectors | None) -> Shelf:
    """The shelf of these lines of one session; `vectors` has a row per line, or is None."""
    terms = [line_terms(line) for line in lines]
    speakers = [name_words(line.speaker)[:1] for line in lines]
    packed, scales = quantise(vectors) if vectors is not None and len(lines) else no_vectors()
    return Shelf(
        seqs=np.array([line.seq for line in lines], np.int64),
        moments=np.array([int((line.at or datetime.now(UTC)).timestamp()) for line in lines], np.int64),
        flags=np.array([QUESTION if is_question(line.text) else 0 for line in lines], np.uint8),
        lengths=np.array([min(len(line.text), 65_535) for line in lines], np.uint16),
        speakers=np.array([prints(vault, tenant_id, name)[0] if name else 0 for name in speakers], np.uint32),
        counts=np.array([len(found) for found in terms], np.uint16),
        terms=prints(vault, tenant_id, [term for found in terms for term in found]),
        scales=scales,
        vectors=packed,
    )


def prints(vault: Vault, tenant_id: UUID, tokens: Sequence[str]) -> "np.ndarray[tuple[int], np.dtype[np.uint32]]":
    """32-bit prints of the tenant's keyed hashes of these tokens."""
    distinct = list(dict.fromkeys(tokens))
    table = dict(zip(distinct, map(print_of, vault.lexemes(tenant_id, distinct)), strict=True))
    return np.array([table[token] for token in tokens], np.uint32)
