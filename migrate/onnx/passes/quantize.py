"""Dynamic quantization: weights as int8, activations quantized while the model runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch

from ...base.errors import ExportError
from ...base.messages import cause
from ...base.output_file import scratch_folder
from ..quiet_exporter import quiet
from ..result import Quantized
from ..runtime import open_session, run_session

#: Operators for whose quantized form ONNX has standard operators.
_OPERATORS = ("Conv", "Gemm", "MatMul")


def require_quantizable(model: onnx.ModelProto) -> None:
    """Stops before anything is written.

    Raises:
        ExportError: the graph has nothing to quantize.
    """
    if not any(node.op_type in _OPERATORS for node in model.graph.node):
        raise ExportError(f"--int8 finds nothing to quantize: the graph has no {', '.join(_OPERATORS)}")


def quantized_path(path: Path) -> Path:
    """Where the quantized form of an exported file is."""
    return path.with_suffix(".int8.onnx")


def quantize(
    path: Path,
    runs: Sequence[tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]],
    input_names: Sequence[str],
    *,
    external: bool,
) -> Quantized:
    """Quantizes an exported file into one beside it, whose name ends in `.int8.onnx`.

    Args:
        path: the exported file.
        runs: inputs, and what PyTorch answers to them.
        input_names: of the graph.
        external: has the file its weights in another?

    Raises:
        ExportError: ONNX Runtime can't quantize the file, or run the result.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target = quantized_path(path)
    before = onnx.load(path, load_external_data=False)
    with scratch_folder(path) as folder:
        made = folder / target.name
        try:
            with quiet():
                quantize_dynamic(
                    path,
                    made,
                    op_types_to_quantize=list(_OPERATORS),
                    weight_type=QuantType.QUInt8,
                    use_external_data_format=external,
                    extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
                )
        except Exception as error:
            raise ExportError(f"ONNX Runtime can't quantize the graph: {cause(error)}") from error
        model = onnx.load(made)
        model.producer_name, model.producer_version = before.producer_name, before.producer_version
        del model.metadata_props[:]
        model.metadata_props.extend(before.metadata_props)
        model.metadata_props.append(onnx.StringStringEntryProto(key="torchmigrate.quantized", value="dynamic int8"))
        for node in model.graph.node:
            node.doc_string = ""
        made.write_bytes(model.SerializeToString(deterministic=True))
        numbers = _deviation(made, runs, input_names)
        made.replace(target)
    kinds = sorted({node.op_type for node in before.graph.node} & {"LSTM", "GRU", "RNN", "ConvTranspose"})
    notes = (f"{', '.join(kinds)} stay in floating point",) if kinds else ()
    return Quantized(target, target.stat().st_size, *numbers, notes=notes)


def _deviation(
    path: Path, runs: Sequence[tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]], input_names: Sequence[str]
) -> tuple[float, float, float | None]:
    """Largest and mean difference relative to the largest output, and the signal-to-noise ratio in decibels."""
    session = open_session(path)
    largest, total, count, signal, noise = 0.0, 0.0, 0, 0.0, 0.0
    for inputs, expected in runs:
        got = run_session(session, dict(zip(input_names, inputs, strict=True)))
        for a, b in zip(got, expected, strict=True):
            if not b.is_floating_point() or not b.numel():
                continue
            scale = max(float(b.abs().max()), 1e-30)
            distance = (a.reshape(b.shape).double() - b.double()).abs()
            largest = max(largest, float(distance.max()) / scale)
            total, count = total + float(distance.sum()) / scale, count + b.numel()
            signal, noise = signal + float(b.double().square().sum()), noise + float(distance.square().sum())
    snr = 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None
    return largest, total / max(count, 1), snr
