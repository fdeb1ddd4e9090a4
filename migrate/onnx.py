"""Export to ONNX: one file, checked by onnx and by ONNX Runtime at two batch sizes, free of the exporting machine."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from .conversion import Conversion
from .converters.recurrent import forget
from .errors import ExportError, UsageError
from .nested import apply, leaves, moved
from .onnx_runtime import cause, open_session, run_session
from .shapes import indexed_leaves, input_of, mixed, run

#: |a - b| <= ONNX_TOLERANCE * (largest |b| + |b|) for float32, where kernels may sum in another order.
ONNX_TOLERANCE = 1e-4

#: The same for what is exported in half and in double precision.
_TOLERANCES = {torch.float16: 1e-2, torch.float32: ONNX_TOLERANCE, torch.float64: 1e-9}

#: Metadata key under which each node keeps the Torch7 path of its layer.
PATH_KEY = "torchmigrate.torch7_path"

_SCOPES = "pkg.torch.onnx.name_scopes"


@dataclass(frozen=True)
class OnnxExport:
    """An ONNX file that was written and checked.

    Attributes:
        path: the file.
        opset: the opset that the file declares.
        inputs: name -> sizes; a dynamic one is a name such as "batch".
        outputs: the same of the outputs.
        nodes: ONNX node -> Torch7 path of the layer that it comes from.
        max_difference: the largest difference between ONNX Runtime and PyTorch, relative to the largest output.
        batches: the batch sizes at which the two were compared.
        notes: what users should know.
    """

    path: Path
    opset: int
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]
    nodes: dict[str, str] = field(repr=False)
    max_difference: float
    batches: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "file": self.path.name,
            "opset": self.opset,
            "inputs": {name: list(sizes) for name, sizes in self.inputs.items()},
            "outputs": {name: list(sizes) for name, sizes in self.outputs.items()},
            "nodes": len(self.nodes),
            "max_difference": self.max_difference,
            "batches": list(self.batches),
            "notes": list(self.notes),
        }


def export_onnx(
    conv: Conversion,
    path: str | Path,
    *,
    input_shape: Any = None,
    example_input: Any = None,
    opset: int = 20,
    dtype: str = "float32",
    dynamic: Sequence[str] = ("batch",),
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> OnnxExport:
    """Writes the model as an ONNX file and compares ONNX Runtime with PyTorch.

    Args:
        conv: the converted model; it is not changed.
        path: the file to write; it appears only when every check passed.
        input_shape: sizes of the input: "2x3x224x224", "{2x10,2x20}", a tuple, or a nested list of tuples.
        example_input: an input, instead of sizes; a tensor or a nested list. Neither: inferred from the model.
        opset: ONNX opset; the file has exactly this one.
        dtype: "float32", or "keep" for the type of the weights (ONNX Runtime has few float64 kernels).
        dynamic: names of the axes of free size; ("batch",) or ().
        input_names: one name per input tensor; by default `input`, or `input_1`, `input_2_1` for tables.
        output_names: the same of the outputs.

    Raises:
        ExportError: the model can't be exported, the file fails a check, or its numbers differ.
        UsageError: the input shape is wrong or was not found, or an option has no meaning.
    """
    if dtype not in ("float32", "keep"):
        raise UsageError(f"dtype is 'float32' or 'keep', not {dtype!r}")
    if unknown := set(dynamic) - {"batch"}:
        raise UsageError(f"no axis is called {', '.join(sorted(unknown))}; dynamic is ('batch',) or ()")
    notes: list[str] = []
    if example_input is None:
        guess = input_of(conv, input_shape)
        example_input = guess.value
        if input_shape is None:
            notes.append(f"the input shape was inferred: {guess.reason}")
    module = _copy(conv, torch.float32 if dtype == "float32" else None)
    example = _example(conv, example_input, torch.float32 if dtype == "float32" else None)
    names = _names("input", example, input_names)
    outputs = _output(module, example)
    if warning := mixed(example, outputs):
        notes.append(warning)
    if not any(True for _ in leaves(outputs)):
        raise ExportError("the model returns no tensor, so there is nothing to export")
    out_names = _names("output", outputs, output_names)
    program, is_dynamic = _export(conv, module, example, opset, names, out_names, bool(dynamic), notes)
    model = _clean(conv, program, opset)
    model_bytes = _checked(model)
    difference, batches = _compare(module, example, model_bytes, names, out_names, is_dynamic)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.part")
    temporary.write_bytes(model_bytes)
    temporary.replace(target)
    return OnnxExport(
        path=target,
        opset=opset,
        inputs={value.name: _sizes(value) for value in model.graph.input},
        outputs={value.name: _sizes(value) for value in model.graph.output},
        nodes=_paths(model),
        max_difference=difference,
        batches=batches,
        notes=tuple(notes),
    )


def _copy(conv: Conversion, dtype: torch.dtype | None) -> nn.Module:
    module = copy.deepcopy(conv.module).eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module.to(dtype) if dtype else module


def _example(conv: Conversion, value: Any, dtype: torch.dtype | None) -> Any:
    """The input as the exported graph takes it: floating, or int64 where it holds indices; two samples at least."""
    value = moved(value)
    indexed = {id(tensor) for tensor, _ in indexed_leaves(conv, value)}

    def convert(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) in indexed or not tensor.is_floating_point():
            return tensor.long()
        return tensor.to(dtype) if dtype else tensor

    return apply(value, convert)


def _names(kind: str, value: Any, given: Sequence[str] | None) -> list[str]:
    found = ["_".join([kind, *map(str, place)]) for place, _ in leaves(value)]
    if given is None:
        return found
    if len(given) != len(found) or len(set(given)) != len(given):
        raise UsageError(f"the model has {len(found)} {kind}s ({', '.join(found)}); {list(given)} does not name them")
    return list(given)


def _output(module: nn.Module, value: Any) -> Any:
    with torch.no_grad():
        return run(module, moved(value))


def _export(
    conv: Conversion,
    module: nn.Module,
    example: Any,
    opset: int,
    input_names: list[str],
    output_names: list[str],
    dynamic: bool,
    notes: list[str],
) -> tuple[Any, bool]:
    """The exported program, and whether its batch is dynamic."""
    sizes = {tensor.shape[0] for _, tensor in leaves(example) if tensor.dim()}
    reason = ""
    if dynamic and (len(sizes) != 1 or any(not tensor.dim() for _, tensor in leaves(example))):
        reason = "the inputs have no first dimension in common"
    elif dynamic and module_state(conv):
        reason = f"{module_state(conv)} goes through its input step by step"
    elif dynamic:
        grown = example if min(sizes) > 1 else apply(example, _twice)
        shapes = apply(grown, _batch_axis)
        try:
            return _run_exporter(module, grown, opset, input_names, output_names, shapes), True
        except ExportError as error:
            reason = str(error)
    program = _run_exporter(module, example, opset, input_names, output_names, None)
    if dynamic:
        notes.append(f"the batch size is fixed at {sorted(sizes)[0] if sizes else 'one'}: {reason}")
    return program, False


def module_state(conv: Conversion) -> str:
    """The Torch7 class of a layer that unrolls over the first dimension, or ""."""
    unrolled = ("Sequencer", "Repeater", "SeqLSTM", "SeqGRU", "SeqBRNN", "SeqLSTMP", "BiSequencer", "BiSequencerLM")
    return next((r.typename for r in conv.layers if r.typename.split(".")[-1] in unrolled), "")


def _twice(tensor: torch.Tensor) -> torch.Tensor:
    return torch.cat([tensor, tensor])


def _batch_axis(tensor: torch.Tensor) -> Any:
    return {0: "batch"}


def _run_exporter(
    module: nn.Module, example: Any, opset: int, input_names: list[str], output_names: list[str], shapes: Any
) -> Any:
    forget(module)
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                (moved(example),),
                dynamo=True,
                opset_version=opset,
                input_names=input_names,
                output_names=output_names,
                dynamic_shapes=None if shapes is None else (shapes,),
                verbose=False,
                optimize=True,
            )
    except Exception as error:
        raise ExportError(f"the model can't be exported to ONNX: {cause(error)}") from error
    if program is None:
        raise ExportError("the exporter returned nothing")
    return program


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter's own talk; its failures come as exceptions."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "torch._dynamo")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _clean(conv: Conversion, program: Any, opset: int) -> onnx.ModelProto:
    """The model without stack traces, with the Torch7 path on each node and where it comes from."""
    model: onnx.ModelProto = program.model_proto
    found = {entry.domain: entry.version for entry in model.opset_import}
    if found.get("", 0) != opset:
        raise ExportError(f"opset {opset} was asked for, the exporter made {found.get('', 0)}. Try --opset 20.")
    if foreign := sorted(domain for domain in {node.domain for node in model.graph.node} if domain):
        raise ExportError(f"the graph uses operators that are not standard ONNX, from {', '.join(foreign)}")
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", opset))
    by_module: dict[str, str] = {}
    for torch7_path, module_name in conv.module_names().items():
        by_module.setdefault(module_name, torch7_path)
    for node in model.graph.node:
        scopes = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "[]")
        known = [scope for scope in _scopes(scopes) if scope in by_module]
        del node.metadata_props[:]
        node.doc_string = ""
        if known:
            node.metadata_props.append(onnx.StringStringEntryProto(key=PATH_KEY, value=by_module[known[-1]]))
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]
        value.doc_string = ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.functions[:]
    model.doc_string = model.graph.doc_string = ""
    model.graph.name = "torchmigrate"
    model.producer_name, model.producer_version = "torchmigrate", version("torchmigrate")
    properties = {
        "torchmigrate.source_sha256": conv.provenance.sha256 or "",
        "torchmigrate.source_file": conv.provenance.file or "",
        "torchmigrate.key": conv.key,
        "torchmigrate.torch7_classes": json.dumps(conv.classes),
    }
    for key, value in properties.items():
        model.metadata_props.append(onnx.StringStringEntryProto(key=key, value=value))
    return model


def _scopes(text: str) -> list[str]:
    return [quoted[1:-1] for quoted in re.findall(r"'[^']*'|\"[^\"]*\"", text)]


def _checked(model: onnx.ModelProto) -> bytes:
    try:
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {str(error)[:400]}") from error


def _compare(
    module: nn.Module, example: Any, model: bytes, input_names: list[str], output_names: list[str], dynamic: bool
) -> tuple[float, tuple[int, ...]]:
    """Runs ONNX Runtime and PyTorch on the example, and on another batch size if the batch is dynamic."""
    batch = next((tensor.shape[0] for _, tensor in leaves(example) if tensor.dim()), 1)
    inputs = [example]
    if dynamic:
        inputs.append(apply(example, _one_more))
    worst = 0.0
    session = open_session(model)
    for value in inputs:
        expected = [tensor for _, tensor in leaves(_output(module, value))]
        given = dict(zip(input_names, [tensor for _, tensor in leaves(value)], strict=True))
        got = run_session(session, given)
        if len(got) != len(expected):
            raise ExportError(f"the graph has {len(got)} outputs, the model {len(expected)}")
        for name, ours, theirs in zip(output_names, got, expected, strict=True):
            worst = max(worst, _difference(name, ours, theirs))
    return worst, tuple(batch + i for i in range(len(inputs)))


def _one_more(tensor: torch.Tensor) -> torch.Tensor:
    return torch.cat([tensor, tensor[:1]])


def _difference(name: str, got: torch.Tensor, expected: torch.Tensor) -> float:
    if got.shape != expected.shape:
        raise ExportError(f"{name} has shape {tuple(got.shape)} in ONNX Runtime, {tuple(expected.shape)} in PyTorch")
    if got.numel() == 0:
        return 0.0
    tolerance = _TOLERANCES.get(expected.dtype, 0.0)
    a, b = got.double(), expected.double()
    if not torch.equal(a.isnan(), b.isnan()) or not torch.equal(a.isinf(), b.isinf()):
        raise ExportError(f"{name} is NaN or infinite where PyTorch's is not, or the other way round")
    finite = b.isfinite()
    scale = max(float(b[finite].abs().max()), 1e-30) if finite.any() else 1.0
    distance = (a - b)[finite].abs()
    if bool((distance > tolerance * (scale + b[finite].abs())).any()):
        raise ExportError(
            f"{name} differs between ONNX Runtime and PyTorch by {float(distance.max()):.3g} "
            f"(largest output {scale:.3g}, tolerance {tolerance:g} relative to it)"
        )
    return float(distance.max()) / scale if finite.any() else 0.0


def _sizes(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_param if dim.HasField("dim_param") else dim.dim_value for dim in dims)


def _paths(model: onnx.ModelProto) -> dict[str, str]:
    return {
        node.name: entry.value for node in model.graph.node for entry in node.metadata_props if entry.key == PATH_KEY
    }
