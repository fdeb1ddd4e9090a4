"""Export to ONNX: plan, trace, tidy, check, compare, write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch
from torch import nn

from ...base.errors import ExportError, UsageError
from ...base.files import refuse_existing
from ...base.tensor_trees import leaves, moved
from ...model.conversion import Conversion
from ...model.recurrent_state import Remembering, forget
from ...shapes.dry_run import mixed
from ...shapes.infer import input_of
from ..layer_watch import LayerNames
from ..operators.stand_ins import put_stand_ins
from ..passes.graph import narrow, tidy
from ..passes.quantize import quantize, require_quantizable
from ..result import OnnxExport
from ..settings import Settings
from .check import TOLERANCES, Checker, check_graph
from .metadata import describe_file, paths_of, sizes_in
from .plan import FixedBatch, Plan, Run
from .save import Stored, store, write
from .shared_copies import release_file, shared_copy
from .slim import simplify
from .trace import Untraceable, trace


def export_onnx(
    conv: Conversion,
    path: str | Path,
    *,
    input_shape: Any = None,
    example_input: Any = None,
    opset: int = 20,
    dtype: str = "float32",
    dynamic: Sequence[str] | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    external_data: bool | None = None,
    simplify: bool = False,
    int8: bool = False,
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
            more. None: the batch, if the model allows it.
        input_names: one name per input tensor; by default `input`, or `input_1`, `input_2_1` for tables.
        output_names: the same of the outputs.
        external_data: put the weights into a second file, `path` with `.data` appended? None: above 256 MB, where one
            file takes three more copies of the weights in memory; above 2 GB one file is impossible.
        simplify: run onnxslim over the graph (the extra `simplify`).
        int8: also write `path` with `.int8.onnx` as its end, dynamically quantized by ONNX Runtime.

    Raises:
        ExportError: the model can't be exported, the file fails a check, or its numbers differ.
        UsageError: the input shape is wrong or was not found, an option has no meaning, or the file can't be written.
    """
    refuse_existing(Path(path), force=True)
    settings = Settings(opset, dtype, dynamic, input_names, output_names, external_data, simplify, int8)
    notes: list[str] = []
    if example_input is None:
        guess = input_of(conv, input_shape)
        example_input = guess.value
        if input_shape is None:
            notes.append(f"the input shape was inferred: {guess.reason}")
    try:
        return _Export(conv, settings, list(notes), example_input).to(Path(path))
    except FixedBatch as error:
        notes.append(str(error))
        return _Export(conv, replace(settings, dynamic=()), notes, example_input).to(Path(path))


@dataclass
class _Export:
    """One export at work.

    Attributes:
        conv: the converted model.
        settings: what was asked for.
        notes: what users should know.
        given: the example input as it came.
        layers: the layers of the model.
        plan: the input, the free axes, and what is compared.
    """

    conv: Conversion
    settings: Settings
    notes: list[str]
    given: Any
    layers: LayerNames = field(init=False)
    plan: Plan = field(init=False)

    def to(self, path: Path) -> OnnxExport:
        """Writes the file."""
        release_file(self.conv)
        number_type = self.settings.number_type
        reference = shared_copy(self.conv.module, torch.float32 if number_type == torch.float16 else number_type)
        self.layers = LayerNames(self.conv)
        self.plan = Plan(self.conv, self.settings, self.notes, self.layers, reference, self.given)
        example, outputs = self.plan.example, self.plan.outputs
        if warning := mixed(example, outputs):
            self.notes.append(warning)
        input_names = self._names("input", example, self.settings.input_names)
        output_names = self._names("output", outputs, self.settings.output_names)
        if not output_names:
            raise ExportError("the model returns no tensor, so there is nothing to export")
        self._note_memory()
        module = shared_copy(reference, number_type)
        put_stand_ins(module)
        self.plan.explore()
        names = [name for name, _ in input_names], [name for name, _ in output_names]
        graph = self._trace(module, *names)
        stored = store(graph)
        if self.settings.int8:
            require_quantizable(stored.model)
        describe_file(stored.model, self.conv, input_names, output_names)
        if self.settings.simplify:
            stored = simplify(stored)
        _set_ir_version(stored.model, self.settings.opset)
        check_graph(stored)
        checked = self.plan.compared()
        worst = self._compare(stored, checked, *names)
        data = write(stored, path, external=self.settings.external_data)
        quantized = None
        if self.settings.int8:
            quantized = quantize(
                path, [(one.inputs, one.outputs) for one in checked], names[0], external=data is not None
            )
        return OnnxExport(
            path=path,
            opset=self.settings.opset,
            inputs={value.name: sizes_in(value) for value in stored.model.graph.input},
            outputs={value.name: sizes_in(value) for value in stored.model.graph.output},
            nodes=paths_of(stored.model),
            max_difference=worst,
            batches=self.plan.batches(checked),
            runs=tuple(
                {name: tuple(tensor.shape) for name, tensor in zip(names[0], run.inputs, strict=True)}
                for run in checked
            ),
            external=data,
            int8=quantized,
            notes=tuple(self.notes),
        )

    def _names(self, kind: str, value: Any, given: Sequence[str] | None) -> list[tuple[str, tuple[int, ...]]]:
        places = [place for place, _ in leaves(value)]
        found = ["_".join([kind, *map(str, place)]) for place in places]
        if given is not None and len(given) != len(found):
            raise UsageError(
                f"the model has {len(found)} {kind}{'s' * (len(found) > 1)} ({', '.join(found)}); "
                f"{', '.join(given)} does not name {'them' if len(found) > 1 else 'it'}"
            )
        return list(zip(given or found, places, strict=True))

    def _note_memory(self) -> None:
        """Says which layers go on from where they stopped, which a graph can't."""
        parts = self.plan.reference.named_modules()
        kept = [self.layers.layer(n) for n, part in parts if isinstance(part, Remembering) and part.state is not None]
        forget(self.plan.reference)
        if kept:
            self.notes.append(
                f"{kept[0]} remembers its state from one call to the next; the ONNX graph starts anew at each run"
            )

    def _trace(self, module: nn.Module, input_names: list[str], output_names: list[str]) -> ir.Model:
        """The tidied graph."""
        plan, factors = self.plan, dict[str, int]()
        while True:
            dynamic = {place: name for place, name in plan.named.items() if name in plan.axes}
            try:
                graph, symbols = trace(
                    module,
                    self._cast(plan.example),
                    self.layers,
                    dynamic=dynamic,
                    wanted=plan.wanted,
                    opset=self.settings.opset,
                    input_names=input_names,
                    output_names=output_names,
                    factors=factors,
                )
            except Untraceable as error:
                if error.unsolved and not factors and (factors := plan.find_factors()):
                    continue
                # without its axis the model may be traced; what can't be traced at all fails again then
                axis = error.axis or ("batch" if "batch" in plan.axes and self.settings.dynamic is None else None)
                if axis is None:
                    raise
                plan.forbid(axis, str(error))
            tidy(graph, symbols, self.layers, self.settings.opset)
            if self.settings.number_type is not None:
                narrow(graph, ir.DataType.FLOAT if self.settings.dtype == "float32" else ir.DataType.FLOAT16)
            return graph

    def _cast(self, value: Any) -> Any:
        return moved(value, self.settings.number_type)

    def _compare(self, stored: Stored, runs: list[Run], input_names: list[str], output_names: list[str]) -> float:
        limit = TOLERANCES.get(self.settings.number_type or _type_of(runs[0].outputs), 0.0)
        try:
            checker = Checker(stored, input_names, output_names, limit)
        except ExportError as error:
            if self.settings.number_type is not None:
                raise
            raise ExportError(
                f"{error}. --dtype keep kept its numbers; --dtype float32 gives those that run."
            ) from error
        return max(checker.compare([self._cast(tensor) for tensor in run.inputs], run.outputs) for run in runs)


def _type_of(tensors: list[torch.Tensor]) -> torch.dtype:
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)


def _set_ir_version(model: onnx.ModelProto, opset: int) -> None:
    """The oldest file version that has the opset, so that old programs read the file; 10 at least."""
    model.ir_version = max(10, onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)]))
