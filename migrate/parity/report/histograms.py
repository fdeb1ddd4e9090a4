"""The geometry of the report's histograms: how many numbers of an output have an error of which size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .charts import Tick
from .quantities import number, scientific


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram.

    Attributes:
        x, y, width, height: of the bar.
        title: what a pointer sees there.
    """

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class HistogramChart:
    """How many numbers of an output have an error of which size.

    Attributes:
        width, height, left, right, top, bottom: sizes of the drawing and edges of the plot.
        bars: one per bin that is not empty.
        x_ticks, y_ticks: marks on the axes.
        limit: x of the absolute tolerance, or None.
        description: the chart in words.
    """

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    bars: tuple[Bar, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    limit: float | None
    description: str


def histogram_range(differences: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """The powers of ten between which the errors and tolerances of all these lie."""
    edges = []
    for difference in differences:
        histogram = difference["histogram"]
        if histogram and histogram["counts"]:
            per_decade = histogram["per_decade"]
            edges += [histogram["first"] / per_decade, (histogram["first"] + len(histogram["counts"])) / per_decade]
        allowed = number(difference["atol"])
        if allowed:
            edges.append(math.log10(allowed))
    low, high = math.floor(min(edges, default=-8)), math.ceil(max(edges, default=-4))
    return low, max(high, low + 1)


def histogram_chart(difference: Mapping[str, Any], low: int, high: int) -> HistogramChart | None:
    """The histogram of one output between two powers of ten; None where there is none."""
    histogram = difference["histogram"]
    if not histogram:
        return None
    width, height, left, right, top, bottom = 460.0, 210.0, 52.0, 448.0, 24.0, 160.0
    start = left + (52 if histogram["zeros"] else 6)

    def x(power: float) -> float:
        return start + (power - low) / (high - low) * (right - start)

    counts, per_decade, total = (
        histogram["counts"],
        histogram["per_decade"],
        histogram["zeros"] + sum(histogram["counts"]),
    )
    largest = max([histogram["zeros"], *counts])
    bars = []
    if histogram["zeros"]:
        tall = histogram["zeros"] / largest * (bottom - top)
        title = f"equal: {histogram['zeros']:,} of {total:,}"
        bars.append(Bar(left + 6, bottom - tall, 16, tall, title))
    for i, count in enumerate(counts):
        if not count:
            continue
        power = (histogram["first"] + i) / per_decade
        tall = count / largest * (bottom - top)
        ends = f"{10**power:.1e} to {10 ** (power + 1 / per_decade):.1e}"
        bars.append(
            Bar(
                x(power) + 0.5,
                bottom - tall,
                x(power + 1 / per_decade) - x(power) - 1,
                tall,
                f"{ends}: {count:,} of {total:,}",
            )
        )
    step = max(1, math.ceil((high - low) / 6))
    x_ticks = [Tick(x(power), f"1e{power}") for power in range(low, high + 1, step)]
    if histogram["zeros"]:
        x_ticks.insert(0, Tick(left + 14, "equal"))
    share = largest / total
    y_ticks = (Tick(bottom, "0 %"), Tick(top, f"{100 * share:.3g} %"))
    allowed = number(difference["atol"])
    description = (
        f"Errors by size: {histogram['zeros']:,} of {total:,} numbers are equal, the largest error is "
        f"{scientific(difference['max_abs'])}, the absolute tolerance {scientific(difference['atol'])}."
    )
    return HistogramChart(
        width,
        height,
        left,
        right,
        top,
        bottom,
        tuple(bars),
        tuple(x_ticks),
        y_ticks,
        x(math.log10(allowed)) if allowed else None,
        description,
    )
