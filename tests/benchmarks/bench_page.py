"""`python -m tests.benchmarks.bench_page`: how fast the chat page is there, in a headless Chromium over loopback.

A hub of its own. Each run opens the page with an empty cache, then once more with what the first visit left. Figures
come from the browser's own clocks: navigation and paint timing, long tasks (what they take over 50 ms blocks), the
network's count of bytes. Usable: the box takes the focus and the line to the hub stands.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.e2e.conftest import brought_up
from tests.support.browser import FLAGS, chromium, standing
from tests.support.model_server import ModelServer

_WATCH = """
window.seen = { largest: 0, blocked: 0, usable: 0 };
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) seen.largest = entry.startTime;
}).observe({ type: "largest-contentful-paint", buffered: true });
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) seen.blocked += Math.max(0, entry.duration - 50);
}).observe({ type: "longtask", buffered: true });
const look = () => {
  const chat = document.querySelector("hub-chat")?.shadowRoot;
  const box = chat?.querySelector("#text");
  const there = box && !box.disabled && chat.querySelector("#link[data-state=online]");
  if (there) seen.usable = performance.now(); else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""
_READ = """() => {
  const first = performance.getEntriesByName("first-contentful-paint")[0];
  return { ...seen, first: first ? first.startTime : 0 };
}"""
ROWS = (
    ("requests", "requests", "", 0),
    ("bytes", "transferred", " kB", 1),
    ("first", "first paint of content", " ms", 0),
    ("largest", "largest paint", " ms", 0),
    ("usable", "usable", " ms", 0),
    ("blocked", "main thread blocked", " ms", 0),
)


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    model = ModelServer()
    with (
        tempfile.TemporaryDirectory(prefix="agent-hub-bench-") as place,
        standing(model),
        brought_up(Path(place), model.url) as up,
    ):
        list(_visits(up.url, 1))  # the hub's own first time
        found = list(_visits(up.url, runs))
    print("| | cold cache | warm cache |\n|---|---|---|")
    for key, name, unit, digits in ROWS:
        cold, warm = ([visit[key] for visit in visits] for visits in zip(*found, strict=True))
        print(f"| {name} | {_words(cold, unit, digits)} | {_words(warm, unit, digits)} |")
    print(f"\nmedian of {runs} (least to most), load average {os.getloadavg()[0]:.1f}")
    return 0


def _words(values: list[float], unit: str, digits: int) -> str:
    middle, least, most = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{middle}{unit}" if least == most else f"{middle}{unit} ({least} to {most})"


def _visits(url: str, runs: int) -> Iterator[tuple[dict[str, float], dict[str, float]]]:
    """For each run a visit with an empty cache and one more."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS), timeout=30_000)
        try:
            for _ in range(runs):
                context = browser.new_context(viewport={"width": 1280, "height": 800})
                context.add_init_script(_WATCH)
                yield _visit(context, url), _visit(context, url)
                context.close()
        finally:
            browser.close()


def _visit(context: Any, url: str) -> dict[str, float]:
    page = context.new_page()
    line = context.new_cdp_session(page)
    line.send("Network.enable")
    sizes: list[float] = []
    cached: list[str] = []
    line.on("Network.requestServedFromCache", lambda told: cached.append(told["requestId"]))
    line.on("Network.loadingFinished", lambda told: sizes.append(told["encodedDataLength"]))
    page.goto(f"{url}/")
    page.wait_for_selector("#link[data-state=online]")
    page.wait_for_timeout(400)  # the browser reports the largest paint a moment later
    found: dict[str, float] = page.evaluate(_READ)
    sent = [size for size in sizes if size]
    page.close()
    return {**found, "requests": len(sent), "bytes": sum(sent) / 1000}


if __name__ == "__main__":
    sys.exit(main())
