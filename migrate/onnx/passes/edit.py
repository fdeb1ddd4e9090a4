"""Small changes to a graph that several passes make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

#: Under it the exporter keeps the names of the modules that a node comes from.
SCOPES = "pkg.torch.onnx.name_scopes"


def constant(value: ir.Value | None) -> np.ndarray[Any, Any] | None:
    """The numbers of a constant; None where it is computed."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return value.const_value.numpy()


def initializer(model: ir.Model, name: str, numbers: np.ndarray[Any, Any]) -> ir.Value:
    """Adds a constant of that name, or of one like it, to the graph."""
    unique, count = name, 1
    while unique in model.graph.initializers:
        unique, count = f"{name}_{count}", count + 1
    tensor = ir.Tensor(np.array(numbers, order="C"), name=unique)
    value = ir.Value(name=unique, shape=ir.Shape(numbers.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    model.graph.register_initializer(value)
    return value


def put_instead(model: ir.Model, node: ir.Node, made: ir.Node) -> None:
    """Replaces a node of one output by another, under its name."""
    made.name, made.metadata_props[SCOPES] = node.name, node.metadata_props.get(SCOPES, "[]")
    old, new = node.outputs[0], made.outputs[0]
    new.name, new.shape, new.type = old.name, old.shape, old.type
    model.graph.insert_before(node, made)
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    model.graph.remove(node, safe=True)


def part_outputs(model: ir.Model, names: Sequence[str]) -> None:
    """Names the outputs; a value that is several of them, or an input too, gets an Identity for each but the first."""
    common.OutputFixPass()(model)
    for value, name in zip(model.graph.outputs, names, strict=True):
        value.name = name
