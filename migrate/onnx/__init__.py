"""ONNX: a converted model as a plain, checked file that runs where neither Torch7 nor PyTorch is."""

from __future__ import annotations

from .exporting import export_onnx as export_onnx
from .result import OnnxExport as OnnxExport
from .result import Quantized as Quantized

__all__ = ["OnnxExport", "Quantized", "export_onnx"]
