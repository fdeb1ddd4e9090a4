"""onnxscript's optimizer, without those of its rules that change numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import rewriter
from onnxscript.optimizer import _constant_folding
from onnxscript.rewriter.rules.common import _no_op

from .edit import part_outputs

#: What these find equal to 0 or 1 may be 1e-12 or 1.00001: an epsilon that keeps a division from 0 would go.
_INEXACT = tuple(_no_op.rules)


def optimize(model: ir.Model, input_names: Sequence[str], output_names: Sequence[str]) -> None:
    """Folds constants, fuses operators, removes what has no effect, and names inputs and outputs, in place."""
    rules = [rule for rule in rewriter._DEFAULT_REWRITE_RULES if rule not in _INEXACT]
    folding: Any = _constant_folding.FoldConstantsPass(
        shape_inference=True,
        input_size_limit=_constant_folding.DEFAULT_CONSTANT_FOLD_INPUT_SIZE_LIMIT,
        output_size_limit=_constant_folding.DEFAULT_CONSTANT_FOLD_OUTPUT_SIZE_LIMIT,
    )
    round_of_passes = ir.passes.PassManager(
        [
            folding,
            _RemoveNoOps(),
            rewriter.RewritePass(rules),
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
