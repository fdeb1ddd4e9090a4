"""Parity: proof that a converted model computes what Torch7 computed, or where and why it does not."""

from __future__ import annotations

from .compare import Difference, Tolerance
from .layers import LayerResult
from .references import Reference
from .report import BackendResult, ParityReport
from .verifying import verify

__all__ = [
    "BackendResult",
    "Difference",
    "LayerResult",
    "ParityReport",
    "Reference",
    "Tolerance",
    "verify",
]
