"""onnxscript's optimizer, without those of its rules that change numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer, rewriter
from onnxscript.rewriter.rules import common as rules

from .edit import part_outputs

#: The rules of onnxscript that leave numbers as they are. What its rules for `x * 1` and `x + 0` find equal to 1 or 0
#: may be 1.00001 or 1e-12: an epsilon that keeps a division from 0 would go.
_RULES = (
    rules.two_reshapes_matmul_reshape_rule,
    rules.one_reshape_matmul_reshape_rule,
    rules.cast_constant_of_shape_rule,
    rules.cast_constant_of_shape_without_value_rule,
    rules.collapse_slice_rule,
    rules.collapse_slice2_rule,
    rules.materialize_reshape_shape_rule,
    rules.min_min_rule,
    rules.max_max_rule,
    rules.min_max_rule,
    rules.max_min_rule,
    rules.successive_clip_relu_rule,
    rules.successive_relu_clip_rule,
    rules.successive_relu_rule,
    rules.successive_clip_rule,
    rules.cast_cast_rule,
    rules.no_op_cast_rule,
    rules.no_op_expand_rule,
    rules.flatten_to_reshape_rule,
    rules.reshape_reshape_rule,
    rules.slice_split_rule,
    rules.no_op_transpose_rule,
    rules.transpose_transpose_rule,
    rules.unsqueeze_unsqueeze_rule,
    rules.squeeze_reshape_1d_rule,
    rules.no_op_dynamic_scatter_nd_rule,
    rules.no_op_static_scatter_nd_rule,
    rules.normalize_pad_format_conv_rule,
    rules.fuse_pad_into_conv_rule,
    rules.fuse_batchnorm_into_conv_rule,
    rules.fuse_batchnorm_into_conv_transpose_rule,
    rules.fuse_batchnorm_into_gemm_rule,
    rules.remove_optional_bias_from_conv_rule,
    rules.remove_optional_bias_from_conv_transpose_rule,
    rules.remove_optional_bias_from_gemm_rule,
)


def optimize(model: ir.Model, input_names: Sequence[str], output_names: Sequence[str]) -> None:
    """Folds constants, fuses operators, removes what has no effect, and names inputs and outputs, in place."""
    round_of_passes = ir.passes.PassManager(
        [
            _FoldConstants(),
            _RemoveNoOps(),
            rewriter.RewritePass(_RULES),
            common.RemoveUnusedNodesPass(),
            common.RemoveUnusedOpsetsPass(),
        ],
        steps=2,
        early_stop=True,
    )
    passes = ir.passes.Sequential(
        common.InlinePass(),
        round_of_passes,
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.LiftSubgraphInitializersToMainGraphPass(),
        common.CommonSubexpressionEliminationPass(),
    )
    passes(model)
    part_outputs(model, output_names)
    for value, name in zip(model.graph.inputs, input_names, strict=True):
        value.name = name
    common.NameFixPass()(model)


class _FoldConstants(ir.passes.InPlacePass):
    def call(self, model: ir.Model) -> ir.passes.PassResult:
        return ir.passes.PassResult(model, optimizer.fold_constants_ir(model, onnx_shape_inference=True).modified)


class _RemoveNoOps(ir.passes.InPlacePass):
    """Removes sums with exactly 0 and products with exactly 1 that leave type and sizes as they are."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        changed = False
        for node in list(model.graph):
            if node.op_type in _NEUTRAL and (kept := _untouched(node)) is not None:
                node.outputs[0].replace_all_uses_with(kept)
                model.graph.remove(node, safe=True)
                changed = True
        return ir.passes.PassResult(model, modified=changed)


#: The number that leaves the other operand as it is, and whether it may come first.
_NEUTRAL = {"Add": (0, True), "Sub": (0, False), "Mul": (1, True), "Div": (1, False)}


def _untouched(node: ir.Node) -> ir.Value | None:
    """The operand that a node gives on as it is."""
    number, either = _NEUTRAL[node.op_type]
    pairs = [(node.inputs[0], node.inputs[1]), *([(node.inputs[1], node.inputs[0])] if either else [])]
    for kept, other in pairs:
        constant = None if other is None else ir.convenience.get_const_tensor(other)
        if kept is None or constant is None or node.outputs[0].is_graph_output() or constant.size > 1:
            continue
        if bool((constant.numpy() == np.array(number)).all()) and len(constant.shape) == 0:
            return kept
    return None
