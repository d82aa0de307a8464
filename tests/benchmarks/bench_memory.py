"""`make bench-memory`: retrieval figures of TARGETS.md section 2 through the real PostgreSQL path, without a
language model.

Evidence recall is deterministic and asks no judge. The data sets stay where they are (LoCoMo is CC BY-NC: measured,
never shipped); their folder is the first argument, or HUB_BENCH_DATA, or `../shared/data` beside the repository.
"""

import argparse
import asyncio
import base64
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from hub.embedded import Layout, Servers
from hub.embedded.postgres import ensure_database
from memory import store
from memory.embeddings.minilm import MiniLM
from memory.packing import pack_lines
from memory.scoring import Fusion
from memory.shelving import embedded_texts, shelve
from memory.types import Batch, Buffer, Exchange, Key, Line, Policy, Role
from tenants.db.roles import create_roles
from tenants.ids import uuid7
from tests.memory.world import START, World, make_tenant, open_world

ROOT = Path(__file__).resolve().parents[2]
WIDE = Policy(recall_limit=50, recall_tokens=10**9)
CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}


@dataclass
class Row:
    number: str
    what: str
    figure: str
    goal: str


@dataclass
class Tally:
    """Sums over questions."""

    recall: dict[int, list[float]] = field(default_factory=lambda: {5: [], 10: [], 25: [], 50: []})
    reciprocal: list[float] = field(default_factory=list)
    by_category: dict[int, list[float]] = field(default_factory=dict)
    session_hit: list[float] = field(default_factory=list)
    session_recall: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def add(self, found: Sequence[str], evidence: set[str], category: int) -> None:
        for depth, values in self.recall.items():
            values.append(len(evidence & set(found[:depth])) / len(evidence))
        self.reciprocal.append(next((1 / (at + 1) for at, turn in enumerate(found) if turn in evidence), 0.0))
        self.by_category.setdefault(category, []).append(self.recall[10][-1])
        talks = list(dict.fromkeys(turn.split(":")[0] for turn in found))[:10]
        wanted = {turn.split(":")[0] for turn in evidence}
        self.session_hit.append(float(bool(wanted & set(talks))))
        self.session_recall.append(len(wanted & set(talks)) / len(wanted))


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


# ---- LoCoMo ------------------------------------------------------------------------------------------------------


def conversation_lines(conversation: dict[str, Any]) -> tuple[list[Line], dict[int, str]]:
    """All turns in order as one session's lines (the first speaker is the user), and each line's id in the data set."""
    lines: list[Line] = []
    ids: dict[int, str] = {}
    talks = sorted((n for n, v in conversation.items() if isinstance(v, list)), key=lambda n: int(n.split("_")[1]))
    for name in talks:
        began = datetime.strptime(conversation[f"{name}_date_time"], "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
        for number, turn in enumerate(conversation[name]):
            caption = f"[{turn['blip_caption']}] " if turn.get("blip_caption") else ""
            role: Role = "user" if turn["speaker"] == conversation["speaker_a"] else "assistant"
            seq = len(lines) + 1
            at = began + timedelta(seconds=30 * number)
            lines.append(Line(seq, role, caption + turn["text"], turn["speaker"], at))
            ids[seq] = turn["dia_id"]
    return lines, ids


async def remember(world: World, key: Key, lines: Sequence[Line], policy: Policy) -> None:
    """Fold line by line as turns would, append in transactions of fifty, execute every batch."""
    buffer, exchanges = Buffer(), []
    for line in lines:
        buffer, batch = world.memory.fold(buffer, [line], policy, key)
        exchanges.append(Exchange(key=key, lines=[line], batch=batch))
        if batch is not None:
            world.batches.append(batch)
    for start in range(0, len(exchanges), 50):
        async with world.pools.app(key.tenant_id) as conn:
            await world.memory.append(conn, exchanges[start : start + 50])
    await world.digest()


async def locomo(world: World, data: list[dict[str, Any]], *, fusion: Fusion) -> tuple[Tally, float, float]:
    """The tally, all history's tokens over conversations, and lines stored per second."""
    from memory.buffer import count_tokens

    tally, history, stored, seconds = Tally(), 0.0, 0, 0.0
    for sample in data:
        lines, ids = conversation_lines(sample["conversation"])
        key = Key(tenant_id=world.tenant_id, session_id=uuid7(), subject_id=uuid7())
        started = time.perf_counter()
        await remember(world, key, lines, Policy())
        seconds += time.perf_counter() - started
        stored += len(lines)
        history += count_tokens(lines) / len(data)
        asking = Key(tenant_id=key.tenant_id, session_id=uuid7(), subject_id=key.subject_id)
        for question in sample["qa"]:
            evidence = {turn for text in question.get("evidence", []) for turn in re.findall(r"D\d+:\d+", text)}
            evidence &= set(ids.values())
            if not evidence:
                continue
            await world.redis.flushall()
            begun = time.perf_counter()
            found = await world.memory.recall(asking, question["question"], WIDE, buffer=Buffer(), fusion=fusion)
            tally.milliseconds.append((time.perf_counter() - begun) * 1000)
            items = [item for item in found.items if item.kind == "line"]
            tally.add([ids[item.seqs[0]] for item in items], evidence, question["category"])
            tally.tokens.append(sum(len(item.text) / 4 for item in items[:10]))
    return tally, history, stored / seconds


def locomo_rows(tally: Tally, history: float, rate: float) -> list[Row]:
    rows = [
        Row("M1", "LoCoMo turn recall@10", f"{mean(tally.recall[10]):.3f}", ">= .81"),
        Row(
            "M2", "recall@5 / @25 / MRR",
            f"{mean(tally.recall[5]):.3f} / {mean(tally.recall[25]):.3f} / {mean(tally.reciprocal):.3f}",
            ">= .72 / .88 / .60",
        ),
        Row(
            "M3", "session hit@10 / mean recall@10 (of 50 lines)",
            f"{mean(tally.session_hit):.3f} / {mean(tally.session_recall):.3f}", ">= .98 / .95",
        ),
        Row("M4", "multi-hop recall@10", f"{mean(tally.by_category.get(1, [])):.3f}", ">= .49"),
        Row("M8", "tokens of the best 10 / history", f"{mean(tally.tokens) / history:.1%}", "<= 3 %"),
        Row("", "recall p50 / p95 ms", " / ".join(f"{np.percentile(tally.milliseconds, p):.1f}" for p in (50, 95)), ""),
        Row("", "lines remembered per second (all steps)", f"{rate:.0f}", ">= 150"),
    ]  # fmt: skip
    for category, values in sorted(tally.by_category.items()):
        rows.append(Row("", f"  {CATEGORIES[category]} recall@10 ({len(values)})", f"{mean(values):.3f}", ""))
    return rows


# ---- CMRC --------------------------------------------------------------------------------------------------------


async def cmrc(world: World, data: dict[str, Any]) -> list[Row]:
    """Each paragraph is a session of one line; a question's own paragraph is its only right answer."""
    subject, policy, owner = uuid7(), Policy(rounds=1), dict[UUID, str]()
    questions: list[tuple[str, UUID]] = []
    for entry in data["data"]:
        for paragraph in entry["paragraphs"]:
            key = Key(tenant_id=world.tenant_id, session_id=uuid7(), subject_id=subject)
            owner[key.session_id] = paragraph["id"]
            await remember(world, key, [Line(1, "user", "。"), Line(2, "assistant", paragraph["context"])], policy)
            questions += [(qa["question"], key.session_id) for qa in paragraph["qas"]]
    asking = Key(tenant_id=world.tenant_id, session_id=uuid7(), subject_id=subject)
    ranks = []
    for question, right in questions:
        found = await world.memory.recall(asking, question, WIDE, buffer=Buffer())
        sessions = [item.session_id for item in found.items if item.kind == "line"]
        ranks.append(sessions.index(right) + 1 if right in sessions else 10**9)
    at = {depth: mean([float(rank <= depth) for rank in ranks]) for depth in (1, 5, 10)}
    return [Row("M5", f"CMRC2018 R@1 / R@10 ({len(ranks)})", f"{at[1]:.3f} / {at[10]:.3f}", ">= .97 / .995")]


# ---- size and speed ----------------------------------------------------------------------------------------------


async def storage(world: World) -> list[Row]:
    """Bytes of L3 against a row with text, float32 vector and HNSW entry for every line (measured: 4.1 KB)."""
    every_line = 1645 + 2320 + 160
    ((size, lines, vectors),) = await world.rows(
        "SELECT sum(pg_column_size(s.*)), sum(lines), count(vector) FROM summary s WHERE embedder <> ''"
    )
    async with world.pools.app(world.tenant_id) as conn:
        cursor = await conn.execute("SELECT pg_indexes_size('summary')::float / greatest(sum(lines), 1) FROM summary")
        ((index,),) = await cursor.fetchall()
    per_line = float(size) / float(lines) + index
    share = float(vectors) / float(lines)
    return [
        Row("M9", "vector rows per 100 lines", f"{share:.1%}", "<= 10 %"),
        Row(
            "M10",
            f"bytes of L3 per line ({per_line:.0f}) against {every_line}",
            f"{per_line / every_line:.1%}",
            "<= 30 %",
        ),
    ]


FRAGMENT = 20


async def crowd(world: World, data: list[dict[str, Any]], *, tenants: int, lines_each: int) -> list[Row]:
    """M6 and M7: many tenants' lines, vectors jittered from real ones, written as rows; then recalls of all tenants."""
    source = [line for sample in data for line in conversation_lines(sample["conversation"])[0]]
    texts = embedded_texts(source)
    embed = world.embedder.embed
    vectors = np.concatenate([await embed(texts[at : at + 256]) for at in range(0, len(texts), 256)])
    questions = [question["question"] for sample in data for question in sample["qa"]]
    rng = np.random.default_rng(7)
    keys: list[Key] = []
    exact: list[Any] = []
    for _ in range(tenants):
        key = Key(tenant_id=make_tenant(world.superuser_dsn), session_id=uuid7(), subject_id=uuid7())
        keys.append(key)
        originals = await _fill(world, key, source, vectors, lines_each=lines_each, rng=rng)
        exact.append(originals if len(exact) < 50 else None)
    timings: list[dict[str, float]] = []
    first: list[float] = []
    warm: list[float] = []
    overlap: list[float] = []
    for number in range(3 * tenants):
        key, asked = keys[number % tenants], questions[int(rng.integers(len(questions)))]
        asking = Key(tenant_id=key.tenant_id, session_id=uuid7(), subject_id=key.subject_id)
        begun = time.perf_counter()
        recalled = await world.memory.recall(asking, asked, Policy(), buffer=Buffer())
        timings.append(dict(recalled.timings_ms))
        (first if number < tenants else warm).append((time.perf_counter() - begun) * 1000)
        if number < 50:
            overlap.append(await _vector_overlap(world, key, asked, exact[number % tenants]))
    crowded = f"{tenants * lines_each} lines, {tenants} tenants"
    rows = [Row("M6", f"{crowded}: vector top 10", f"{mean(overlap):.3f}", ">= .99")]
    parts = [f"{part} {mean([timing[part] for timing in timings if part in timing]):.1f}" for part in timings[-1]]
    rows.append(Row("", "mean ms by part", ", ".join(parts), ""))
    for what, values in (("first of a tenant", first), ("again", warm)):
        figures = " / ".join(f"{np.percentile(values, p):.1f}" for p in (50, 95, 99))
        rows.append(Row("M7", f"whole recall p50 / p95 / p99 ms, {what}", figures, "p95 <= 25"))
    return rows


async def _fill(
    world: World, key: Key, source: Sequence[Line], vectors: Any, *, lines_each: int, rng: np.random.Generator
) -> Any:
    """Write one tenant's fragments; the float32 vectors in the order of seq."""
    written = []
    await world.vault.load(key.tenant_id)
    starts = rng.integers(0, len(source) - FRAGMENT, lines_each // FRAGMENT)
    async with world.pools.app(key.tenant_id) as conn:
        for number, start in enumerate(starts):
            at = START + timedelta(days=number)
            lines = [
                replace(line, seq=number * FRAGMENT + row + 1, at=at + timedelta(seconds=row))
                for row, line in enumerate(source[start : start + FRAGMENT])
            ]
            noisy = vectors[start : start + FRAGMENT] + rng.normal(0, 0.01, (FRAGMENT, vectors.shape[1]))
            unit = (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)
            written.append(unit)
            batch = Batch(id=uuid7(), key=key, first_seq=lines[0].seq, last_seq=lines[-1].seq, policy=Policy())
            digest = store.Digest(
                text="x", by_model=False, shelf=shelve(world.vault, key.tenant_id, lines, unit), body=pack_lines(lines),
                vector=unit[0].tolist(), embedder=world.embedder.identity,
            )  # fmt: skip
            await conn.execute(store._INSERT_SUMMARY, store._summary_row(world.vault, batch, digest))
    return np.concatenate(written)


async def _vector_overlap(world: World, key: Key, asked: str, exact: Any) -> float:
    """The share of the ten nearest by the float32 originals that the stored int8 vectors find."""
    subjects = world.memory._recaller._subjects
    subject = await subjects.load(key, await subjects.look(key), terms=[])
    (question,) = await world.embedder.embed([asked])
    packed = (subject.lines.vectors.astype(np.float32) @ question) * subject.lines.scales
    nearest = np.argsort(-(exact @ question))[:10] + 1
    return len(set(subject.seqs[np.argsort(-packed)[:10]].tolist()) & set(nearest.tolist())) / 10


async def run(folder: Path, *, fusion: Fusion, only: str) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as place:
        servers = Servers(Layout(Path(place) / "data"), postgres_settings={"fsync": "off"})
        await asyncio.to_thread(servers.start)
        try:
            world = await asyncio.to_thread(_prepare, servers.layout, Path(place))
            await world.pools.open()
            rows = await _measure(world, folder, fusion=fusion, only=only)
            again = MiniLM(world.embedder.cache)  # the exported file is there now, as at every start but the first
            again.embed_now(["ready"])
            rows.append(Row("M11", "embedding stack ready in", f"{again.ready_seconds:.2f} s", "<= 0.5 s"))
            await world.redis.aclose()
            await world.pools.close()
        finally:
            await asyncio.to_thread(servers.stop)
    return rows


def _prepare(layout: Layout, place: Path) -> World:
    """A migrated database with one tenant in it, prepared in a process of its own as `hub migrate` would."""
    ensure_database(layout.superuser_dsn, layout.database)
    create_roles(layout.superuser_dsn, prefix=layout.role_prefix, databases=[layout.database])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    environment |= {
        "HUB_DATA_DIR": str(place / "own"),
        "HUB_DATABASE_URL": layout.login_dsn,
        "HUB_DATABASE_OWNER_URL": layout.owner_dsn,
        "HUB_REDIS_URL": layout.redis_url,
        "HUB_MASTER_KEY": base64.b64encode(bytes(range(32))).decode(),
    }
    command = [sys.executable, "-m", "hub.cli", "migrate", "--json"]
    subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True, timeout=120)
    superuser = layout.dsn("postgres", database=layout.database)
    cache = Path(os.environ.get("HUB_EMBEDDING_CACHE") or place)
    return open_world(
        make_tenant(superuser),
        MiniLM(cache),
        superuser_dsn=superuser,
        login_dsn=layout.login_dsn,
        redis_url=layout.redis_url,
    )


async def _measure(world: World, folder: Path, *, fusion: Fusion, only: str) -> list[Row]:
    rows: list[Row] = []
    if only in ("", "locomo"):
        data = json.loads((folder / "locomo_dev.json").read_text())
        rows += locomo_rows(*await locomo(world, data, fusion=fusion))
        rows += await storage(world)
    if only in ("", "crowd"):
        data = json.loads((folder / "locomo_dev.json").read_text())
        rows += await crowd(world, data, tenants=100, lines_each=1000)
    if only in ("", "cmrc"):
        rows += await cmrc(world, json.loads((folder / "cmrc2018_trial.json").read_text()))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("HUB_BENCH_DATA") or str(ROOT.parent / "shared" / "data")
    parser.add_argument("folder", nargs="?", default=default)
    parser.add_argument("--fusion", choices=["score", "rrf"], default="score")
    parser.add_argument("--only", choices=["", "locomo", "crowd", "cmrc"], default="")
    chosen = parser.parse_args()
    folder = Path(chosen.folder)
    if not folder.is_dir():
        print(f"no data in {folder}: name its folder as the argument or in HUB_BENCH_DATA", file=sys.stderr)
        return 2
    rows = asyncio.run(run(folder, fusion=chosen.fusion, only=chosen.only))
    for row in rows:
        print(f"{row.number:4} {row.what:52} {row.figure:24} {row.goal}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
