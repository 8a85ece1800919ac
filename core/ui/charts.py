"""Geometry of the charts: numbers in, SVG coordinates out.

A missing value stays missing: a gap in a line, a hollow bar or cell, "unknown" in the data table. It is never drawn as zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from core.ui.formats import compact_number

HEIGHT = 100
STEP = 10
GAP = 2
HEAT_LEVELS = 4
STATES = ("ok", "degraded", "down", "unknown")

Number = int | float
Point = tuple[str, Number | None]
StackedPoint = tuple[str, Sequence[Number | Decimal]]


@dataclass(frozen=True, slots=True)
class Segment:
    """One rectangle; `series` numbers the colour from 0."""

    x: float
    y: float
    height: float
    series: int
    title: str


@dataclass(frozen=True, slots=True)
class Bars:
    width: int
    segments: tuple[Segment, ...]
    unknown: tuple[Segment, ...]
    top: str


@dataclass(frozen=True, slots=True)
class Line:
    """`runs` are the unbroken stretches, each an SVG points attribute; `area` closes the single run, if there is one.

    `dots` are values between two gaps, as runs without length, which a round cap makes visible.
    """

    width: int
    runs: tuple[str, ...]
    dots: tuple[str, ...]
    area: str
    top: str
    summary: str


@dataclass(frozen=True, slots=True)
class Cell:
    style: str
    title: str


def bars(points: Sequence[Point | StackedPoint], names: Sequence[str] = (), unit: str = "") -> Bars:
    """Bars side by side; a point with several values is a stack, named by `names`. What is below zero has words and no height."""
    top = max((sum(max(each, 0) for each in _values(value)) for _, value in points), default=0)
    segments: list[Segment] = []
    unknown: list[Segment] = []
    for index, (label, value) in enumerate(points):
        x = index * STEP + GAP / 2
        if value is None:
            unknown.append(Segment(x, HEIGHT - 6, 6, 0, f"{label}: unknown"))
        else:
            segments.extend(_stack(x, label, _values(value), top, (names, unit)))
    return Bars(max(len(points), 1) * STEP, tuple(segments), tuple(unknown), compact_number(top))


def _stack(
    x: float, label: str, values: Sequence[Number], top: Number, words: tuple[Sequence[str], str]
) -> Iterable[Segment]:
    names, unit = words
    floor = float(HEIGHT)
    for series, value in enumerate(values):
        height = round(max(value, 0) / top * HEIGHT, 2) if top else 0.0
        floor = round(floor - height, 2)
        name = f" {names[series]}" if series < len(names) else ""
        yield Segment(x, floor, height, series, f"{label}: {value:,}{name or (' ' + unit if unit else '')}")


def _values(value: Number | Decimal | Sequence[Number | Decimal] | None) -> Sequence[Number]:
    """What is drawn: money loses digits here that nobody can see, and the table beside the picture keeps them."""
    if value is None:
        return ()
    if isinstance(value, Decimal):
        return (float(value),)
    if isinstance(value, (int, float)):
        return (value,)
    return [float(each) if isinstance(each, Decimal) else each for each in value]


def line(points: Sequence[Point]) -> Line:
    known = [value for _, value in points if value is not None]
    top = max(known, default=0)
    runs: list[list[str]] = [[]]
    for index, (_, value) in enumerate(points):
        if value is None:
            runs.append([])
        else:
            y = HEIGHT - (value / top * HEIGHT if top else 0)
            runs[-1].append(f"{index * STEP},{round(y, 2):g}")
    width = max(len(points) - 1, 1) * STEP
    drawn = tuple(" ".join(run) for run in runs if len(run) > 1)
    dots = tuple(f"{run[0]} {run[0]}" for run in runs if len(run) == 1)
    area = f"0,{HEIGHT} {drawn[0]} {width},{HEIGHT}" if len(known) == len(points) and drawn else ""
    return Line(width, drawn, dots, area, compact_number(top), _summary(points, known))


def _summary(points: Sequence[Point], known: Sequence[Number]) -> str:
    if not known:
        return "no data"
    missing = len(points) - len(known)
    text = f"lowest {min(known):,}, highest {max(known):,}, latest {known[-1]:,}"
    return f"{text}, {missing} unknown" if missing else text


def heat(points: Sequence[tuple[str, Number | str | None]], unit: str = "") -> tuple[Cell, ...]:
    """One cell a point: a state (ok, degraded, down, unknown) or a number in four strengths."""
    numbers = [value for _, value in points if isinstance(value, (int, float))]
    top = max(numbers, default=0)
    return tuple(Cell(_heat_style(value, top), _heat_title(label, value, unit)) for label, value in points)


def _heat_style(value: Number | str | None, top: Number) -> str:
    if isinstance(value, str):
        return value if value in STATES else "unknown"
    if value is None:
        return "unknown"
    return f"level-{-(-value * HEAT_LEVELS // top):g}" if top else "level-0"


def _heat_title(label: str, value: Number | str | None, unit: str) -> str:
    if value is None:
        return f"{label}: unknown"
    shown = value if isinstance(value, str) else f"{value:,}"
    return f"{label}: {shown}{' ' + unit if unit else ''}"
