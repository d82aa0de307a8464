"""A workflow drawn as a graph: steps in ranks from top to bottom, as one SVG without a script or a style of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from agents.standard import STANDARD
from hub.console.turn_words import CONDITIONS, NODES

END: Final = "end"
WIDTH: Final = 152
HEIGHT: Final = 40
DOWN: Final = 78
"""From one rank to the next."""
ASIDE: Final = 188
"""From one step to the next within a rank."""
EDGE: Final = 24
WORKFLOWS: Final[Mapping[str, Mapping[str, Any]]] = {"standard": STANDARD}


@dataclass(frozen=True, slots=True)
class _Edge:
    source: str
    target: str
    when: str
    back: bool


def workflow_graph(name: str, *, taken: Mapping[str, int] | None = None) -> SafeString:
    """The graph of a workflow; `taken` marks the steps that a turn went through. Empty for an unknown one."""
    data = WORKFLOWS.get(name)
    if data is None:
        return SafeString("")
    edges = _edges(data)
    places = _places(data, edges)
    right = max(x for x, _y in places.values()) + WIDTH + EDGE
    down = max(y for _x, y in places.values()) + HEIGHT + EDGE
    drawn = format_html_join("", "{}", ((_drawn(edge, places, number),) for number, edge in enumerate(edges)))
    nodes = format_html_join("", "{}", ((_node(step, place, taken or {}),) for step, place in places.items()))
    return format_html(
        '<div class="graph" tabindex="0"><svg viewBox="0 0 {} {}" width="{}" role="img" aria-label="{}"><defs>'
        '<marker id="g-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path class="g-head" d="M0 0 8 4 0 8z"/></marker></defs>{}{}</svg></div>',
        right,
        down,
        right,
        _described(edges),
        drawn,
        nodes,
    )


def _edges(data: Mapping[str, Any]) -> list[_Edge]:
    """Back edges are those that lead to a step on the way to their source."""
    follow: dict[str, list[str]] = {}
    for entry in data["edges"]:
        follow.setdefault(entry["from"], []).append(entry["to"])
    back: set[tuple[str, str]] = set()

    def walk(step: str, way: tuple[str, ...]) -> None:
        for target in follow.get(step, ()):
            if target in way:
                back.add((step, target))
            elif (step, target) not in back:
                walk(target, (*way, target))

    walk(data["start"], (data["start"],))
    return [
        _Edge(entry["from"], entry["to"], str(entry.get("when", "")), (entry["from"], entry["to"]) in back)
        for entry in data["edges"]
    ]


def _places(data: Mapping[str, Any], edges: Sequence[_Edge]) -> dict[str, tuple[int, int]]:
    """Each step's corner: its rank is the longest way to it, side steps stand beside the main line."""
    ranks = {data["start"]: 0}
    for _round in range(len(data["nodes"]) + 1):
        for edge in edges:
            if not edge.back and edge.source in ranks:
                ranks[edge.target] = max(ranks.get(edge.target, 0), ranks[edge.source] + 1)
    ranks[END] = max(ranks.values())
    main = _main_line(data["start"], edges)
    found: dict[str, tuple[int, int]] = {}
    filled: dict[int, int] = {}
    for step, rank in sorted(ranks.items(), key=lambda pair: pair[1]):
        column = 0 if step in main else filled.get(rank, 0) + 1
        filled[rank] = column
        found[step] = (EDGE + 60 + column * ASIDE, EDGE + rank * DOWN)
    return found


def _main_line(start: str, edges: Sequence[_Edge]) -> set[str]:
    """The steps that a plain turn passes: always the way without a condition."""
    line, step = {start}, start
    while step != END:
        ways = [edge for edge in edges if edge.source == step and not edge.when]
        if not ways or ways[-1].target in line:
            break
        step = ways[-1].target
        line.add(step)
    return line | {END}


def _drawn(edge: _Edge, places: Mapping[str, tuple[int, int]], number: int) -> SafeString:
    (x1, y1), (x2, y2) = places[edge.source], places[edge.target]
    route, at = _route(x1, y1, x2, y2, back=edge.back, lane=number % 3)
    label = CONDITIONS.get(edge.when, edge.when)
    words = format_html('<text class="g-label" x="{}" y="{}">{}</text>', *at, label) if edge.when else ""
    kind = "g-edge g-when" if edge.when else "g-edge"
    return format_html('<path class="{}" d="{}" marker-end="url(#g-head)"/>{}', kind, route, words)


def _route(x1: int, y1: int, x2: int, y2: int, *, back: bool, lane: int) -> tuple[str, tuple[int, int]]:
    """A path and where its label stands."""
    middle = WIDTH // 2
    if back:
        left, right = x1 + 14, x2 + WIDTH - 14
        return f"M{left} {y1}C{left} {y1 - 24} {right} {y2 + HEIGHT + 24} {right} {y2 + HEIGHT}", (left, y1 - 12)
    if x1 == x2 and y2 - y1 > DOWN:  # past other steps: around them, on the left
        out = x1 - 22 - 16 * lane
        # its words stand beside it, between two ranks
        bend = f"M{x1} {y1 + HEIGHT // 2}C{out} {y1 + HEIGHT // 2} {out} {y1 + HEIGHT} {out} {y1 + HEIGHT + 20}"
        return (
            f"{bend}V{y2 - 20}C{out} {y2 + HEIGHT // 2} {out} {y2 + HEIGHT // 2} {x2} {y2 + HEIGHT // 2}",
            (out + 6, y1 + HEIGHT + 23),
        )
    start = (x1 + middle, y1 + HEIGHT)
    if x1 < x2:  # to a side step; the farther one leaves higher and is named where it arrives
        far = x2 - x1 > ASIDE
        out, to = y1 + HEIGHT // 2 - (16 if far else 8), x2 + middle
        label = (to + 8, y2 - 18) if far else (x1 + WIDTH + 10, out + 15)
        return f"M{x1 + WIDTH} {out}C{to} {out} {to} {y1 + HEIGHT - 10} {to} {y2}", label
    if x1 > x2:  # back to the main line
        return (
            f"M{x1 + middle} {y1 + HEIGHT}C{x1 + middle} {y2 + HEIGHT - 6} {x1} {y2 + HEIGHT - 6} "
            f"{x2 + WIDTH} {y2 + HEIGHT - 6}",
            (x1 + middle + 6, y1 + HEIGHT + 14),
        )
    return f"M{start[0]} {start[1]}V{y2}", (start[0] + 6, y1 + HEIGHT + 16)


def _node(step: str, place: tuple[int, int], taken: Mapping[str, int]) -> SafeString:
    x, y = place
    kind = "g-node" + (" g-taken" if step in taken else "") + (" g-end" if step == END else "")
    return format_html(
        '<g class="{}"><rect x="{}" y="{}" width="{}" height="{}" rx="{}"/>'
        '<text x="{}" y="{}" text-anchor="middle">{}</text></g>',
        kind,
        x,
        y,
        WIDTH,
        HEIGHT,
        HEIGHT // 2 if step == END else 9,
        x + WIDTH // 2,
        y + HEIGHT // 2 + 5,
        NODES.get(step, step),
    )


def _described(edges: Sequence[_Edge]) -> SafeString:
    """The graph in words, for those who hear it."""
    return format_html_join(
        "; ",
        "{} → {}{}",
        (
            (
                NODES.get(edge.source, edge.source),
                NODES.get(edge.target, edge.target),
                f" ({CONDITIONS.get(edge.when, edge.when)})" if edge.when else "",
            )
            for edge in edges
        ),
    )
