"""How well each remembered line answers a question: the fusion of words, meaning and the shape of dialogue.

The terms and weights follow measurements on LoCoMo (evidence recall@10: words alone .65, textbook rank fusion .60,
this .82): an answer's neighbours and its whole talk lend it weight, a speaker who is named in the question counts,
questions and interjections do not. Weights were fitted on that set, whose licence allows measuring; they hold no
text of it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
K1, B = 1.2, 0.75
DENSE_MEAN, DENSE_SPREAD = 0.059, 0.081
LEXICAL_MEAN, LEXICAL_SPREAD = 0.48, 1.18
"""Where a subject has too few lines for statistics of its own, these stand in (means over LoCoMo's stores)."""
PRIOR_LINES = 50
RRF_K, RRF_DENSE = 60, 0.7
LONG_LINE = 400
"""Characters beyond which length says nothing more about worth."""

Fusion = Literal["score", "rrf"]


@dataclass(frozen=True, slots=True)
class Weights:
    """The formula's terms; all act on z-scores except the two bonuses."""

    dense: float = 0.6
    lexical: float = 0.2
    window: float = 0.2
    previous: float = 0.25
    following: float = 0.15
    session_best: float = 0.6
    session_mean: float = 0.5
    speaker: float = 1.2
    question: float = -1.2
    length: float = 0.7


@dataclass(slots=True)
class Lines:
    """A subject's lines as arrays, ordered by session and seq; `episode` numbers the talk that a line is part of."""

    episode: npt.NDArray[np.int32]
    speaker: npt.NDArray[np.uint32]
    question: npt.NDArray[np.bool_]
    length: Floats
    term_rows: npt.NDArray[np.int32]
    terms: npt.NDArray[np.uint32]
    vectors: npt.NDArray[np.int8]
    scales: Floats
    """What one unit of a line's int8 vector is worth; zero for a line without a vector."""

    def __len__(self) -> int:
        return len(self.episode)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: its term prints, its vector (None where meaning says nothing), prints of the names in it."""

    terms: npt.NDArray[np.uint32]
    vector: Floats | None
    named: npt.NDArray[np.uint32]


def lexical(lines: Lines, terms: npt.NDArray[np.uint32]) -> tuple[Floats, Floats]:
    """BM25 of each line, and of each line read together with the one before and after it in its talk."""
    count = len(lines)
    sizes = np.bincount(lines.term_rows, minlength=count).astype(np.float32)
    single, window = np.zeros(count, np.float32), np.zeros(count, np.float32)
    wide = _windowed(sizes, lines.episode)
    own_norm, wide_norm = _norm(sizes), _norm(wide)
    for term in np.unique(terms):
        tf = np.bincount(lines.term_rows[lines.terms == term], minlength=count).astype(np.float32)
        if not tf.any():
            continue
        single += _bm25(tf, own_norm)
        window += _bm25(_windowed(tf, lines.episode), wide_norm)
    return single, window


def _norm(sizes: Floats) -> Floats:
    norm: Floats = K1 * (1 - B + B * sizes / max(float(sizes.mean()), 1e-6))
    return norm


def _bm25(tf: Floats, norm: Floats) -> Floats:
    holding = int((tf > 0).sum())
    idf = np.log(1 + (len(tf) - holding + 0.5) / (holding + 0.5))
    worth: Floats = (idf * tf * (K1 + 1) / (tf + norm)).astype(np.float32)
    return worth


def _windowed(values: Floats, episode: npt.NDArray[np.int32]) -> Floats:
    return values + _before(values, episode) + _after(values, episode)


def _before(values: Floats, episode: npt.NDArray[np.int32]) -> Floats:
    moved = np.zeros_like(values)
    moved[1:] = np.where(episode[1:] == episode[:-1], values[:-1], 0)
    return moved


def _after(values: Floats, episode: npt.NDArray[np.int32]) -> Floats:
    moved = np.zeros_like(values)
    moved[:-1] = np.where(episode[1:] == episode[:-1], values[1:], 0)
    return moved


def _z(values: Floats, mean: float, spread: float) -> Floats:
    """Z-scores whose mean and spread lean on constants while there are few values."""
    count = len(values)
    share = count / (count + PRIOR_LINES)
    own_mean, own_spread = (float(values.mean()), float(values.std())) if count else (mean, spread)
    middle = share * own_mean + (1 - share) * mean
    width = share * own_spread + (1 - share) * spread
    return ((values - middle) / max(width, 1e-6)).astype(np.float32)


def _by_episode(values: Floats, episode: npt.NDArray[np.int32]) -> tuple[Floats, Floats]:
    """The best and the mean value of each line's talk, spread back over its lines."""
    _, index = np.unique(episode, return_inverse=True)
    best = np.full(int(index.max()) + 1, -np.inf, np.float32)
    np.maximum.at(best, index, values)
    mean = np.bincount(index, values) / np.bincount(index)
    return best[index], mean[index].astype(np.float32)


FAINT_COSINE = 0.3
"""Below this, and without one word in common, nothing that is remembered has to do with the question."""


def score(lines: Lines, question: Question, *, fusion: Fusion = "score", weights: Weights | None = None) -> Floats:
    """One score per line, higher is better; comparable within one question only. Empty where nothing is related."""
    if not len(lines):
        return np.zeros(0, np.float32)
    single, window = lexical(lines, question.terms)
    cosine = None
    if question.vector is not None and (lines.scales > 0).any():
        cosine = (lines.vectors.astype(np.float32) @ question.vector) * lines.scales
    if not single.any() and (cosine is None or float(cosine.max()) < FAINT_COSINE):
        return np.zeros(0, np.float32)
    if fusion == "rrf":
        return _rank_fusion(single, cosine)
    return _fuse(lines, question, single=single, window=window, cosine=cosine, weights=weights or Weights())


def _fuse(
    lines: Lines, question: Question, *, single: Floats, window: Floats, cosine: Floats | None, weights: Weights
) -> Floats:
    words = _z(single, LEXICAL_MEAN, LEXICAL_SPREAD)
    both = _z(window, LEXICAL_MEAN, LEXICAL_SPREAD)
    if cosine is None:
        direct, half = (weights.dense + weights.lexical) * words, words
    else:
        meaning = np.where(lines.scales > 0, _z(cosine, DENSE_MEAN, DENSE_SPREAD), 0).astype(np.float32)
        direct, half = weights.dense * meaning + weights.lexical * words, 0.5 * meaning + 0.5 * words
    best, mean = _by_episode(half, lines.episode)
    near = weights.previous * _before(half, lines.episode) + weights.following * _after(half, lines.episode)
    lengths = np.log(np.clip(lines.length, 1, LONG_LINE))
    total = direct + weights.window * both + near + weights.session_best * best + weights.session_mean * mean
    total += weights.speaker * np.isin(lines.speaker, question.named) + weights.question * lines.question
    result: Floats = (total + weights.length * _z(lengths.astype(np.float32), 4.5, 0.7)).astype(np.float32)
    return result


def spread(lines: Lines, scores: Floats, *, depth: int, step: float = 0.5) -> list[int]:
    """The best `depth` rows, each talk's next line worth `step` less than its last: for answers that are lists."""
    open_rows = {int(row): float(scores[row]) for row in np.argsort(-scores, kind="stable")[: 2 * depth]}
    taken: dict[int, int] = {}
    order: list[int] = []
    while open_rows and len(order) < depth:
        row = max(open_rows, key=lambda at: open_rows[at] - step * taken.get(int(lines.episode[at]), 0))
        talk = int(lines.episode[row])
        taken[talk] = taken.get(talk, 0) + 1
        order.append(row)
        del open_rows[row]
    return order


def _rank_fusion(single: Floats, cosine: Floats | None) -> Floats:
    """Weighted reciprocal rank fusion; a line without any word in common has no lexical rank."""
    total = np.zeros(len(single), np.float32)
    order = np.argsort(-single, kind="stable")
    hits = order[single[order] > 0]
    total[hits] += (1 - RRF_DENSE if cosine is not None else 1) / (RRF_K + 1 + np.arange(len(hits)))
    if cosine is not None:
        order = np.argsort(-cosine, kind="stable")
        total[order] += RRF_DENSE / (RRF_K + 1 + np.arange(len(order)))
    return total
