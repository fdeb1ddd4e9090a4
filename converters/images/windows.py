"""The sizes that an image may have had before windows went over it: what convolutions and poolings have in common."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from ...t7 import LuaObject


def sizes_before_windows(obj: LuaObject, output: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The sizes (N, C, H, W) from which windows of kH x kW in steps of dH, dW give `output`, the likeliest first."""
    if len(output) != 4:
        return
    planes = obj.get("nInputPlane")
    ranges = []
    for extent, axis in zip(output[2:], "HW", strict=True):
        window, step = obj.get(f"k{axis}"), obj.get(f"d{axis}", 1.0)
        padding = obj.get(f"pad{axis}", obj.get("padding", 0.0))
        if not all(isinstance(number, float) for number in (window, step, padding)) or step < 1:
            return
        least = (extent - 1) * int(step) + int(window) - 2 * int(padding)
        fitting = range(max(1, least), least + int(step))
        # windows without padding are mostly made to fit; with padding, images are mostly of round sizes
        ranges.append(sorted(fitting, key=_roundness if padding > 0 else None))
    for height, width in product(*ranges):
        yield (output[0], int(planes) if isinstance(planes, float) else output[1], height, width)


def _roundness(size: int) -> tuple[int, int]:
    return -(size & -size), size
