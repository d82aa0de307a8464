"""A whole agent turn (graph, prompt, model client; no database): CPU per turn for 64 chunks that arrive at once.

Run: `python -m tests.benchmarks.bench_turn [--profile]`. The model server runs in its own process.
"""

import argparse
import asyncio
import cProfile
import json
import pstats
import subprocess
import sys
import time

from agents.types import ModelRoute, SessionState, TurnInput
from memory.types import Buffer, Line
from tests.agents.parts import runtime_over, spec, turn
from tests.support.wire import open_wire

TURNS, SLOTS = 1_600, 16


def buffer() -> Buffer:
    """Five exchanges of 200 bytes."""
    lines = [Line(n, "user" if n % 2 else "assistant", f"{n} " + "some words of talk " * 5) for n in range(1, 11)]
    return Buffer(lines, 0, 10)


async def measure(url: str, *, profile: bool) -> dict[str, float]:
    agent = spec(ModelRoute(provider="openai", model="scripted", base_url=url), tools=["current_time"])
    async with open_wire() as wire:
        runtime = runtime_over(wire)

        async def slot(turns: int) -> None:
            for _ in range(turns):
                asked: TurnInput = turn(agent, "hello", state=SessionState(version=1, buffer=buffer()))
                result = await runtime.run(asked, lambda _: None)
                runtime.after_commit([(asked, result)])
                assert result.finish == "stop"

        await asyncio.gather(*(slot(10) for _ in range(SLOTS)))
        best = 1e9
        for _ in range(3):
            began = time.process_time()
            await asyncio.gather(*(slot(TURNS // SLOTS) for _ in range(SLOTS)))
            best = min(best, (time.process_time() - began) / TURNS * 1e3)
        if profile:
            watch = cProfile.Profile()
            watch.enable()
            await slot(500)
            watch.disable()
            pstats.Stats(watch).sort_stats("tottime").print_stats(25)
    return {"cpu_ms_per_turn": best}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    command = [sys.executable, "-m", "tests.support.model_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        try:
            import uvloop

            found = uvloop.run(measure(url, profile=options.profile))
        finally:
            server.terminate()
    sys.stdout.write(json.dumps({name: round(value, 3) for name, value in found.items()}) + "\n")


if __name__ == "__main__":
    main()
