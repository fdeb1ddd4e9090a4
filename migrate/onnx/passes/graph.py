"""Passes that make an exported graph plain: one operator where several stand, no leftovers of the exporter."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from ...base.errors import ExportError
from ..layer_watch import LayerNames
from .edit import SCOPES, constant, initializer, part_outputs, put_instead
from .resize import resize_by_factors
from .sequences import rejoin

#: Metadata key under which each node keeps the Torch7 path of its layer.
PATH_KEY = "torchmigrate.torch7_path"

#: Operators whose second input is indices along an axis.
_INDEXED = ("Gather", "GatherElements")


def tidy(model: ir.Model, axes: Mapping[str, str], layers: LayerNames, opset: int) -> None:
    """Runs every pass.

    Args:
        model: as the exporter made it; it is changed.
        axes: names of axes, by the symbols that stand for them.
        layers: the layers of the model.
        opset: that was asked for.

    Raises:
        ExportError: the exporter made another opset, or used operators that are not standard ONNX.
    """
    _require_standard(model, opset)
    _name_axes(model, axes)
    outputs = [str(value.name) for value in model.graph.outputs]
    fold_affine(model)
    simple_thresholds(model)
    rejoin(model)
    resize_by_factors(model)
    _pad_instead_of_ceil(model)
    guard_indices(model)
    _spell_out(model)
    common.IdentityEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
    part_outputs(model, outputs)  # dropout and the like have given way to what they were fed, which may be an output
    common.NameFixPass()(model)
    _share_equal_weights(model)
    _keep_paths(model, layers)


def _require_standard(model: ir.Model, opset: int) -> None:
    if foreign := sorted({node.domain for node in model.graph if node.domain}):
        raise ExportError(f"the graph uses operators that are not standard ONNX, from {', '.join(foreign)}")
    made = model.opset_imports.get("", 0)
    if made != opset:
        raise ExportError(f"opset {opset} was asked for, the exporter made {made}. Try --opset 20.")
    model.opset_imports.clear()
    model.opset_imports[""] = opset
    model.functions.clear()


def _name_axes(model: ir.Model, axes: Mapping[str, str]) -> None:
    if not axes:
        return
    longest_first = sorted(axes, key=len, reverse=True)
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, longest_first)) + r")\b")

    def name(match: re.Match[str]) -> str:
        return axes[match.group()]

    def named(size: str | None) -> str | None:
        return None if size is None else re.sub(r"\((\([^()]*\))\)", r"\1", pattern.sub(name, size))

    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    for value in values:
        if value.shape is not None:
            value.shape = ir.Shape([size if isinstance(size, int) else named(size.value) for size in value.shape])


def narrow(model: ir.Model, dtype: ir.DataType) -> None:
    """Lets everything that is float64 be of another type: what layers make of nothing is of Torch7's default type."""
    for value in model.graph.initializers.values():
        if value.dtype == ir.DataType.DOUBLE and value.const_value is not None:
            numbers = value.const_value.numpy().astype(dtype.numpy())
            value.const_value = ir.Tensor(numbers, name=value.name)
            value.type = ir.TensorType(dtype)
    for node in model.graph:
        for name, attribute in list(node.attributes.items()):
            if attribute.type == ir.AttributeType.INT and name in ("to", "dtype"):
                if attribute.as_int() == ir.DataType.DOUBLE:
                    node.attributes[name] = ir.AttrInt64(name, int(dtype))
            elif attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == ir.DataType.DOUBLE:
                numbers = attribute.as_tensor().numpy().astype(dtype.numpy())
                node.attributes[name] = ir.AttrTensor(name, ir.Tensor(numbers))
        for value in node.outputs:
            if value.dtype == ir.DataType.DOUBLE:
                value.type = ir.TensorType(dtype)


def _only_user(value: ir.Value) -> ir.Node | None:
    uses = value.uses()
    return next(iter(uses)).node if len(uses) == 1 and not value.is_graph_output() else None


def fold_affine(model: ir.Model) -> None:
    """Folds a product with, or a sum of, one constant per plane into the convolution or matrix product before it."""
    for node in list(model.graph):
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        while (user := _only_user(node.outputs[0])) is not None and user.op_type in ("Mul", "Add"):
            other = user.inputs[1] if user.inputs[0] is node.outputs[0] else user.inputs[0]
            weight, vector = constant(node.inputs[1]), _per_plane(node, other)
            bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
            if weight is None or vector is None or (len(node.inputs) > 2 and node.inputs[2] and bias is None):
                break
            before = np.zeros_like(vector) if bias is None else bias
            if user.op_type == "Mul":
                if not np.isfinite(vector).all():
                    break
                along = [1] * weight.ndim
                along[0 if node.op_type == "Conv" else 1] = -1
                _replace_input(model, node, 1, weight * vector.reshape(along), "scaled")
                before = before * vector
            else:
                before = before + vector
            _replace_input(model, node, 2, before, "bias")
            user.outputs[0].replace_all_uses_with(node.outputs[0], replace_graph_outputs=True)
            node.outputs[0].shape = user.outputs[0].shape
            model.graph.remove(user, safe=True)


def _per_plane(node: ir.Node, value: ir.Value | None) -> np.ndarray[Any, Any] | None:
    """A constant as one number per plane of a convolution; None if it is none."""
    numbers, shape = constant(value), node.outputs[0].shape
    groups = node.attributes.get_int("group", 1)
    if numbers is None or shape is None or not isinstance(shape[1], int):
        return None
    if node.op_type == "ConvTranspose" and groups != 1:
        return None
    planes, rank = shape[1], len(shape)
    if numbers.size == 1 and numbers.ndim <= rank:
        return np.full(planes, numbers.reshape(())[()], numbers.dtype)
    sizes = (1,) * (rank - numbers.ndim) + numbers.shape
    return numbers.reshape(-1) if sizes == (1, planes, *(1,) * (rank - 2)) else None


def _replace_input(model: ir.Model, node: ir.Node, place: int, numbers: np.ndarray[Any, Any], name: str) -> None:
    if len(node.inputs) <= place:
        node.resize_inputs(place + 1)
    node.replace_input_with(place, initializer(model, f"{node.name}.{name}", numbers))


def simple_thresholds(model: ir.Model) -> None:
    """Makes `x <= c ? c : x` a Relu or a Max: what nn.Threshold(c, c) is."""
    for node in list(model.graph):
        if node.op_type != "Where" or node.inputs[0] is None:
            continue
        test = node.inputs[0].producer()
        if test is None or test.op_type != "LessOrEqual" or test.inputs[0] is not node.inputs[2]:
            continue
        limit, value = constant(test.inputs[1]), constant(node.inputs[1])
        if limit is None or value is None or limit.size != 1 or limit.reshape(()) != value.reshape(-1)[0]:
            continue
        if value.size != 1:
            continue
        x = node.inputs[2]
        made = ir.node("Relu", [x]) if not limit.any() else ir.node("Max", [x, node.inputs[1]])
        put_instead(model, node, made)


def guard_indices(model: ir.Model) -> None:
    """Lets an index below 1 fail: less one it is negative, and ONNX would count it from the end."""
    for node in list(model.graph):
        if node.op_type not in _INDEXED or node.inputs[1] is None or node.inputs[0] is None:
            continue
        less = node.inputs[1].producer()
        shape = node.inputs[0].shape
        rows = None if shape is None else shape[node.attributes.get_int("axis", 0)]
        if less is None or not isinstance(rows, int) or not _is_less_one(less):
            continue
        one = less.inputs[1]
        beyond = initializer(model, f"{node.name}.beyond", np.array(rows, np.int64))
        low = ir.node("Less", [less.inputs[0], one], name=f"{node.name}.low")
        guarded = ir.node("Where", [low.outputs[0], beyond, less.outputs[0]], name=f"{node.name}.guarded")
        for made, dtype in ((low, ir.DataType.BOOL), (guarded, ir.DataType.INT64)):
            made.metadata_props[SCOPES] = node.metadata_props.get(SCOPES, "[]")
            made.outputs[0].name, made.outputs[0].shape = f"{made.name}_out", less.outputs[0].shape
            made.outputs[0].type = ir.TensorType(dtype)
        model.graph.insert_before(node, [low, guarded])
        node.replace_input_with(1, guarded.outputs[0])


def _is_less_one(node: ir.Node) -> bool:
    one = constant(node.inputs[1]) if node.op_type == "Sub" else None
    return one is not None and one.dtype == np.int64 and one.size == 1 and one.reshape(-1)[0] == 1


def _pad_instead_of_ceil(model: ir.Model) -> None:
    """Gives max pooling of fixed sizes its padding in place of ceil_mode, which ONNX and PyTorch read differently."""
    for node in model.graph:
        given, made = node.inputs[0] and node.inputs[0].shape, node.outputs[0].shape
        if node.op_type != "MaxPool" or not node.attributes.get_int("ceil_mode", 0) or not given or not made:
            continue
        before, after = [list(shape)[2:] for shape in (given, made)]
        if not all(isinstance(size, int) for size in (*before, *after)):
            continue
        axes = len(before)
        kernel = node.attributes.get_ints("kernel_shape", ())
        stride, dilation = (node.attributes.get_ints(name, [1] * axes) for name in ("strides", "dilations"))
        start = list(node.attributes.get_ints("pads", [0] * 2 * axes))[:axes]
        sizes = zip(before, after, kernel, stride, dilation, start, strict=True)
        end = [max(0, (out - 1) * s + d * (k - 1) + 1 - n - p) for n, out, k, s, d, p in sizes]
        node.attributes["pads"] = ir.AttrInt64s("pads", [*start, *end])
        node.attributes["ceil_mode"] = ir.AttrInt64("ceil_mode", 0)


def _spell_out(model: ir.Model) -> None:
    """Writes what other programs than ONNX Runtime read otherwise (OpenCV does) in the way that all read alike."""
    for node in model.graph:
        if node.op_type == "ConstantOfShape" and "value" not in node.attributes:
            node.attributes["value"] = ir.AttrTensor("value", ir.tensor(np.zeros(1, np.float32)))
        if node.op_type == "AveragePool" and not any(node.attributes.get_ints("pads", ())):
            # without padding there is nothing to include, but for the end of windows that ceil_mode adds
            node.attributes.pop("count_include_pad", None)


def _share_equal_weights(model: ir.Model) -> None:
    """Keeps one of several equal initializers. onnx_ir's pass does the same, but copies each to look at it."""
    first: dict[tuple[Any, ...], ir.Value] = {}
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or value.is_graph_output():
            continue
        numbers = np.ascontiguousarray(tensor.numpy())
        digest = hashlib.sha256(numbers.reshape(-1).view(np.uint8).data).digest()
        kept = first.setdefault((tensor.dtype, tuple(tensor.shape.numpy()), digest), value)
        if kept is not value:
            value.replace_all_uses_with(kept)
            del model.graph.initializers[name]


def _keep_paths(model: ir.Model, layers: LayerNames) -> None:
    """Keeps of each node's metadata only the Torch7 path of its layer."""
    for node in model.graph:
        scopes = re.findall(r"'([^']*)'|\"([^\"]*)\"", node.metadata_props.get(SCOPES, ""))
        names = [first or second for first, second in scopes if (first or second) in layers.paths]
        node.metadata_props.clear()
        node.doc_string = None
        if names:
            node.metadata_props[PATH_KEY] = layers.paths[names[-1]]
    _inherit_paths(model)
    made = [value for node in model.graph for value in node.outputs]
    for value in [*model.graph.inputs, *model.graph.initializers.values(), *made]:
        value.metadata_props.clear()
        value.doc_string = None
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.doc_string = model.graph.doc_string = None


def _inherit_paths(model: ir.Model) -> None:
    """Gives nodes that the exporter made by itself the path of the node that they feed, or come from."""
    for node in reversed(list(model.graph)):
        if PATH_KEY not in node.metadata_props:
            users = [use.node for value in node.outputs for use in value.uses()]
            _inherit(node, users)
    for node in model.graph:
        if PATH_KEY not in node.metadata_props:
            _inherit(node, [p for value in node.inputs if value and (p := value.producer()) is not None])
            node.metadata_props.setdefault(PATH_KEY, "")


def _inherit(node: ir.Node, others: list[ir.Node]) -> None:
    found = next((other.metadata_props[PATH_KEY] for other in others if PATH_KEY in other.metadata_props), None)
    if found is not None:
        node.metadata_props[PATH_KEY] = found
