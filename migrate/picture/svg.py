"""Draws a flow as SVG: no script, no network, light and dark, every text escaped."""

from __future__ import annotations

from html import escape

from ..base.messages import visible
from .flow import Box, Flow
from .layout import Layout, Point, box_size, shown_lines

_MARGIN = 24.0
_HEAD = 46.0

_STYLE = """
svg { background: #fff; font-family: ui-sans-serif, system-ui, sans-serif; font-size: 12px; }
text { fill: #1b1f24; } .soft { fill: #5b6470; font-size: 11px; } h1, .title { font-size: 15px; font-weight: 600; }
.box { fill: #f1f3f5; stroke: #98a2ad; } .edge { fill: none; stroke: #7b8794; stroke-width: 1.3; }
.tip { fill: #7b8794; }
.weights { fill: #e3eefc; stroke: #5a8fd6; } .pooling { fill: #fdeeda; stroke: #d99a3f; }
.merge { fill: #e2f4e6; stroke: #57a86b; } .recurrent { fill: #efe6fb; stroke: #9470cf; }
.input, .output { fill: #e9ebee; stroke: #6b7580; } .unknown { fill: #fde4e1; stroke: #c8453a; stroke-dasharray: 5 3; }
@media (prefers-color-scheme: dark) {
 svg { background: #15191e; } text { fill: #e6e8eb; } .soft { fill: #9aa3ad; }
 .box { fill: #262c33; stroke: #5f6b77; } .edge { stroke: #7d8894; } .tip { fill: #7d8894; }
 .weights { fill: #1c3350; stroke: #5a8fd6; } .pooling { fill: #46341a; stroke: #d99a3f; }
 .merge { fill: #1d3b26; stroke: #57a86b; } .recurrent { fill: #352650; stroke: #9470cf; }
 .input, .output { fill: #30363d; stroke: #8a949e; } .unknown { fill: #4a211e; stroke: #e0675c; }
}
"""


def render(flow: Flow, layout: Layout, title: str, typename: str, note: str) -> str:
    """The text of the SVG file.

    Args:
        flow: boxes and edges.
        layout: where they are.
        title: written above.
        typename: class of the model.
        note: a remark below the title, or "".
    """
    below = f"{typename}; {note}" if note else typename
    width = max(layout.width, 7.5 * len(title), 6.5 * len(note), 200.0) + 2 * _MARGIN
    height = layout.height + 2 * _MARGIN + _HEAD
    left = (width - layout.width) / 2
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{_text(title)}">',
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="{_MARGIN:.0f}" y="{_MARGIN:.0f}">{_text(title)}</text>',
        f'<text class="soft" x="{_MARGIN:.0f}" y="{_MARGIN + 17:.0f}">{_text(below)}</text>',
        f'<g transform="translate({left:.1f} {_MARGIN + _HEAD:.1f})">',
        *(_edge(curve) for curve in layout.curves),
        *(_box(box, center) for box, center in zip(flow.boxes, layout.centers, strict=True)),
        "</g></svg>\n",
    ]
    return "\n".join(parts)


def _text(text: str) -> str:
    return escape(visible(text), quote=True)


def _edge(points: list[Point]) -> str:
    (x, y), *rest = points
    end_x, end_y = points[-1]
    curve = " ".join(f"{px:.1f},{py:.1f}" for px, py in rest)
    tip = f"{end_x:.1f},{end_y:.1f} {end_x - 3.5:.1f},{end_y - 7:.1f} {end_x + 3.5:.1f},{end_y - 7:.1f}"
    return f'<path class="edge" d="M{x:.1f},{y:.1f} C{curve}"/><polygon class="tip" points="{tip}"/>'


def _box(box: Box, center: Point) -> str:
    width, height = box_size(box)
    x, y = center[0] - width / 2, center[1] - height / 2
    kind = "unknown" if box.unknown else box.kind
    lines = "".join(
        f'<text{" class=" + chr(34) + "soft" + chr(34) if i else ""} x="{center[0]:.1f}" y="{y + 18 + 15 * i:.1f}" '
        f'text-anchor="middle">{_text(line)}</text>'
        for i, line in enumerate(shown_lines(box))
    )
    size = ""
    if box.size:
        size = f'<text class="soft" x="{center[0] + 6:.1f}" y="{y + height + 13:.1f}">{_text(_cut(box.size))}</text>'
    told = f"{', '.join(path for path in box.paths if path)}: {'; '.join(box.lines)}"
    rectangle = f'<rect class="box {kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="5"/>'
    return f"<g><title>{_text(told)}</title>{rectangle}{lines}{size}</g>"


def _cut(text: str) -> str:
    return text if len(text) <= 32 else text[:31] + "…"
