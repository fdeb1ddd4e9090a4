"""A picture of a network: the flow of its tensors as SVG, drawn without torch."""

from __future__ import annotations

import os
from pathlib import Path

from ..base.errors import UsageError
from ..base.output_file import check_file, whole_file
from ..inspection.inspect import Inspection
from ..model.locate import locate
from ..model.supported_classes import table
from ..t7 import LuaObject, load
from ..t7.limits import DEFAULT_LIMITS, Limits
from .flow import flow_of
from .graphviz import graphviz_layout
from .layout import layered_layout
from .svg import render

#: More boxes than these can't be read: inner modules are then drawn as one box each.
_READABLE = 260


def draw_file(
    path: str | os.PathLike[str],
    target: Path,
    key: str | None,
    found: Inspection,
    depth: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    *,
    force: bool = False,
) -> None:
    """Draws the model of a file.

    Args:
        path: of the file.
        target: the SVG file to write.
        key: where the model is; None: it is found.
        found: what `inspect_file` said, whose outputs are written beside the edges.
        depth: draw modules below it as one box; None: as deep as can be read.
        limits: how much the file may ask for.
        force: replace an existing file.

    Raises:
        ModelNotFound: there is no model, or several.
        UsageError: it is too large to be drawn, or the picture exists, is the file itself, or can't be written.
    """
    check_file(target, force=force, inputs=[path])
    candidate = locate(load(path, limits=limits), key, table().keys())
    model = next((model for model in found.models if model.key == candidate.key), None)
    outputs = {node.path: node.output for node in model.tree.walk() if node.output} if model else {}
    title = f"{Path(path).name}{f' at {candidate.key}' if candidate.key else ''}"
    text = draw(candidate.object, title, outputs, depth)
    with whole_file(target, force=force, inputs=[path]) as part:
        part.write_text(text, encoding="utf-8")


def draw(
    model: LuaObject, title: str, outputs: dict[str, str] | None = None, depth: int | None = None, *, own: bool = False
) -> str:
    """The picture of a model as the text of an SVG file, with all text of the model escaped.

    Args:
        model: the Lua object.
        title: written above it.
        outputs: Torch7 path -> sizes of the output.
        depth: draw modules below it as one box; None: as deep as can be read.
        own: lay it out ourselves even where graphviz is installed.
    """
    known = table().keys()
    flow = flow_of(model, known, outputs or {}, depth)
    limit = depth
    while depth is None and len(flow.boxes) > _READABLE and (limit is None or limit > 1):
        limit = 6 if limit is None else limit - 1
        flow = flow_of(model, known, outputs or {}, limit)
    if len(flow.boxes) > 20 * _READABLE:
        raise UsageError(f"The network has {len(flow.boxes)} parts, too many to draw: pass --depth 2, say.")
    layout = (None if own else graphviz_layout(flow)) or layered_layout(flow)
    note = f"modules below depth {limit} are one box each" if limit is not None else ""
    return render(flow, layout, title, model.typename, note)
