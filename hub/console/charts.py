"""Charts as small SVG made here: no script, no request, sharp in print and in the dark, with a table beside each.

The drawing stretches to its box, so texts are HTML around it: they stay readable on a phone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 1000.0
HEIGHT: Final = 200.0
GAP: Final = 0.28
LABELS: Final = 6
FEWER: Final = 3
SHORT: Final = 6
LEAST: Final = 4
"""The lowest top of counted things, so that each tick is a whole number."""


@dataclass(frozen=True, slots=True)
class Line:
    """One measured thing: its name, CSS tone, and a value per step (None: nothing to measure)."""

    name: str
    tone: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of the drawing, of a tone (empty: the invisible column that carries the hint)."""

    x: float
    y: float
    width: float
    height: float
    tone: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """All that the template draws."""

    title: str
    caption: str
    lines: Sequence[Line]
    boxes: Sequence[Box]
    paths: Sequence[tuple[str, str]]
    dots: Sequence[Box]
    columns: Sequence[Box]
    ticks: Sequence[str]
    """From the top to zero."""
    labels: Sequence[tuple[str, float]]
    """Of some columns, the newest among them: the text and the place of the column's middle in hundredths."""
    rows: Sequence[tuple[str, Sequence[str]]]
    """For the table: a step's label and its values as text."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(value for line in self.lines for value in line.values)


def bars(
    title: str, caption: str, labels: Sequence[str], lines: Sequence[Line], *, show: Callable[[float], str]
) -> Chart:
    """Stacked columns."""
    sums = [sum(line.values[n] or 0 for line in lines) for n in range(len(labels))]
    top, step = nice_top(max([*sums, LEAST])), WIDTH / max(len(labels), 1)
    boxes = []
    for number in range(len(labels)):
        base = HEIGHT
        for line in lines:
            height = (line.values[number] or 0) / top * HEIGHT
            base -= height
            if height:
                boxes.append(_box(step * (number + GAP / 2), base, step * (1 - GAP), height, line.tone))
    return _chart(title, caption, labels, lines, boxes=boxes, top=top, show=show)


def curves(
    title: str, caption: str, labels: Sequence[str], lines: Sequence[Line], *, show: Callable[[float], str]
) -> Chart:
    """Lines over time, broken where nothing was measured."""
    top = nice_top(max((value for line in lines for value in line.values if value), default=0))
    step = WIDTH / max(len(labels), 1)
    paths, dots = [], []
    for line in lines:
        points = [
            (step * (number + 0.5), HEIGHT - value / top * HEIGHT) if value is not None else None
            for number, value in enumerate(line.values)
        ]
        paths.append((line.tone, path_of(points)))
        dots += [Box(round(x, 1), round(y, 1), 0, 0, line.tone) for x, y in lonely(points)]
    return _chart(title, caption, labels, lines, paths=paths, dots=dots, top=top, show=show)


def nice_top(value: float) -> float:
    """The next round number at or above whose half is round too: 1, 2, 4, 6, 8 times a power of ten; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value)


Point = tuple[float, float] | None


def path_of(points: Sequence[Point]) -> str:
    """The `d` of an SVG path that skips what is missing."""
    words, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        words.append(f"{pen}{point[0]:.1f} {point[1]:.1f}")
        pen = "L"
    return "".join(words)


def lonely(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Points without a neighbour, which no line shows."""
    padded = [None, *points, None]
    return [
        point
        for before, point, after in zip(padded, points, padded[2:], strict=False)
        if point is not None and before is None and after is None
    ]


def _chart(
    title: str,
    caption: str,
    labels: Sequence[str],
    lines: Sequence[Line],
    *,
    top: float,
    show: Callable[[float], str],
    boxes: Sequence[Box] = (),
    paths: Sequence[tuple[str, str]] = (),
    dots: Sequence[Box] = (),
) -> Chart:
    rows = [
        (label, ["–" if (value := line.values[number]) is None else show(value) for line in lines])
        for number, label in enumerate(labels)
    ]
    step = WIDTH / max(len(labels), 1)
    columns = [
        Box(round(step * n, 1), 0, round(step, 1), HEIGHT, hint=_hint(label, lines, texts))
        for n, (label, texts) in enumerate(rows)
    ]
    return Chart(
        title=title,
        caption=caption,
        lines=lines,
        boxes=boxes,
        paths=paths,
        dots=dots,
        columns=columns,
        ticks=[show(top), show(top / 2), show(0)],
        labels=_axis(labels),
        rows=rows,
    )


def _axis(labels: Sequence[str]) -> list[tuple[str, float]]:
    """Every so many, counted from the newest."""
    most = LABELS if max(map(len, labels), default=0) <= SHORT else FEWER
    every = max(1, math.ceil(len(labels) / most))
    places = range(len(labels) - 1, -1, -every)
    return [(labels[place], round((place + 0.5) / len(labels) * 100, 1)) for place in reversed(places)]


def _hint(label: str, lines: Sequence[Line], texts: Sequence[str]) -> str:
    return "\n".join([label, *(f"{line.name}: {text}" for line, text in zip(lines, texts, strict=True))])


def _box(x: float, y: float, width: float, height: float, tone: str) -> Box:
    return Box(round(x, 1), round(y, 1), round(width, 1), round(height, 1), tone)
