"""Resizing by factors that are known, where the exporter computes sizes while the graph runs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx_ir as ir

from .edit import initializer


def resize_by_factors(model: ir.Model) -> None:
    """Gives each Resize factors in place of sizes, where its sizes are fixed or whole multiples of those before."""
    for node in model.graph:
        if node.op_type != "Resize" or len(node.inputs) < 4 or node.inputs[3] is None or node.inputs[0] is None:
            continue
        before, after = node.inputs[0].shape, node.outputs[0].shape
        if before is None or after is None or len(before) != len(after) or "axes" in node.attributes:
            continue
        # only so do all places depend on the sizes alone, and not on a factor that was rounded
        corners = node.attributes.get_string("coordinate_transformation_mode", "half_pixel") == "align_corners"
        factors = [_factor(old, new, rounded=corners) for old, new in zip(before, after, strict=True)]
        if None in factors:
            continue
        scales = initializer(model, f"{node.name}.scales", np.array(factors, np.float32))
        node.resize_inputs(3)
        node.replace_input_with(2, scales)


def _factor(old: Any, new: Any, *, rounded: bool) -> float | None:
    """By what an axis grows; None where that can't be said."""
    if isinstance(old, int) and isinstance(new, int) and old > 0:
        if new % old == 0:
            return new // old
        factor = np.float32(new / old)
        if float(factor) * old < new:  # programs round the product down
            factor = np.nextafter(factor, np.float32(np.inf))
        exact = int(float(factor) * old) == int(factor * np.float32(old)) == new
        return float(factor) if rounded and exact else None
    if isinstance(old, int) or isinstance(new, int) or old.value is None or new.value is None:
        return None
    if old.value == new.value:
        return 1
    whole = re.fullmatch(r"(\d+)\*(\w+)", new.value)
    return int(whole[1]) if whole and whole[2] == old.value else None
