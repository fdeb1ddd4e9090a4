"""The layers of parity.json as rows of one table, with the numbers of all backends beside each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .charts import Point, Series
from .quantities import number, of_scale, share, sizes
from .verdict import is_summary

#: What a row may be, the worst first: its words in the report.
STATES = {
    "own": "fails by itself",
    "accumulated": "over by accumulation",
    "unjudged": "not judged",
    "ok": "within",
}


#: A remark of so many letters stands in each row, however often it is made.
_SHORT_REMARK = 12


@dataclass(frozen=True)
class Measured:
    """One error of a layer.

    Attributes:
        difference: as parity.json has it.
        comparable: are there numbers at all?
        used: the share of the tolerance that it needs; None where that has no answer.
    """

    difference: Mapping[str, Any]
    comparable: bool
    used: float | None

    @property
    def passed(self) -> bool:
        """Is it within the tolerance?"""
        return bool(self.difference["passed"])


@dataclass(frozen=True)
class Cell:
    """What one backend has to say of a layer.

    Attributes:
        own: its own error, or None.
        accumulated: its error in the running network, or None.
    """

    own: Measured | None
    accumulated: Measured | None


@dataclass(frozen=True)
class Row:
    """One run of one layer, or the worst of all its runs.

    Attributes:
        place: 1-based, in the order of execution.
        path: Torch7 path.
        typename: Torch7 class.
        module: PyTorch class.
        call: which run of the layer, 1-based; 0 if there is only one.
        shape: sizes of its output.
        cells: one per backend that has layers; None where it lacks this one.
        state: a key of `STATES`.
        remark: what else must be known.
        runs: for how many runs it stands.
    """

    place: int
    path: str
    typename: str
    module: str
    call: int
    shape: str
    cells: tuple[Cell | None, ...]
    state: str
    remark: str
    runs: int = 1

    @property
    def label(self) -> str:
        """The layer in a few words."""
        return f"{self.typename} at {self.path or 'the top'}" + (f", run {self.call}" if self.call else "")

    @property
    def rank(self) -> int:
        """0 for the worst state."""
        return list(STATES).index(self.state)


def watched_backends(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The backends that were compared layer by layer."""
    return [backend for backend in report["backends"] if backend["layers"]]


def layer_rows(report: Mapping[str, Any]) -> list[Row]:
    """One row per run of a layer, or per layer, in the order of execution of the first backend."""
    backends = watched_backends(report)
    found: dict[tuple[str, int], list[Mapping[str, Any] | None]] = {}
    for i, backend in enumerate(backends):
        for layer in backend["layers"]:
            key = layer["path"], 0 if "runs" in layer else layer["call"]
            found.setdefault(key, [None] * len(backends))[i] = layer
    runs = Counter(path for path, _ in found)
    return [_row(place, layers, runs) for place, layers in enumerate(found.values(), 1)]


def _goodness(measured: Measured) -> tuple[bool, float]:
    """Less for what is worse."""
    return measured.passed, -(float("inf") if measured.used is None else measured.used)


def _row(place: int, layers: Sequence[Mapping[str, Any] | None], runs: Counter[str]) -> Row:
    layer = next(layer for layer in layers if layer is not None)
    cells = tuple(None if each is None else Cell(measure(each["own"]), measure(each["accumulated"])) for each in layers)
    count = layer.get("runs", 1)
    state = _state([cell for cell in cells if cell is not None])
    if state == "ok" and any(each is not None and each.get("unjudged") for each in layers):
        state = "unjudged"
    return Row(
        place,
        layer["path"],
        layer["class"],
        layer["module"],
        layer["call"] if max(runs[layer["path"]], count) > 1 else 0,
        ", ".join(map(sizes, layer["shape"])),
        cells,
        state,
        _remark(layer, [cell for cell in cells if cell is not None]),
        count,
    )


def measure(difference: Mapping[str, Any] | None) -> Measured | None:
    """A difference of parity.json with its share of the tolerance."""
    if difference is None:
        return None
    comparable = number(difference["max_abs"]) is not None and (difference["passed"] or difference["max_abs"] > 0)
    return Measured(
        difference, comparable, share(difference["needed_atol"], difference["atol"]) if comparable else None
    )


def worst_of(differences: Sequence[Mapping[str, Any]]) -> tuple[float | None, float | None]:
    """The largest error of several outputs and the largest share of a tolerance; None as soon as one has no number."""
    found = [measured for measured in map(measure, differences) if measured is not None]
    used = [measured.used for measured in found if measured.used is not None]
    comparable = bool(found) and all(measured.comparable for measured in found)
    return (
        max(float(measured.difference["max_abs"]) for measured in found) if comparable else None,
        max(used) if comparable and len(used) == len(found) else None,
    )


def share_of(differences: Sequence[Mapping[str, Any]]) -> float | None:
    """The largest error of several outputs as a share of the largest number of that output."""
    if worst_of(differences)[0] is None:
        return None
    return of_scale(max(differences, key=_error))


def _error(difference: Mapping[str, Any]) -> float:
    return float(difference["max_abs"])


def _state(cells: Sequence[Cell]) -> str:
    if any(cell.own is not None and not cell.own.passed for cell in cells):
        return "own"
    if any(cell.accumulated is not None and not cell.accumulated.passed for cell in cells):
        return "accumulated"
    return "unjudged" if any(cell.own is None for cell in cells) else "ok"


def _remark(layer: Mapping[str, Any], cells: Sequence[Cell]) -> str:
    own = [cell.own for cell in cells if cell.own is not None]
    accumulated = [cell.accumulated for cell in cells if cell.accumulated is not None]
    wrong = [each for each in own if not each.passed] or [each for each in accumulated if not each.comparable]
    if wrong:
        found = [str(wrong[0].difference["problem"]), str(layer["remark"]) if "runs" in layer else ""]
        return "; ".join(filter(None, found))
    if layer.get("remark"):
        return str(layer["remark"])
    compared = [*own, *accumulated]
    return "by summary" if compared and is_summary(compared[0].difference["shape"], layer["shape"]) else ""


def footnotes(rows: Sequence[Row]) -> dict[str, int]:
    """The remarks that stand below the table, each with its number: those of several layers, in their order."""
    counts = Counter(row.remark for row in rows)
    repeated = [remark for remark, count in counts.items() if count > 1 and len(remark) > _SHORT_REMARK]
    return {remark: place for place, remark in enumerate(repeated, 1)}


def chart_series(report: Mapping[str, Any], rows: Sequence[Row]) -> list[Series]:
    """What the chart of errors along the depth draws."""
    return [
        Series(
            backend["backend"],
            [_point(row, cell.own) for row in rows if (cell := row.cells[i]) is not None and cell.own is not None],
            [
                _point(row, cell.accumulated)
                for row in rows
                if (cell := row.cells[i]) is not None and cell.accumulated is not None
            ],
        )
        for i, backend in enumerate(watched_backends(report))
    ]


def _point(row: Row, measured: Measured | None) -> Point:
    assert measured is not None
    difference = measured.difference
    largest = number(difference["largest"]) or 0.0
    scale = largest or 1.0
    error = float(difference["max_abs"]) / scale if measured.comparable else None
    allowed = float(difference["atol"]) / scale + float(difference["rtol"]) if measured.comparable and largest else None
    return Point(row.place, error, allowed, measured.passed, row.label)


def worst_rows(rows: Sequence[Row], count: int) -> list[tuple[Row, int, Measured]]:
    """The layers whose own error uses most of its tolerance, each with its number of the backend; the worst first."""
    found = [
        (row, i, cell.own)
        for row in rows
        for i, cell in enumerate(row.cells)
        if cell is not None and cell.own is not None and (cell.own.used != 0 or not cell.own.passed)
    ]
    return sorted(found, key=_badness)[:count]


def _badness(entry: tuple[Row, int, Measured]) -> tuple[bool, float, int]:
    row, _, measured = entry
    return *_goodness(measured), row.place
