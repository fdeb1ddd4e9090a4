"""From a module to an ONNX graph by PyTorch's exporter, which tells the layer when it can't."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import opset18
from torch import nn

from ...base.errors import ExportError
from ...base.messages import cause
from ...base.tensor_trees import moved, numbered
from ...model.recurrent_state import forget
from ..layer_watch import Dynamic, LayerNames, Watch
from ..passes.optimize import optimize
from ..quiet_exporter import quiet


class Untraceable(ExportError):
    """The model can't be exported with these dynamic axes.

    Attributes:
        axis: the axis that turned out to be fixed; None: the model can't be exported at all.
        fixed: all such axes, as far as the model was traced.
        unsolved: what the model asks of sizes is too much for the tracer; it may do for multiples of a number.
    """

    axis: str | None = None
    fixed: tuple[str, ...] = ()
    unsolved = False


def trace(
    module: nn.Module,
    example: Any,
    layers: LayerNames,
    *,
    dynamic: Dynamic,
    wanted: Mapping[str, Sequence[int]],
    opset: int,
    input_names: Sequence[str],
    output_names: Sequence[str],
    factors: Mapping[str, int],
) -> tuple[ir.Model, dict[str, str]]:
    """The graph of a module.

    Args:
        module: in eval mode.
        example: what it is run on; every dynamic axis of size 2 at least.
        layers: its layers.
        dynamic: axes of free size.
        wanted: sizes that each of them should be able to have.
        opset: of the graph.
        input_names: one for each tensor of the input.
        output_names: one for each tensor of the output.
        factors: axes that have only sizes that are multiples of a number.

    Returns:
        The graph, and the names of axes by the symbols that stand for them in it.

    Raises:
        Untraceable: it can't be exported; the message names the layer.
    """
    forget(module)
    watch = Watch(module)
    free: dict[str, Any] = dict.fromkeys(dynamic.values(), torch.export.Dim.DYNAMIC)
    free |= {axis: factor * torch.export.Dim(f"_{axis}") for axis, factor in factors.items()}

    def sizes(number: int, value: Any) -> Any:
        return {dim: free[axis] for (i, dim), axis in dynamic.items() if i == number} or None

    config: Any = torch.fx.experimental._config
    # the tracer may take nothing for granted of a dynamic size because it is not 1 in the example
    one_may_come = config.patch(backed_size_oblivious=True)
    try:
        with quiet(), torch.no_grad(), watch.on(dynamic, wanted), one_may_come:
            shapes = numbered(example, sizes)
            program = torch.export.export(module, (moved(example),), dynamic_shapes=(shapes,))
    except Exception as error:
        layer = layers.layer(watch.running[-1] if watch.running else "")
        failure = _fixed(watch, layers) or Untraceable(f"{layer} can't be exported to ONNX: {cause(error)}")
        failure.unsolved = isinstance(error, NotImplementedError) and not watch.running
        raise failure from error
    if fixed := _fixed(watch, layers):
        raise fixed
    try:
        with quiet():
            made: Any = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                custom_translation_table={torch.ops.aten.masked_select.default: _masked_select},
                verbose=False,
                optimize=False,
            )
            optimize(made.model, input_names, output_names)
    except Exception as error:
        layer = _layer_of_operator(str(error), program, layers)
        raise Untraceable(f"{layer} can't be exported to ONNX: {cause(error)}") from error
    return made.model, watch.symbols()


def _masked_select(x: Any, mask: Any) -> Any:
    """The elements that a mask of the same size selects."""
    flat: Any = opset18.Constant(value_ints=[-1])
    return opset18.Compress(x, opset18.Reshape(mask, flat))


def _fixed(watch: Watch, layers: LayerNames) -> Untraceable | None:
    """Why the axis that was fixed first can't be of free size; None if all can."""
    for axis, name in watch.fixed_by.items():
        error = Untraceable(f"{layers.layer(name)} fixes the size of the axis {axis!r}")
        error.axis, error.fixed = axis, tuple(watch.fixed_by)
        return error
    return None


def _layer_of_operator(text: str, program: Any, layers: LayerNames) -> str:
    """The layer that needs the operator that an error of the exporter names."""
    wanted = re.findall(r"op='([\w.:]+)'", text) + re.findall(r"OpOverload\(([\w.]+)\)", text)
    # the exporter takes operators apart: aten.special_bessel_j0 becomes prims.bessel_j0
    ends = tuple(name.removesuffix(".default").rpartition(".")[2] for name in wanted)
    for node in program.graph.nodes:
        target = str(node.target)
        if target.startswith(tuple(wanted)) or target.removesuffix(".default").endswith(ends):
            stack = node.meta.get("nn_module_stack") or {}
            names = [entry[0] for entry in stack.values()]
            if names:
                return layers.layer(names[-1])
    return "the model"
