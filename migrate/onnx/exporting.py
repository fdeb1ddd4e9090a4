"""Export to ONNX: plan, trace, tidy, check, compare, write."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import onnx
import onnx_ir as ir
import torch
from torch import nn

from ..conversion import Conversion
from ..converters.recurrent import Remembering, forget
from ..errors import ExportError, UsageError
from ..nested import apply, leaves, moved
from ..shapes import indexed_leaves, input_of, mixed, run
from ..writing import refuse_existing
from .axes import explore, name_axes, require_running, resized, sizes_of
from .checking import TOLERANCES, Checker, check_graph
from .copies import release_file, shared_copy
from .graph import PATH_KEY, narrow, tidy
from .metadata import describe_file
from .quantizing import quantize, require_quantizable
from .result import OnnxExport
from .settings import Settings, name_list
from .simplifying import simplify
from .stand_ins import put_stand_ins
from .storing import LARGEST_FILE, Stored, store, write
from .tracing import Dynamic, Places, Untraceable, trace


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
    external_data: bool = False,
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
        external_data: put the weights into a second file, `path` with `.data` appended; above 2 GB that is done anyway.
        simplify: run onnxslim over the graph (the extra `simplify`).
        int8: also write `path` with `.int8.onnx` as its end, dynamically quantized by ONNX Runtime.

    Raises:
        ExportError: the model can't be exported, the file fails a check, or its numbers differ.
        UsageError: the input shape is wrong or was not found, an option has no meaning, or the file can't be written.
    """
    refuse_existing(Path(path), force=True)
    settings = Settings(
        opset,
        dtype,
        name_list(dynamic),
        name_list(input_names),
        name_list(output_names),
        external_data,
        simplify,
        int8,
    )
    notes: list[str] = []
    if example_input is None:
        guess = input_of(conv, input_shape)
        example_input = guess.value
        if input_shape is None:
            notes.append(f"the input shape was inferred: {guess.reason}")
    try:
        return _Export(conv, settings, list(notes), example_input).to(Path(path))
    except _FixedBatch as error:
        notes.append(str(error))
        return _Export(conv, replace(settings, dynamic=()), notes, example_input).to(Path(path))


class _FixedBatch(Exception):
    """The batch, which would be dynamic if it could, can't: the reason."""


@dataclass
class _Run:
    """One input, and what PyTorch answers to it."""

    inputs: list[torch.Tensor]
    outputs: list[torch.Tensor]


@dataclass
class _Export:
    """One export at work.

    Attributes:
        conv: the converted model.
        settings: what was asked for.
        notes: what users should know.
        given: the example input as it came.
    """

    conv: Conversion
    settings: Settings
    notes: list[str]
    given: Any
    named: Dynamic = field(default_factory=dict)
    wanted: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def to(self, path: Path) -> OnnxExport:
        """Writes the file."""
        self.places = Places(self.conv)
        release_file(self.conv)
        number_type = self.settings.number_type
        compare_type = torch.float32 if number_type == torch.float16 else number_type
        self.reference = shared_copy(self.conv.module, compare_type)
        example = self._example(self.given, compare_type)
        require_running(self.reference, example, self.places)
        self.named = name_axes(self.conv, self.reference, example)
        self.original = example
        example = self._grown(example)
        outputs = self._answer(example)
        if warning := mixed(example, outputs):
            self.notes.append(warning)
        input_names = self._names("input", example, self.settings.input_names)
        output_names = self._names("output", outputs, self.settings.output_names)
        if not output_names:
            raise ExportError("the model returns no tensor, so there is nothing to export")
        self._note_memory()
        module = shared_copy(self.reference, number_type)
        put_stand_ins(module)
        runs, axes = self._plan(example)
        names = [name for name, _ in input_names], [name for name, _ in output_names]
        graph = self._trace(module, example, axes, *names)
        stored = store(graph)
        if self.settings.int8:
            require_quantizable(stored.model)
        describe_file(stored.model, self.conv, input_names, output_names)
        if self.settings.simplify:
            stored = simplify(stored)
        _set_ir_version(stored.model, self.settings.opset)
        check_graph(stored)
        checked = [run for axis, run in runs if not axis or (axis in axes and self._is_wanted(axis, run))]
        worst = self._compare(stored, checked, *names)
        external = self.settings.external_data or stored.size > LARGEST_FILE
        data = write(stored, path, external=external)
        quantized = None
        if self.settings.int8:
            quantized = quantize(
                path, [(one.inputs, one.outputs) for one in checked], names[0], external=data is not None
            )
        return OnnxExport(
            path=path,
            opset=self.settings.opset,
            inputs={value.name: _sizes(value) for value in stored.model.graph.input},
            outputs={value.name: _sizes(value) for value in stored.model.graph.output},
            nodes=_paths(stored.model),
            max_difference=worst,
            batches=self._batches(example, checked, axes),
            runs=tuple(
                {name: tuple(tensor.shape) for name, tensor in zip(names[0], run.inputs, strict=True)}
                for run in checked
            ),
            external=data,
            int8=quantized,
            notes=tuple(self.notes),
        )

    # The input

    def _example(self, value: Any, dtype: torch.dtype | None) -> Any:
        """The input as the graph takes it: floating, or int64 where it holds indices."""
        value = moved(value)
        indexed = {id(tensor) for tensor, _ in indexed_leaves(self.conv, value)}

        def convert(tensor: torch.Tensor) -> torch.Tensor:
            if id(tensor) in indexed or not tensor.is_floating_point():
                return tensor.long()
            return tensor.to(dtype) if dtype else tensor

        return apply(value, convert)

    def _grown(self, example: Any) -> Any:
        """The example with axes of two at least, where they will be dynamic: a size of one tells nothing of others."""
        wanted = ("batch",) if self.settings.dynamic is None else self.settings.dynamic
        alone = {axis: 2 for axis in wanted if sizes_of(example, self.named, axis) == {1}}
        if not alone:
            return example
        grown = resized(example, self.named, alone)
        try:
            ranks = [[tensor.dim() for _, tensor in leaves(self._answer(value))] for value in (example, grown)]
        except Exception:
            return example
        if self.settings.dynamic is None and ranks[0] != ranks[1]:
            self._forbid("batch", "like Torch7, the model drops the batch dimension of a single sample; give it two")
        return grown

    def _names(self, kind: str, value: Any, given: tuple[str, ...] | None) -> list[tuple[str, tuple[int, ...]]]:
        places = [place for place, _ in leaves(value)]
        found = ["_".join([kind, *map(str, place)]) for place in places]
        if given is not None and len(given) != len(found):
            raise UsageError(
                f"the model has {len(found)} {kind}{'s' * (len(found) > 1)} ({', '.join(found)}); "
                f"{', '.join(given)} does not name {'them' if len(found) > 1 else 'it'}"
            )
        return list(zip(given or found, places, strict=True))

    def _answer(self, value: Any) -> Any:
        with torch.no_grad():
            return moved(run(self.reference, moved(value)))

    def _note_memory(self) -> None:
        """Says which layers go on from where they stopped, which a graph can't."""
        with torch.no_grad():
            kept = [
                self.places.layer(name)
                for name, part in self.reference.named_modules()
                if isinstance(part, Remembering) and part.state is not None
            ]
        forget(self.reference)
        if kept:
            self.notes.append(
                f"{kept[0]} remembers its state from one call to the next; the ONNX graph starts anew at each run"
            )

    # The axes

    def _plan(self, example: Any) -> tuple[list[tuple[str, _Run]], list[str]]:
        """What to compare, each with the axis that must be dynamic for it; and the axes that may be."""
        runs = [("", self._run(example))]
        axes = []
        for axis in ("batch",) if self.settings.dynamic is None else self.settings.dynamic:
            if self.settings.dynamic is None and not sizes_of(example, self.named, axis):
                self.notes.append("the batch size is fixed: the inputs have no first dimension in common")
                continue
            freedom = explore(self.reference, example, self.named, axis, self.places)
            if freedom.forbidden:
                self._forbid(axis, freedom.forbidden)
            axes.append(axis)
            self.wanted[axis] = freedom.sizes
            sizes = freedom.sizes if axis != "batch" else freedom.sizes[:1]
            runs += [(axis, self._run(resized(example, self.named, {axis: size}))) for size in sizes]
            if axis == "batch" and (single := self._single(example)) is not None:
                runs.append((axis, single))
        return runs, axes

    def _is_wanted(self, axis: str, run: _Run) -> bool:
        sizes = {run.inputs[number].shape[dim] for (number, dim), name in self.named.items() if name == axis}
        return axis == "batch" or sizes <= set(self.wanted[axis])

    def _forbid(self, axis: str, reason: str) -> NoReturn:
        if self.settings.dynamic is not None:
            raise ExportError(f"the axis {axis!r} can't be dynamic: {reason}")
        size = min(sizes_of(self.original, self.named, axis))
        raise _FixedBatch(f"the batch size is fixed at {size}: {reason}")

    def _run(self, value: Any) -> _Run:
        return _Run([t for _, t in leaves(value)], [t for _, t in leaves(self._answer(value))])

    def _single(self, example: Any) -> _Run | None:
        """A batch of one, with the answer of PyTorch in the sizes that the graph will give; None where unknown.

        Torch7 drops the batch dimension of a single sample in many layers; the graph keeps it.
        """
        batch = min(sizes_of(example, self.named, "batch"))
        whole = [t for _, t in leaves(self._answer(example))]
        first_axis = all(dim == 0 for (_, dim), name in self.named.items() if name == "batch")
        try:
            more = [t for _, t in leaves(self._answer(resized(example, self.named, {"batch": batch + 1})))]
        except Exception:
            return None  # it takes multiples only
        growing = all(
            a.dim() and (a.shape[0], b.shape[0]) == (batch, batch + 1) for a, b in zip(whole, more, strict=True)
        )
        if not first_axis or not growing:
            return None
        single = resized(example, self.named, {"batch": 1})
        rows = [t[:1] for t in whole]
        try:
            answer = [t for _, t in leaves(self._answer(single))]
        except Exception:
            answer = rows
        if [t.numel() for t in answer] == [t.numel() for t in rows]:
            rows = [a.reshape(r.shape) for a, r in zip(answer, rows, strict=True)]
        elif [t.dim() for t in answer] == [t.dim() for t in rows]:
            rows = answer
        else:
            return None
        return _Run([t for _, t in leaves(single)], rows)

    def _trace(
        self, module: nn.Module, example: Any, axes: list[str], input_names: list[str], output_names: list[str]
    ) -> ir.Model:
        """The tidied graph."""
        factors: dict[str, int] = {}
        while True:
            dynamic = {place: name for place, name in self.named.items() if name in axes}
            try:
                graph, symbols = trace(
                    module,
                    self._cast(example),
                    self.places,
                    dynamic=dynamic,
                    wanted=self.wanted,
                    opset=self.settings.opset,
                    input_names=input_names,
                    output_names=output_names,
                    factors=factors,
                )
            except Untraceable as error:
                if error.unsolved and not factors and (factors := self._factors(example, axes)):
                    continue
                # without its axis the model may be traced; what can't be traced at all fails again then
                axis = error.axis or ("batch" if "batch" in axes and self.settings.dynamic is None else None)
                if axis is None:
                    raise
                self._forbid(axis, str(error))
            tidy(graph, symbols, self.places, self.settings.opset)
            if self.settings.number_type is not None:
                narrow(graph, ir.DataType.FLOAT if self.settings.dtype == "float32" else ir.DataType.FLOAT16)
            return graph

    def _factors(self, example: Any, axes: list[str]) -> dict[str, int]:
        """What the sizes of each axis but the batch have in common; only its multiples are wanted from here on."""
        sizes = {axis: min(sizes_of(example, self.named, axis)) for axis in axes if axis != "batch"}
        # where sizes are rounded no factor is left: then the power of two that pooling and unpooling ask for
        common = {axis: math.gcd(size, *self.wanted[axis]) for axis, size in sizes.items()}
        found = {axis: common[axis] if common[axis] > 1 else size & -size for axis, size in sizes.items()}
        factors = {axis: factor for axis, factor in found.items() if factor > 1}
        for axis, factor in factors.items():
            self.wanted[axis] = tuple(size for size in self.wanted[axis] if size % factor == 0)
            self.notes.append(f"in the ONNX graph, {axis} is a multiple of {factor}")
        return factors

    def _cast(self, value: Any) -> Any:
        number_type = self.settings.number_type
        return moved(value, number_type) if number_type is not None else moved(value)

    # The comparison

    def _compare(self, stored: Stored, runs: list[_Run], input_names: list[str], output_names: list[str]) -> float:
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

    def _batches(self, example: Any, runs: list[_Run], axes: list[str]) -> tuple[int, ...]:
        where = next((place for place, name in self.named.items() if name == "batch"), None)
        if where is None:
            return (1,)
        number, dim = where
        return tuple(dict.fromkeys(run.inputs[number].shape[dim] for run in runs))


def _type_of(tensors: list[torch.Tensor]) -> torch.dtype:
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)


def _set_ir_version(model: onnx.ModelProto, opset: int) -> None:
    """The oldest file version that has the opset, so that old programs read the file; 10 at least."""
    model.ir_version = max(10, onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)]))


def _sizes(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_param if dim.HasField("dim_param") else dim.dim_value for dim in dims)


def _paths(model: onnx.ModelProto) -> dict[str, str]:
    return dict(_node_paths(model))


def _node_paths(model: onnx.ModelProto) -> Iterator[tuple[str, str]]:
    for node in model.graph.node:
        for entry in node.metadata_props:
            if entry.key == PATH_KEY:
                yield node.name, entry.value
