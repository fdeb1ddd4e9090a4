"""Export to ONNX: plan, trace, tidy, check, compare, write."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch
from torch import nn

from ...base.errors import ExportError, GraphDiffers, UsageError
from ...base.messages import cause
from ...base.output_file import check_file
from ...base.tensor_slices import fold
from ...base.tensor_trees import leaves, moved
from ...model.conversion import ConvertedModel
from ...model.recurrent_state import Remembering, forget
from ...model.running.features import FeatureList
from ...shapes.dry_run import mixed
from ...shapes.infer import input_of
from ...shapes.random_layers import drawn_numbers
from ...t7 import Tensor
from ...t7.memory_map import release_pages
from ..operators.stand_ins import put_stand_ins
from ..passes.graph import narrow, tidy
from ..passes.quantize import quantize, quantized_path, require_quantizable
from ..result import OnnxExport
from ..settings import Settings
from .check import TOLERANCES, Checker, check_graph
from .free_axes import LENGTH
from .metadata import describe_file, paths_of, sizes_in
from .plan import FixedAxes, FixedBatch, Plan, Run, as_taken
from .save import Stored, is_external, store, write
from .slim import slimmed
from .stateful import Stateful, compare_runs, make_stateful
from .trace import Untraceable, trace

#: How a note begins that says why outputs may differ by more than the tolerance.
_GROWS = "rounding grows"


def export_onnx(
    conv: ConvertedModel,
    path: str | Path,
    *,
    input_shape: Any = None,
    example_input: Any = None,
    opset: int = 20,
    dtype: str = "float32",
    dynamic: Sequence[str] | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    external_data: bool | None = None,
    simplify: bool = False,
    int8: bool = False,
    stateful: bool = False,
    force: bool = False,
) -> OnnxExport:
    """Writes the model as an ONNX file and compares ONNX Runtime with PyTorch.

    Args:
        conv: the converted model; it is not changed.
        path: the file to write; it appears only when every check passed.
        input_shape: sizes of the input: "2x3x224x224", "{2x10,2x20}", a tuple, or a nested list of tuples.
        example_input: an input, instead of sizes; a tensor or a nested list. Neither: inferred from the model.
        opset: ONNX opset, from 18 to the newest that the installed onnx has; the file has exactly this one.
        dtype: "float32", "float16", or "keep" for the type of the weights (ONNX Runtime has few float64 kernels).
        dynamic: axes of free size, of "batch", "time", "height", "width"; () for none. Each is run at two sizes or
            more. None: the batch, and every other of them that the layers leave free.
        input_names: one name per input tensor; by default `input`, or `input_1`, `input_2_1` for tables.
        output_names: the same of the outputs.
        outputs: Torch7 paths of layers whose outputs the file gives, such as ["7", "9.2"], in place of the model's own.
        external_data: put the weights into a second file, `path` with `.data` appended? None: above 256 MB, where one
            file takes three more copies of the weights in memory; above 2 GB one file is impossible.
        simplify: run onnxslim over the graph (the extra `simplify`).
        int8: also write `path` with `.int8.onnx` as its end, dynamically quantized by ONNX Runtime.
        stateful: make inputs and outputs of the states that recurrent layers keep from one call to the next, such as
            `lstm1_h_in` and `lstm1_h_out`; zeros start anew. Several runs, one after the other, are compared.
        force: replace existing files, though never the file that was converted.

    Raises:
        ExportError: the model can't be exported, the file fails a check, or its numbers differ.
        UsageError: the input shape is wrong or was not found, an option has no meaning, a file exists and `force` is
            not set, or it can't be written.
    """
    targets = [Path(path), *([quantized_path(Path(path))] if int8 else [])]
    for target in [*targets, *([Path(f"{path}.data")] if external_data else [])]:
        check_file(target, force=force, inputs=[conv.file])
    if len({os.path.realpath(target) for target in targets}) < len(targets):
        raise UsageError(f"{path} is what --int8 (int8=True) calls its file; give another name.")
    if outputs is not None:
        conv = replace(conv, module=FeatureList(conv.module, conv.names_of(outputs)))
    settings = Settings(opset, dtype, dynamic, input_names, output_names, external_data, simplify, int8, stateful)
    notes: list[str] = []
    if example_input is None:
        guess = input_of(conv, input_shape)
        example_input = guess.value
        if input_shape is None:
            notes.append(f"the input shape was inferred: {guess.reason}")
    if (drawn := drawn_numbers(conv, example_input)).outputs:
        raise ExportError(f"{drawn}: ONNX Runtime can't be compared with PyTorch")
    find_free, fixed = dynamic is None and not stateful, ""
    while True:
        try:
            made = _export(conv, settings, notes[:], example_input, Path(path), force=force, find_free=find_free)
        except FixedBatch as error:
            settings, fixed = replace(settings, dynamic=()), str(error)
        except FixedAxes:
            find_free = False
        else:
            first = {sizes[0] for sizes in made.inputs.values() if sizes}
            told = fixed and not any(str(size).startswith(LENGTH) for size in first)  # there may be no batch
            return replace(made, notes=(*made.notes, fixed)) if told else made


def _export(
    conv: ConvertedModel,
    settings: Settings,
    notes: list[str],
    given: Any,
    path: Path,
    *,
    force: bool,
    find_free: bool,
) -> OnnxExport:
    """Writes the file.

    Raises:
        FixedBatch: the batch can't be dynamic, which nobody asked for.
        FixedAxes: the same of axes beside it.
    """
    release_file(conv)
    reference = shared_copy(conv.module, settings.reference_type)
    stateful = None
    if settings.stateful:
        stateful = make_stateful(conv, reference, as_taken(conv, given, settings.reference_type))
        conv, reference, given = stateful.conv, stateful.reference, stateful.given
        notes.append(stateful.note())
    plan = Plan(conv, settings, notes, reference, given, stateful.named if stateful else {}, find_free)
    if warning := mixed(plan.example, plan.outputs):
        notes.append(warning)
    own, outputs = (plan.example[0], plan.outputs[0]) if stateful else (plan.example, plan.outputs)
    input_names = _names("input", own, settings.input_names)
    output_names = _names("output", outputs, settings.output_names)
    if not output_names:
        raise ExportError("the model returns no tensor, so there is nothing to export")
    _note_memory(plan)
    module = shared_copy(reference, settings.number_type)
    put_stand_ins(module)
    plan.explore()
    names = (
        _distinct([name for name, _ in input_names], stateful.names("in") if stateful else []),
        _distinct([name for name, _ in output_names], stateful.names("out") if stateful else []),
    )
    stored = store(_trace(plan, module, *names))
    if settings.int8:
        require_quantizable(stored.model)
    describe_file(stored.model, conv, input_names, output_names, stateful.described() if stateful else [])
    if settings.simplify:
        stored = slimmed(stored)
    # the oldest file version that has the opset, so that old programs read the file; 10 at least
    opset_ids = [onnx.helper.make_opsetid("", settings.opset)]
    stored.model.ir_version = max(10, onnx.helper.find_min_ir_version_for(opset_ids))
    check_graph(stored)
    checked = plan.compared()
    worst = 0.0

    def compare(graph: Stored | Path) -> None:
        nonlocal worst
        try:
            worst, growth = _compare(plan, graph, checked, *names, path, stateful)
        except ExportError as error:
            if plan.free_axes():
                raise FixedAxes from error
            raise
        if growth:
            notes[:] = [note for note in notes if not note.startswith(_GROWS)]
            notes.append(f"{_GROWS} {fold(growth)}{_in_double(conv, settings, given, worst)}")

    if is_external(stored, settings.external_data):
        compare(stored)  # its weights need not be copied
    data = write(stored, path, external=settings.external_data, force=force, check=compare)
    quantized = None
    if settings.int8:
        pairs = [(run.inputs, run.outputs) for run in checked]
        quantized = quantize(path, pairs, names[0], external=data is not None)
    return OnnxExport(
        path=path,
        opset=settings.opset,
        inputs={value.name: sizes_in(value) for value in stored.model.graph.input},
        outputs={value.name: sizes_in(value) for value in stored.model.graph.output},
        nodes=paths_of(stored.model),
        max_difference=worst,
        batches=plan.batches(checked),
        runs=tuple(
            {name: tuple(tensor.shape) for name, tensor in zip(names[0], run.inputs, strict=True)} for run in checked
        ),
        external=data,
        int8=quantized,
        states=tuple(stateful.described()) if stateful else (),
        notes=tuple(notes),
    )


def _names(kind: str, value: Any, given: Sequence[str] | None) -> list[tuple[str, tuple[int, ...]]]:
    """The name of each tensor of an input or output, and its place there."""
    places = [place for place, _ in leaves(value)]
    found = ["_".join([kind, *map(str, place)]) for place in places]
    if given is not None and len(given) != len(found):
        raise UsageError(
            f"the model has {len(found)} {kind}{'s' * (len(found) > 1)} ({', '.join(found)}); "
            f"{', '.join(given)} does not name {'them' if len(found) > 1 else 'it'}"
        )
    return list(zip(given or found, places, strict=True))


def _distinct(names: list[str], of_states: list[str]) -> list[str]:
    """All names.

    Raises:
        UsageError: one is there twice.
    """
    if twice := set(names) & set(of_states):
        raise UsageError(f"{', '.join(sorted(twice))} is the name of a state; give another one.")
    return [*names, *of_states]


def _note_memory(plan: Plan) -> None:
    """Says which layers go on from where they stopped, which a graph can't."""
    parts = plan.reference.named_modules()
    kept = [plan.layers.layer(n) for n, part in parts if isinstance(part, Remembering) and part.state is not None]
    forget(plan.reference)
    if kept:
        plan.notes.append(
            f"{kept[0]} remembers its state from one call to the next; the ONNX graph starts anew at each run, unless "
            "--stateful (stateful=True) makes inputs and outputs of the states"
        )


def _trace(plan: Plan, module: nn.Module, input_names: list[str], output_names: list[str]) -> ir.Model:
    """The tidied graph."""
    settings, factors = plan.settings, dict[str, int]()
    while True:
        try:
            graph, symbols = trace(
                module,
                moved(plan.example, settings.number_type),
                plan.layers,
                dynamic={place: name for place, name in plan.named.items() if name in plan.axes},
                wanted=plan.wanted,
                opset=settings.opset,
                input_names=input_names,
                output_names=output_names,
                factors=factors,
            )
        except Untraceable as error:
            if error.unsolved and not factors and not plan.find_free and (factors := plan.find_factors()):
                continue
            if free := plan.free_axes():
                plan.fix([axis for axis in error.fixed if axis in free] or free)
                continue
            # without its axis the model may be traced; what can't be traced at all fails again then
            axis = error.axis or ("batch" if "batch" in plan.axes and settings.dynamic is None else None)
            if axis is None:
                raise
            plan.forbid(axis, str(error))
        tidy(graph, symbols, plan.layers, settings.opset)
        if settings.number_type is not None:
            narrow(graph, ir.DataType.FLOAT if settings.dtype == "float32" else ir.DataType.FLOAT16)
        return graph


def _in_double(conv: ConvertedModel, settings: Settings, given: Any, worst: float) -> str:
    """Why a file whose outputs are off by what rounding makes of them is right: in float64 there is next to none.

    Raises:
        GraphDiffers: in float64 they differ as well.
    """
    found = f" through this network, which is why ONNX Runtime and PyTorch differ by {worst:.2g} of the largest output"
    double = replace(conv, module=shared_copy(conv.module, torch.float64))
    quietly = replace(settings, dtype="keep", int8=False, simplify=False, external_data=None)
    with tempfile.TemporaryDirectory(prefix="torchmigrate-") as folder:
        try:
            made = _export(
                double,
                quietly,
                [],
                moved(given, torch.float64),
                Path(folder) / "double.onnx",
                force=True,
                find_free=False,
            )
        except GraphDiffers:
            raise
        except (ExportError, FixedBatch) as error:
            return f"{found}; in float64, where it would not, they can't be compared: {cause(error)[:200]}"
    return f"{found}; exported in float64 they agree within {made.max_difference:.2g} of it"


def _compare(
    plan: Plan,
    graph: Stored | Path,
    runs: list[Run],
    input_names: list[str],
    output_names: list[str],
    path: Path,
    stateful: Stateful | None,
) -> tuple[float, float]:
    """The largest difference between ONNX Runtime and PyTorch, and by how much rounding grows if that explains it."""
    settings = plan.settings
    types = (tensor.dtype for tensor in runs[0].outputs if tensor.is_floating_point())
    limit = TOLERANCES.get(settings.number_type or next(types, torch.float32), 0.0)
    try:
        checker = Checker(graph, input_names, output_names, limit, plan.conv.answers, path)
    except ExportError as error:
        if settings.number_type is not None:
            raise
        raise ExportError(f"{error}. --dtype keep kept its numbers; --dtype float32 gives those that run.") from error
    single = settings.dtype == "float32" and stateful is None
    worst = [
        checker.compare(
            moved(run.inputs, settings.number_type),
            run.outputs,
            cache(partial(plan.noise, run)),
            cache(partial(plan.growth, run)) if single else None,
        )
        for run in runs
    ]
    if stateful is not None:
        worst.append(compare_runs(checker, stateful, plan.example, settings.number_type, plan.noise_of))
    return max(worst), checker.growth


def shared_copy(module: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """A copy in eval mode whose parameters and buffers are those of `module`, or casts of them.

    Args:
        module: stays as it is.
        dtype: type of the floating numbers; None: as they are. Only tensors of another type are copied.
    """
    changing = {id(part.weight) for part in module.modules() if getattr(part, "max_norm", None)}
    memo: dict[int, Any] = {}
    for tensor in [*module.parameters(), *module.buffers()]:
        made = tensor.detach()
        if dtype is not None and made.is_floating_point():
            made = made.to(dtype)
        if id(tensor) in changing:
            made = made.clone()  # a lookup, as nn.Embedding, scales its rows in place when it runs
        memo[id(tensor)] = nn.Parameter(made, requires_grad=False) if isinstance(tensor, nn.Parameter) else made
    copied = copy.deepcopy(module, memo).eval()
    return copied if dtype is None else copied.to(dtype)  # a layer may know by itself what type it makes


def release_file(conv: ConvertedModel) -> None:
    """Lets go of the pages of the mapped file that the model was read from; they come back when they are read."""
    for record in conv.layers:
        for _, value in record.object.items():  # noqa: PERF102 - it has no values()
            if isinstance(value, Tensor):
                release_pages(value)
