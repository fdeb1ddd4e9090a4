"""report.html: parity.json as one file for people, which needs no network, no JavaScript and no second file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...base.messages import visible
from ..judge.status import TORCH7, name_of
from .charts import depth_chart
from .histograms import HistogramChart, histogram_chart, histogram_range
from .layer_table import (
    STATES,
    Row,
    chart_series,
    footnotes,
    layer_rows,
    measure,
    share_of,
    watched_backends,
    worst_of,
)
from .quantities import cosine, nine_digits, of_scale, percent, scientific, sizes
from .tree import tree_nodes

_TEMPLATES = Path(__file__).parent / "templates"

#: Up to this many outputs are shown unfolded.
_OPEN_OUTPUTS = 4


@dataclass(frozen=True)
class Output:
    """One output of the model as all backends computed it.

    Attributes:
        place: where in a nested output, such as `[2]`; "" is the output itself.
        columns: (name of the backend, its difference, its histogram or None).
        passed: do all agree?
        open: is it shown unfolded?
    """

    place: str
    columns: tuple[tuple[str, Mapping[str, Any], HistogramChart | None], ...]
    passed: bool
    open: bool


def render(report: Mapping[str, Any]) -> str:
    """The report as HTML.

    Args:
        report: what parity.json holds, NaN and infinities as text.

    Returns:
        The whole file; the same report gives the same text.
    """
    style, script = (_TEMPLATES.joinpath(name).read_text("utf-8") for name in ("report.css", "report.js"))
    rows = layer_rows(report)
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            report=report,
            verdict=report["verdict"],
            torch7=TORCH7,
            against=name_of(report["reference"]["kind"]),
            backends=[_backend(backend, rows) for backend in report["backends"]],
            gradients=any(backend.get("gradients") for backend in report["backends"]),
            outputs=list(_outputs(report)),
            watched=[backend["backend"] for backend in watched_backends(report)],
            rows=rows,
            footnotes=footnotes(rows),
            runs=sum(row.runs for row in rows),
            states=STATES,
            chart=depth_chart(chart_series(report, rows), len(rows), _first(report, rows)),
            nodes=tree_nodes(report["model"]),
            state_of=_states(rows),
            environment=list(_flat(report["environment"])),
            style=Markup(style),
            script=Markup(script),
            style_hash=_csp_hash(style),
            script_hash=_csp_hash(script),
        )
    )


@cache  # which keeps what the templates were compiled to
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = (scientific, nine_digits, cosine, of_scale, percent, sizes, measure)
    environment.filters.update(
        {f.__name__: f for f in filters}, exact=_exact, coordinate=_coordinate, breakable=_breakable
    )
    return environment


def _shown(value: Any) -> Any:
    """What a template shows of a value: text without anything invisible, nothing for None."""
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _exact(value: Any) -> str:
    """A number with all its digits, as parity.json has it."""
    return "" if value is None else str(value)


def _breakable(name: str) -> Markup:
    """A name that may go on in a next line behind its dots."""
    return Markup(".<wbr>").join(visible(part) for part in name.split("."))


def _coordinate(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _csp_hash(text: str) -> str:
    """How a content security policy names the only style or script that may be used."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _backend(backend: Mapping[str, Any], rows: list[Row]) -> dict[str, Any]:
    """A backend with what is said of it in the first table."""
    largest, used = worst_of(backend["outputs"])
    layers = backend["layers"]
    judged = [layer for layer in layers if layer["own"] is not None]
    return {
        **backend,
        "largest": largest,
        "used": used,
        "scale": share_of(backend["outputs"]),
        "judged": len(judged),
        "within": sum(layer["own"]["passed"] for layer in judged),
    }


def _first(report: Mapping[str, Any], rows: list[Row]) -> tuple[int, str] | None:
    """Place and name of the first layer that diverges on a backend that failed."""
    for backend in report["backends"]:
        found = backend["first_diverging"]
        if backend["status"] == "failed" and backend["decides"] and found is not None:
            for row in rows:
                if row.path == found["path"] and (row.runs > 1 or row.call in (0, found["call"])):
                    return row.place, row.label
    return None


def _outputs(report: Mapping[str, Any]) -> Iterator[Output]:
    by_place: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for backend in report["backends"]:
        for difference in backend["outputs"]:
            by_place.setdefault(difference["place"], []).append((backend["backend"], difference))
    for place, found in by_place.items():
        low, high = histogram_range([difference for _, difference in found])
        passed = all(difference["passed"] for _, difference in found)
        columns = tuple((name, difference, histogram_chart(difference, low, high)) for name, difference in found)
        yield Output(place, columns, passed, not passed or len(by_place) <= _OPEN_OUTPUTS)


def _states(rows: list[Row]) -> dict[str, str]:
    """Torch7 path -> the worst state of all its runs."""
    order = list(STATES)
    found: dict[str, str] = {}
    for row in rows:
        found[row.path] = min(row.state, found.get(row.path, row.state), key=order.index)
    return found


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as (name, value) pairs."""
    for name, item in value.items():
        label = f"{prefix}{name}"
        if isinstance(item, Mapping):
            yield from _flat(item, "" if name == "versions" else f"{label} ")
        elif isinstance(item, (list, tuple)):
            yield label, ", ".join(map(str, item)) or "none"
        else:
            yield label, "none" if item is None else str(item)
