"""From a module to an ONNX graph by PyTorch's exporter, which tells the layer when it can't."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import opset18
from torch import nn

from ..base.errors import ExportError
from ..base.tensor_trees import leaves, moved
from ..converters.recurrent.steps import forget
from ..model.conversion import Conversion
from .passes.optimize import optimize
from .quiet import quiet
from .runtime import cause

#: Which axes of each tensor of the input may have any size: (number of the tensor, axis) -> name.
Dynamic = dict[tuple[int, int], str]


class Places:
    """The Torch7 layers of the modules of a model, by module name."""

    def __init__(self, conv: Conversion) -> None:
        self.paths: dict[str, str] = {}
        self._typenames = {path: record.typename for record in conv.layers for path in record.paths}
        for path, name in conv.module_names().items():
            self.paths.setdefault(name, path)

    def path(self, name: str) -> str | None:
        """The Torch7 path of the innermost layer that a module belongs to; None if there is none."""
        while name not in self.paths:
            if not name:
                return None
            name = name.rpartition(".")[0]
        return self.paths[name]

    def layer(self, name: str) -> str:
        """The layer as a message names it: `nn.Linear at 3.1`."""
        path = self.path(name)
        return f"{self._typenames[path]} at {path or 'the top'}" if path is not None else "the model"


class Watch:
    """Hooks that see which module runs, and after which one an axis can no longer have the sizes that it should.

    Attributes:
        running: names of the modules that have begun and not ended, the innermost last.
        fixed_by: axis -> the first module that allows only some of its sizes.
    """

    def __init__(self, module: nn.Module) -> None:
        self.running: list[str] = []
        self.fixed_by: dict[str, str] = {}
        self._module = module
        self._handles: list[Any] = []
        self._sizes: dict[str, list[Any]] = {}
        self._seen = 0
        self._dynamic: Dynamic = {}
        self._wanted: Mapping[str, Sequence[int]] = {}

    @contextlib.contextmanager
    def on(self, dynamic: Dynamic, wanted: Mapping[str, Sequence[int]]) -> Iterator[Watch]:
        """Watches while the block runs; each axis should be able to have every wanted size."""
        self._dynamic, self._wanted = dynamic, wanted
        for name, part in self._module.named_modules():
            self._handles.append(part.register_forward_pre_hook(partial(self._before, name)))
            self._handles.append(part.register_forward_hook(partial(self._after, name)))
        try:
            yield self
        finally:
            for handle in self._handles:
                handle.remove()
            self._handles.clear()

    def _before(self, name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not self.running:
            self._symbols_of(args[0])
        self.running.append(name)

    def _after(self, name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self.running.pop()
        self._look(name)

    def _symbols_of(self, value: Any) -> None:
        tensors = [tensor for _, tensor in leaves(value)]
        for (number, dim), axis in self._dynamic.items():
            size: Any = tensors[number].shape[dim]
            if isinstance(size, torch.SymInt):
                self._sizes.setdefault(axis, []).append(size)

    def symbols(self) -> dict[str, str]:
        """What stands for an axis in the traced graph -> the name of the axis."""
        found = {}
        for axis, sizes in self._sizes.items():
            for size in sizes:
                expression = size.node.shape_env.replace(size.node.expr)
                for symbol in expression.free_symbols - {expression}:  # the size is a multiple of it
                    found[str(symbol)] = f"({axis}//{expression / symbol})"
                found[str(expression)] = axis
        return found

    def _look(self, name: str) -> None:
        """Looks whether what the tracer took for granted since the last look holds for all wanted sizes."""
        seen = self._seen
        example = _symbols((size, int(size.node.hint)) for sizes in self._sizes.values() for size in sizes)
        for axis, sizes in self._sizes.items():
            environment = sizes[0].node.shape_env
            self._seen = len(environment.guards)
            conditions = [guard.expr for guard in environment.guards[seen:]]
            wanted = self._wanted.get(axis, ())
            fixed = any(environment.replace(size.node.expr).is_number for size in sizes)
            if axis not in self.fixed_by and (
                fixed
                or not all(
                    # a condition on several axes is asked of one at a time, as the runs that are compared are
                    _holds(condition, example | _symbols((size, n) for size in sizes))
                    for condition in conditions
                    for n in wanted
                )
            ):
                self.fixed_by[axis] = name


def _symbols(numbers: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    """What the symbols in sizes stand for, where the sizes are these numbers."""
    values = {}
    for size, number in numbers:
        for symbol in size.node.expr.free_symbols:
            values[symbol] = number // int(size.node.expr / symbol) if size.node.expr != symbol else number
    return values


def _holds(condition: Any, values: Mapping[Any, int]) -> bool:
    """Is a condition true for these symbols, as far as they tell?"""
    try:
        return str(condition.subs(values)) != "False"
    except (TypeError, ValueError, ArithmeticError):
        return True


class Untraceable(ExportError):
    """The model can't be exported with these dynamic axes.

    Attributes:
        axis: the axis that turned out to be fixed; None: the model can't be exported at all.
        layer: the layer that forbids it.
        unsolved: what the model asks of sizes is too much for the tracer; it may do for multiples of a number.
    """

    unsolved = False

    def __init__(self, message: str, layer: str, axis: str | None = None) -> None:
        super().__init__(message)
        self.axis = axis
        self.layer = layer


def trace(
    module: nn.Module,
    example: Any,
    places: Places,
    *,
    dynamic: Dynamic,
    wanted: Mapping[str, Sequence[int]],
    opset: int,
    input_names: Sequence[str],
    output_names: Sequence[str],
    factors: Mapping[str, int] | None = None,
) -> tuple[ir.Model, dict[str, str]]:
    """The graph of a module.

    Args:
        module: in eval mode.
        example: what it is run on; every dynamic axis of size 2 at least.
        places: its layers.
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
    program, watch = _exported(module, example, places, dynamic, wanted, factors or {})
    if watch.fixed_by:
        raise _fixed(watch, places)
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
        layer = _layer_of_operator(str(error), program, places)
        raise Untraceable(f"{layer} can't be exported to ONNX: {cause(error)}", layer) from error
    return made.model, watch.symbols()


def _exported(
    module: nn.Module,
    example: Any,
    places: Places,
    dynamic: Dynamic,
    wanted: Mapping[str, Sequence[int]],
    factors: Mapping[str, int],
) -> tuple[Any, Watch]:
    forget(module)
    watch = Watch(module)
    free: dict[str, Any] = dict.fromkeys(dynamic.values(), torch.export.Dim.DYNAMIC)
    free |= {axis: factor * torch.export.Dim(f"_{axis}") for axis, factor in factors.items()}
    try:
        with (
            quiet(),
            torch.no_grad(),
            watch.on(dynamic, wanted),
            _sizes_may_be_one(),
        ):
            shapes = _sizes(example, dynamic, free)
            return torch.export.export(module, (moved(example),), dynamic_shapes=(shapes,)), watch
    except Exception as error:
        failure = _untraceable(error, watch, places)
        failure.unsolved = isinstance(error, NotImplementedError) and not watch.running
        raise failure from error


def _sizes_may_be_one() -> Any:
    """Lets the tracer take nothing for granted of a dynamic size because it is not 1 in the example."""
    config: Any = torch.fx.experimental._config
    return config.patch(backed_size_oblivious=True)


def _sizes(example: Any, dynamic: Dynamic, free: Mapping[str, Any]) -> Any:
    """What torch.export takes as dynamic_shapes."""

    def size(number: int, value: Any) -> Any:
        return {dim: free[axis] for (i, dim), axis in dynamic.items() if i == number} or None

    return numbered(example, size)


def numbered(value: Any, change: Callable[[int, Any], Any], numbers: Iterator[int] | None = None) -> Any:
    """The same nesting with `change` applied to each leaf and its number, as `leaves` counts them."""
    numbers = count() if numbers is None else numbers
    if isinstance(value, (list, tuple)):
        return [numbered(item, change, numbers) for item in value]
    if isinstance(value, dict):
        made = {key: numbered(value[key], change, numbers) for key in sorted(value, key=str)}
        return {key: made[key] for key in value}
    return change(next(numbers), value) if isinstance(value, (torch.Tensor, bool, int, float)) else None


def _masked_select(x: Any, mask: Any) -> Any:
    """The elements that a mask of the same size selects."""
    flat: Any = opset18.Constant(value_ints=[-1])
    return opset18.Compress(x, opset18.Reshape(mask, flat))


def _untraceable(error: Exception, watch: Watch, places: Places) -> Untraceable:
    if watch.fixed_by:
        return _fixed(watch, places)
    layer = places.layer(watch.running[-1] if watch.running else "")
    return Untraceable(f"{layer} can't be exported to ONNX: {cause(error)}", layer)


def _fixed(watch: Watch, places: Places) -> Untraceable:
    axis, name = next(iter(watch.fixed_by.items()))
    layer = places.layer(name)
    return Untraceable(f"{layer} fixes the size of the axis {axis!r}", layer, axis)


def _layer_of_operator(text: str, program: Any, places: Places) -> str:
    """The layer that needs the operator that an error of the exporter names."""
    wanted = re.findall(r"op='([\w.:]+)'", text) + re.findall(r"OpOverload\(([\w.]+)\)", text)
    for node in program.graph.nodes:
        target = str(node.target)
        if any(target.startswith(operator) for operator in wanted):
            stack = node.meta.get("nn_module_stack") or {}
            names = [entry[0] for entry in stack.values()]
            if names:
                return places.layer(names[-1])
    return "the model"
