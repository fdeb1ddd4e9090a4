"""Tolerances by type, each with its reason."""

from __future__ import annotations

import torch

from .compare import Tolerance

#: Factor of the largest output, and why, by type of the coarser of the two runs.
_BY_TYPE: dict[torch.dtype, tuple[float, str]] = {
    torch.float64: (
        1e-9,
        "float64 rounds to 1.1e-16; sums of up to 1e4 terms in another order, through 100 layers, stay below 1e-9",
    ),
    torch.float32: (
        2e-5,
        "float32 rounds to 6e-8; some hundred roundings in another order stay below 2e-5 of the largest output",
    ),
    torch.float16: (1e-2, "float16 rounds to 4.9e-4"),
    torch.bfloat16: (5e-2, "bfloat16 rounds to 3.9e-3"),
}

_ONNX = (1e-4, "ONNX Runtime fuses and reorders float32 operations; 1e-4 of the largest output")


def tolerance_for(
    dtype: torch.dtype, *, onnx: bool = False, atol: float | None = None, rtol: float | None = None
) -> Tolerance:
    """The tolerance of a comparison.

    Args:
        dtype: type of the coarser of the two runs.
        onnx: was it ONNX Runtime that ran?
        atol: absolute tolerance given by the user; then it is not relative to the largest output.
        rtol: relative tolerance given by the user.
    """
    if atol is not None or rtol is not None:
        return Tolerance(atol or 0.0, rtol or 0.0, False, "given by the user")
    if onnx and dtype == torch.float32:
        factor, reason = _ONNX
    else:
        factor, reason = _BY_TYPE.get(dtype, (0.0, "whole numbers are equal or not"))
    return Tolerance(factor, 0.0, True, reason)


def coarser(*dtypes: torch.dtype) -> torch.dtype:
    """The type with the fewest digits."""
    order = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
    return min((dtype for dtype in dtypes if dtype in order), key=order.index, default=torch.float64)
