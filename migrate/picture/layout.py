"""A simple layered layout: boxes in rows by their distance from the input, few crossings, straight chains."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

from .flow import Box, Flow

#: In pixels: the gap between two boxes of a row, between an edge and a box, and between two rows.
_GAP, _LANE, _ROW = 26.0, 14.0, 30.0
_SWEEPS = 12

Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Where things are, in pixels; y grows downwards.

    Attributes:
        centers: of the boxes.
        curves: of the edges: a point, then three for each cubic curve.
        width, height: of everything.
    """

    centers: list[Point]
    curves: list[list[Point]]
    width: float
    height: float


def box_size(box: Box) -> Point:
    """Width and height of a box, in pixels."""
    longest = max(len(line) for line in shown_lines(box))
    return max(86.0, 6.9 * longest + 22.0), 13.0 + 15.0 * len(box.lines)


def shown_lines(box: Box) -> list[str]:
    """What is written in a box."""
    return [line if len(line) <= 44 else line[:43] + "…" for line in box.lines]


@dataclass
class _Place:
    """A box, or the place where a long edge crosses a row."""

    row: int
    width: float
    x: float = 0.0


class _Rows:
    """The boxes in rows, with a place in each row that an edge passes."""

    def __init__(self, flow: Flow) -> None:
        before: defaultdict[int, list[int]] = defaultdict(list)
        for a, b in flow.edges:
            before[b].append(a)
        rows: list[int] = []
        for number in range(len(flow.boxes)):  # edges go from earlier to later boxes
            rows.append(max((rows[a] + 1 for a in before[number] if a < number), default=0))
        self.places = [_Place(row, box_size(box)[0]) for row, box in zip(rows, flow.boxes, strict=True)]
        self.routes: list[list[int]] = []
        self.up: defaultdict[int, list[int]] = defaultdict(list)
        self.down: defaultdict[int, list[int]] = defaultdict(list)
        for a, b in flow.edges:
            route = [a]
            for row in range(rows[a] + 1, rows[b]):
                self.places.append(_Place(row, 2.0))
                route.append(len(self.places) - 1)
            route.append(b)
            self.routes.append(route)
            for above, below in pairwise(route):
                self.down[above].append(below)
                self.up[below].append(above)
        self.rows: list[list[int]] = [[] for _ in range(max(rows, default=0) + 1)]
        for number, place in enumerate(self.places):
            self.rows[place.row].append(number)

    def arrange(self) -> None:
        """Orders each row by where its neighbours are, then moves the places towards them."""
        for row in self.rows:
            self._spread(row, [float(i) for i in range(len(row))])
        for sweep in range(_SWEEPS):
            downwards = sweep % 2 == 0
            for row in self.rows if downwards else self.rows[::-1]:
                wanted = [self._wish(number, downwards=downwards, both=False) for number in row]
                order = sorted(range(len(row)), key=wanted.__getitem__)
                row[:] = [row[i] for i in order]
                self._spread(row, [wanted[i] for i in order])
        for sweep in range(2 * _SWEEPS):
            for row in self.rows if sweep % 2 else self.rows[::-1]:
                self._spread(row, [self._wish(number, downwards=bool(sweep % 2), both=True) for number in row])

    def _wish(self, number: int, *, downwards: bool, both: bool) -> float:
        near = self.up[number] if downwards else self.down[number]
        if both or not near:
            near = self.up[number] + self.down[number]
        if not near:
            return self.places[number].x
        return sum(self.places[other].x for other in near) / len(near)

    def _spread(self, row: list[int], wanted: list[float]) -> None:
        """Puts the places of a row as near to the wanted points as their widths allow (isotonic regression)."""
        offsets = [0.0]
        for left, right in pairwise(row):
            a, b = self.places[left].width, self.places[right].width
            offsets.append(offsets[-1] + (a + b) / 2 + (_GAP if min(a, b) > 2 else _LANE))
        blocks: list[tuple[float, int]] = []
        for target, offset in zip(wanted, offsets, strict=False):
            blocks.append((target - offset, 1))
            while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
                (x, n), (y, m) = blocks.pop(), blocks.pop()
                blocks.append(((x * n + y * m) / (n + m), n + m))
        starts = [x for x, count in blocks for _ in range(count)]
        for number, start, offset in zip(row, starts, offsets, strict=False):
            self.places[number].x = start + offset


def layered_layout(flow: Flow) -> Layout:
    """Lays out a flow from top to bottom."""
    rows = _Rows(flow)
    rows.arrange()
    heights = [max([box_size(flow.boxes[n])[1] for n in row if n < len(flow.boxes)], default=10.0) for row in rows.rows]
    tops = [0.0]
    for height in heights:
        tops.append(tops[-1] + height + _ROW)
    left = min((place.x - place.width / 2 for place in rows.places), default=0.0)
    right = max((place.x + place.width / 2 for place in rows.places), default=0.0)

    centers = [(p.x - left, tops[p.row] + heights[p.row] / 2) for p in rows.places]
    halves = [
        box_size(flow.boxes[n])[1] / 2 if n < len(flow.boxes) else heights[rows.places[n].row] / 2
        for n in range(len(centers))
    ]
    curves = [_curve(route, centers, halves, len(flow.boxes)) for route in rows.routes]
    return Layout(centers[: len(flow.boxes)], curves, right - left, tops[-1] - _ROW)


def _curve(route: list[int], centers: list[Point], halves: list[float], boxes: int) -> list[Point]:
    """From the lower edge of the first box to the upper edge of the last, straight through the rows between them."""
    x, y = centers[route[0]]
    points = [(x, y + halves[route[0]])]
    for number in route[1:]:
        x, y = points[-1]
        to_x, middle = centers[number]
        to_y = middle - halves[number]
        bend = (to_y - y) / 2
        points += [(x, y + bend), (to_x, to_y - bend), (to_x, to_y)]
        if number >= boxes:  # a place of a long edge is as high as its row
            bottom = middle + halves[number]
            points += [(to_x, middle), (to_x, middle), (to_x, bottom)]
    return points
