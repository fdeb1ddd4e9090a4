"""verify(): runs every backend, compares it with the reference, and says where they part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..conversion import Conversion
from ..errors import ExportError, UsageError
from ..nested import shapes
from ..shapes import Guess, input_of
from .backends import Backend, OnnxRuntime, PyTorch
from .compare import compare
from .references import Reference, compute_self, read_dump
from .report import FAILED, NOT_RUN, PASSED, BackendResult, ModelLayer, ParityReport
from .tolerances import coarser, tolerance_for


def verify(
    conv: Conversion,
    *,
    reference: str | Path | None = None,
    devices: Sequence[str] = ("cpu",),
    onnx: str | Path | None = None,
    input: Any = None,  # noqa: A002 - the word that Torch7 and its references use
    input_shape: Any = None,
    atol: float | None = None,
    rtol: float | None = None,
    layers: bool = True,
    seed: int = 0,
) -> ParityReport:
    """Compares a converted model with a reference, end to end and layer by layer.

    Args:
        conv: the converted model.
        reference: a file that dump_reference.lua wrote on a Torch7; None: the converted model in float64, which shows
            rounding only.
        devices: where PyTorch runs: "cpu", "cuda", "cuda:1"; one that is absent is reported as "not run".
        onnx: an exported file to compare too, with ONNX Runtime on the same devices.
        input: a tensor or nested list to feed; only without `reference`, which has its own.
        input_shape: sizes of random input, as `export_onnx` takes them; only without `reference`.
        atol: absolute tolerance; by default it follows from the type of the numbers.
        rtol: relative tolerance.
        layers: compare every layer as well.
        seed: of random input.

    Returns:
        The report; true when every backend that ran agrees.

    Raises:
        UsageError: the reference belongs to another model, or no input was given and none could be found.
    """
    if reference is not None:
        found = read_dump(conv, Path(reference))
    else:
        guess = Guess(input, "the input was given") if input is not None else input_of(conv, input_shape, seed)
        found = compute_self(conv, guess)
    backends: list[Backend] = [PyTorch(device) for device in devices]
    if onnx is not None:
        backends += [OnnxRuntime(Path(onnx), device) for device in devices]
    results = [_run(backend, conv, found, atol, rtol, layers) for backend in backends]
    if onnx is None:
        results.append(BackendResult("onnxruntime", NOT_RUN, "there is no ONNX file"))
    options = {
        "key": conv.key or None,
        "alias": [f"{name}={stand_in}" for name, stand_in in conv.build.aliases.items()],
        "reference": found.file,
        "onnx": None if onnx is None else Path(onnx).name,
        "input-shape": shapes(found.input) if reference is None else None,
        "device": devices,
        "atol": atol,
        "rtol": rtol,
    }
    return ParityReport(found, results, _source(conv), seed, _environment(), _model(conv), options)


def _run(
    backend: Backend, conv: Conversion, reference: Reference, atol: float | None, rtol: float | None, layers: bool
) -> BackendResult:
    if reason := backend.missing():
        return BackendResult(backend.name, NOT_RUN, reason)
    try:
        dtype = coarser(backend.dtype(conv), reference.dtype)
        tolerance = tolerance_for(dtype, onnx=backend.onnx, atol=atol, rtol=rtol)
        output = backend.outputs(conv, reference.input)
        compared = backend.layers(conv, reference) if layers else []
    except (RuntimeError, ValueError, TypeError, LookupError, ExportError, UsageError) as error:
        return BackendResult(backend.name, FAILED, f"it does not run on the reference's input: {_line(error)}")
    outputs = compare(output, reference.output, tolerance, details=True)
    problems = [f"output{d.place}: {d.problem}" for d in outputs if not d.passed]
    own = [layer for layer in compared if not layer.passed]
    if own and not problems and own[0].own is not None:
        layer = own[0]
        problems.append(f"{layer.typename} at {layer.path or 'the top'} by itself: {own[0].own.problem}")
    status = FAILED if problems or not outputs else PASSED
    reason = "; ".join(problems) if outputs else "there is no output to compare"
    return BackendResult(backend.name, status, reason, tolerance, outputs, compared)


def _line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:300] if text else ''}"


def _source(conv: Conversion) -> dict[str, Any]:
    return {**asdict(conv.provenance), "key": conv.key, "layers": len(conv.layers)}


def _model(conv: Conversion) -> list[ModelLayer]:
    return [
        ModelLayer(
            tuple(record.paths),
            record.typename,
            type(record.module).__name__,
            sum(parameter.numel() for parameter in record.module.parameters()),
        )
        for record in conv.layers
    ]


def _environment() -> dict[str, Any]:
    return {
        "versions": {name: version(name) for name in ("torchmigrate", "torch", "onnx", "onnxruntime", "numpy")},
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "tf32": "off",
    }
