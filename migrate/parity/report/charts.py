"""The geometry of the report's chart of errors along the depth of the network; a template draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from .quantities import scientific

#: More points than this in a line are thinned to the largest of each group.
MAX_POINTS = 600

#: Up to this many points in a line, each is marked and can be pointed at.
MAX_MARKS = 130

_WIDTH, _HEIGHT = 960.0, 380.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 78.0, 24.0, 34.0, 64.0


@dataclass(frozen=True)
class Point:
    """One error to draw.

    Attributes:
        place: number of the layer's run, 1-based.
        error: largest error relative to the largest value; None where the tensors can't be compared.
        tolerance: what is allowed at the largest value, relative to it; None where it is not known.
        passed: is every number within the tolerance?
        label: what it belongs to.
    """

    place: int
    error: float | None
    tolerance: float | None
    passed: bool
    label: str


@dataclass(frozen=True)
class Series:
    """The errors of one backend.

    Attributes:
        name: of the backend.
        own: each layer's own error.
        accumulated: the error in the running network.
    """

    name: str
    own: Sequence[Point]
    accumulated: Sequence[Point]


@dataclass(frozen=True)
class Tick:
    """A mark on an axis.

    Attributes:
        at: x or y.
        label: the text beside it.
    """

    at: float
    label: str


@dataclass(frozen=True)
class Mark:
    """A point that is drawn.

    Attributes:
        x, y: where.
        title: what a pointer sees there.
    """

    x: float
    y: float
    title: str


@dataclass(frozen=True)
class Line:
    """A line of one backend.

    Attributes:
        series: number of the backend, 0-based, from which colour and shape follow.
        kind: "own" or "accumulated".
        path: an SVG path.
        marks: its points; none if there are too many.
    """

    series: int
    kind: str
    path: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Limit:
    """The tolerance as a line.

    Attributes:
        path: an SVG path.
        label: what it is.
        y: where it ends.
    """

    path: str
    label: str
    y: float


@dataclass(frozen=True)
class DepthChart:
    """Error along the depth of the network.

    Attributes:
        width, height, left, right, top, bottom: sizes of the drawing and edges of the plot.
        x_ticks, y_ticks: marks on the axes.
        names: of the backends, by number of the series.
        lines: what was measured.
        limits: what is allowed.
        failures: points to be marked as failed.
        diverging: where the first layer diverges, or None.
        group: how many runs of layers make one point of a line.
        description: the chart in words.
    """

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    names: tuple[str, ...]
    lines: tuple[Line, ...]
    limits: tuple[Limit, ...]
    failures: tuple[Mark, ...]
    diverging: Mark | None
    group: int
    description: str


@dataclass(frozen=True)
class _Scale:
    """From (place, error) to (x, y): linear and logarithmic, with a band for 0 below and one for "none" above."""

    count: int
    low: int
    high: int
    zeros: bool
    nones: bool

    def x(self, place: float) -> float:
        share = (place - 1) / (self.count - 1) if self.count > 1 else 0.5
        return _LEFT + 8 + share * (_WIDTH - _RIGHT - _LEFT - 16)

    def y(self, error: float | None) -> float:
        top = _TOP + (22 if self.nones else 4)
        bottom = _HEIGHT - _BOTTOM - (24 if self.zeros else 0)
        if error is None:
            return _TOP + 6
        if error <= 0:
            return _HEIGHT - _BOTTOM - 8
        share = 1.0 if error == math.inf else (math.log10(error) - self.low) / (self.high - self.low)
        return bottom - min(max(share, 0.0), 1.0) * (bottom - top)


def depth_chart(series: Sequence[Series], count: int, first: tuple[int, str] | None = None) -> DepthChart | None:
    """The errors of all layers, in the order of execution.

    Args:
        series: one per backend.
        count: how many runs of layers there are.
        first: place and name of the first layer that diverges.

    Returns:
        The chart; None where there is nothing to draw.
    """
    points = [point for item in series for point in (*item.own, *item.accumulated)]
    if not points:
        return None
    scale = _scale(points, count)
    group = max(1, math.ceil(count / MAX_POINTS))
    lines = [
        _line(i, kind, found, scale, group)
        for i, item in enumerate(series)
        for kind, found in (("accumulated", item.accumulated), ("own", item.own))
        if found
    ]
    return DepthChart(
        _WIDTH,
        _HEIGHT,
        _LEFT,
        _WIDTH - _RIGHT,
        _TOP,
        _HEIGHT - _BOTTOM,
        _places(scale),
        _decades(scale),
        tuple(item.name for item in series),
        tuple(lines),
        tuple(_limits(series, scale)),
        tuple(_mark(point, scale) for item in series for point in _thinned(_failures(item), group)),
        None if first is None else Mark(scale.x(first[0]), _TOP, first[1]),
        group,
        _describe(series),
    )


def _failures(series: Series) -> list[Point]:
    """What is marked: accumulated errors above the tolerance follow from an own one, and their line shows them."""
    alone = [point for point in series.accumulated if point.error is None]
    return [point for point in series.own if not point.passed] + alone


def _scale(points: Sequence[Point], count: int) -> _Scale:
    numbers = [value for point in points for value in (point.error, point.tolerance) if value is not None]
    shown = [value for value in numbers if 0 < value < math.inf]
    low, high = math.floor(math.log10(min(shown, default=1e-8))), math.ceil(math.log10(max(shown, default=1e-4)))
    return _Scale(
        count,
        low,
        max(high, low + 1),
        any(point.error == 0 for point in points),
        any(point.error is None for point in points),
    )


def _mark(point: Point, scale: _Scale) -> Mark:
    error = "not comparable" if point.error is None else scientific(point.error)
    return Mark(scale.x(point.place), scale.y(point.error), f"{point.label}: {error}")


def _line(number: int, kind: str, points: Sequence[Point], scale: _Scale, group: int) -> Line:
    drawn = _thinned(points, group)
    pieces: list[list[tuple[float, float]]] = [[]]
    for point in drawn:
        place = scale.x(point.place), scale.y(point.error)
        if point.error:
            pieces[-1].append(place)
        else:
            pieces += [[place], []]  # no line leads to what has no place on a logarithmic scale
    marks = tuple(_mark(point, scale) for point in drawn) if len(drawn) <= MAX_MARKS else ()
    return Line(number, kind, "".join(_path(piece) for piece in pieces if piece), marks)


def _thinned(points: Sequence[Point], group: int) -> Sequence[Point]:
    """The largest of each group of places."""
    if group == 1:
        return points
    return [max(found, key=_size) for _, found in groupby(points, key=lambda point: (point.place - 1) // group)]


def _size(point: Point) -> float:
    return math.inf if point.error is None else point.error


def _path(places: Sequence[tuple[float, float]]) -> str:
    """A single place is a line of no length, which shows as a dot."""
    drawn = places if len(places) > 1 else [*places, *places]
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in drawn)


def _limits(series: Sequence[Series], scale: _Scale) -> list[Limit]:
    """One line per different tolerance: level where it is the same for all layers, else with its steps."""
    found: dict[str, list[str]] = {}
    ends: dict[str, tuple[float, str]] = {}
    for item in series:
        for kind, points in (("own", item.own), ("accumulated", item.accumulated)):
            allowed = [(point.place, point.tolerance) for point in points if point.tolerance]
            if not allowed:
                continue
            values = {f"{tolerance:.3g}" for _, tolerance in allowed}
            if len(values) == 1:
                ys = [(_LEFT, scale.y(allowed[0][1])), (_WIDTH - _RIGHT, scale.y(allowed[0][1]))]
            else:
                ys = [(scale.x(place), scale.y(value)) for place, value in allowed]
            path = _path(ys)
            found.setdefault(path, []).append(f"{item.name} {kind}")
            ends[path] = ys[-1][1], f"tolerance {values.pop()}" if len(values) == 1 else "tolerance"
    made = []
    for path, users in found.items():
        y, label = ends[path]
        made.append(Limit(path, label if len(found) == 1 else f"{label}, {_users(users)}", y))
    return made


def _users(users: Sequence[str]) -> str:
    """What a tolerance holds for: `own errors` if it is for those of every backend."""
    kinds = {user.rpartition(" ")[2] for user in users}
    return f"{kinds.pop()} errors" if len(users) > 1 and len(kinds) == 1 else ", ".join(users)


def _places(scale: _Scale) -> tuple[Tick, ...]:
    step = _round_step(scale.count / 10)
    places = sorted({1, *range(step, scale.count + 1, step)}) if scale.count > 1 else [1]
    return tuple(Tick(scale.x(place), str(place)) for place in places if place == 1 or place >= step)


def _round_step(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, … that is not below `least`."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= least:
                return factor * power
        power *= 10


def _decades(scale: _Scale) -> tuple[Tick, ...]:
    step = max(1, math.ceil((scale.high - scale.low) / 8))
    ticks = [Tick(scale.y(10.0**power), f"1e{power}") for power in range(scale.low, scale.high + 1, step)]
    if scale.zeros:
        ticks.append(Tick(scale.y(0.0), "equal"))
    if scale.nones:
        ticks.append(Tick(scale.y(None), "no number"))
    return tuple(ticks)


def _describe(series: Sequence[Series]) -> str:
    parts = []
    for item in series:
        for kind, points in (("own", item.own), ("accumulated", item.accumulated)):
            if not points:
                continue
            errors = [point.error for point in points if point.error is not None]
            failed = sum(not point.passed for point in points)
            largest = scientific(max(errors)) if errors else "not comparable"
            parts.append(
                f"{item.name}, {kind} error: largest {largest}, {failed} of {len(points)} outside the tolerance"
            )
    return "Error along the depth of the network. " + "; ".join(parts) + "."
