"""Calls of layers of torch.nn that take or give something else than the Torch7 layers that they stand for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ..check import same
from ..constructors import constructor_of
from ..expressions import Value, Variable, is_tensors, is_unknown, python
from ..forms import results, stock_layer
from ..scopes import Scope, Statement, examples_of, module_call


def call_embedding(module: nn.Module, value: Variable, scope: Scope) -> Value | None:
    """The rows of a nn.Embedding, which counts from 0; None if there is none."""
    layer = stock_layer("embedding", module)
    if layer is None:
        return None
    rows = scope.assign(python("x.long() - 1", x=value), tuple(v.long() - 1 for v in value.values))
    return scope.call(constructor_of(layer), rows, Variable(results(layer, rows)), "embedding")


def call_recurrent(module: nn.Module, value: Variable, scope: Scope, run: Callable[..., Variable]) -> Variable | None:
    """A call of a recurrent layer of torch.nn, whose last state nobody reads; None if its numbers are others.

    Args:
        module: a recurrent layer of Torch7, or another module.
        value: its input.
        scope: gets the call.
        run: gives what a module makes of inputs.
    """
    layer = stock_layer("recurrent", module)
    if layer is None or not (value.shapes or is_unknown(value)):
        return None
    tried = value if value.values else Variable(_sequences(layer))
    outputs = tuple(output for output, _ in results(layer, tried))
    if not all(same(a, b) for a, b in zip(outputs, run(module, tried.values).values, strict=True)):
        return None
    outputs = outputs if value.values else ()
    attribute = scope.attribute(constructor_of(layer), type(layer).__name__.lower())
    out = Variable(outputs)
    scope.statements.append(Statement([out, Variable()], module_call(attribute, value)))
    return out


def call_sized(module: nn.Module, value: Value, scope: Scope, run: Callable[..., Variable]) -> Variable | None:
    """A call of a layer of torch.nn with its input, and the size that its output has from another tensor.

    Args:
        module: a layer of Torch7, or another module.
        value: its input and the other tensor.
        scope: gets the call.
        run: gives what a module makes of inputs.
    """
    if not (is_tensors(value) and len(value) == 2) or (layer := stock_layer("sized", module)) is None:
        return None
    attribute = scope.attribute(constructor_of(layer), "deconv")
    call = python(f"self.{attribute}(x, y.shape[n:])", x=value[0], y=value[1], n=-len(layer.kernel_size))
    return scope.assign(call, run(module, examples_of(value)).values)


def _sequences(layer: nn.RNNBase) -> tuple[torch.Tensor, ...]:
    """Two inputs of a recurrent layer, to see what it makes of them."""
    kind = next(layer.parameters()).dtype
    return tuple(torch.randn(*sizes, layer.input_size, dtype=kind) for sizes in ((3, 2), (4, 3)))
