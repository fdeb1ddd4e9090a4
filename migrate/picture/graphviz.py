"""The layout of graphviz's `dot`, where it is installed. It gets numbers only: no text of a model reaches it."""

from __future__ import annotations

import shutil
import subprocess

from .flow import Flow
from .layout import Layout, Point, box_size

_POINTS = 72.0
_TIMEOUT = 20.0


def graphviz_layout(flow: Flow) -> Layout | None:
    """Where `dot` puts boxes and edges; None if it is not installed, or takes too long."""
    program = shutil.which("dot")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "-Tplain"], input=_graph(flow), capture_output=True, text=True, timeout=_TIMEOUT, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return _read(flow, done.stdout)


def _graph(flow: Flow) -> str:
    lines = ["digraph {", 'node [shape=box fixedsize=true label=""]', "ranksep=0.42 nodesep=0.35"]
    for number, box in enumerate(flow.boxes):
        width, height = box_size(box)
        lines.append(f"n{number} [width={width / _POINTS:.4f} height={height / _POINTS:.4f}]")
    lines += [f"n{a} -> n{b} [arrowhead=none]" for a, b in flow.edges]
    return "\n".join([*lines, "}"])


def _read(flow: Flow, plain: str) -> Layout:
    centers: list[Point] = [(0.0, 0.0)] * len(flow.boxes)
    curves: dict[tuple[int, int], list[Point]] = {}
    width = height = 0.0
    for line in plain.splitlines():
        words = line.split()
        if words[0] == "graph":
            width, height = float(words[2]) * _POINTS, float(words[3]) * _POINTS
        elif words[0] == "node":
            centers[int(words[1][1:])] = _point(words[2], words[3], height)
        elif words[0] == "edge":
            numbers = words[4 : 4 + 2 * int(words[3])]
            ends = int(words[1][1:]), int(words[2][1:])
            curves[ends] = [_point(x, y, height) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
    return Layout(centers, [curves[edge] for edge in flow.edges], width, height)


def _point(x: str, y: str, height: float) -> Point:
    return float(x) * _POINTS, height - float(y) * _POINTS
