"""Sequences that are taken apart into steps and put together again at once: as they were before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .edit import SCOPES, constant, initializer, put_instead


@dataclass(frozen=True)
class _Step:
    """One entry of a value along one of its axes."""

    source: ir.Value
    axis: int
    index: int


def rejoin(model: ir.Model) -> None:
    """Replaces the joined steps of a sequence by the sequence, its axis moved or its order turned where theirs are."""
    for node in list(model.graph):
        if node.op_type == "Concat" and not node.outputs[0].is_graph_output():
            _rejoin(model, node, node.attributes.get_int("axis", 0))


def _rejoin(model: ir.Model, node: ir.Node, axis: int) -> None:
    steps = [_step(value, axis) for value in node.inputs]
    first = steps[0]
    shape = None if first is None else first.source.shape
    if first is None or shape is None:
        return
    source = first.source
    forward = [_Step(source, first.axis, index) for index in range(len(steps))]
    if shape[first.axis] != len(steps) or axis < 0 or steps not in (forward, forward[::-1]):
        return
    made = []
    if steps != forward:
        made.append(ir.node("Slice", [source, *_backwards(model, node, first.axis)], name=f"{node.name}.turned"))
    if first.axis != axis:
        order = [dim for dim in range(len(shape)) if dim != first.axis]
        order.insert(axis, first.axis)
        made.append(ir.node("Transpose", [made[0].outputs[0] if made else source], {"perm": order}))
    if not made:
        node.outputs[0].replace_all_uses_with(source)
        model.graph.remove(node, safe=True)
        return
    if len(made) == 2:
        turned = made[0].outputs[0]
        turned.name, turned.shape, turned.type = f"{node.name}.turned_out", shape, source.type
        made[0].metadata_props[SCOPES] = node.metadata_props.get(SCOPES, "[]")
        model.graph.insert_before(node, made[0])
    put_instead(model, node, made[-1])


def _backwards(model: ir.Model, node: ir.Node, axis: int) -> list[ir.Value]:
    """The inputs of a Slice that turns an axis round: from where, to where, the axis, in which steps."""
    limits = [("starts", -1), ("ends", np.iinfo(np.int64).min), ("axes", axis), ("steps", -1)]
    return [initializer(model, f"{node.name}.{name}", np.array([number], np.int64)) for name, number in limits]


def _step(value: ir.Value | None, axis: int) -> _Step | None:
    """The step that a value is, with an axis of size one where the steps are joined; None if it is none."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "Unsqueeze" or _number(node.inputs[1]) != axis or node.inputs[0] is None:
        return None
    taken = node.inputs[0].producer()
    if taken is None or taken.inputs[0] is None:
        return None
    if taken.op_type == "Gather":
        index = _number(taken.inputs[1])
        alone = constant(taken.inputs[1])
        if index is None or alone is None or alone.ndim:
            return None
        return _counted(taken.inputs[0], taken.attributes.get_int("axis", 0), index)
    sliced = taken.inputs[0].producer() if taken.op_type == "Squeeze" and len(taken.inputs) == 2 else None
    if sliced is None or sliced.op_type != "Slice" or len(sliced.inputs) < 4 or sliced.inputs[0] is None:
        return None
    start, end, along = (_number(part) for part in sliced.inputs[1:4])
    step = _number(sliced.inputs[4]) if len(sliced.inputs) > 4 else 1
    if start is None or end != start + 1 or along is None or along != _number(taken.inputs[1]) or step != 1:
        return None
    return _counted(sliced.inputs[0], along, start)


def _counted(source: ir.Value, axis: int, index: int) -> _Step | None:
    """A step whose axis and index count from the beginning."""
    if source.shape is None:
        return None
    axis %= len(source.shape)
    size = source.shape[axis]
    return _Step(source, axis, index % size) if isinstance(size, int) and -size <= index < size else None


def _number(value: ir.Value | None) -> int | None:
    """A constant of one number; None if it is none."""
    found = constant(value)
    return int(found.reshape(())) if found is not None and found.size == 1 else None
