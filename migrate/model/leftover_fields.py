"""Fields that runs and training leave behind in modules, and that say nothing about what these compute."""

from __future__ import annotations

from ..t7 import LuaObject

# fmt: off
#: What a forward or backward pass leaves in any module, and `clearState()` takes away.
_ACTIVATIONS = frozenset((
    "output", "gradInput", "_input", "_gradOutput", "_output", "_gradInput", "finput", "fgradInput", "buffer",
    "_buffer", "addBuffer", "gradInputBuffer", "save_mean", "save_std", "ones", "algWorkspace", "workspace",
))

#: What a pass leaves in modules of some classes, while in others these fields say what is computed.
_ACTIVATIONS_OF_SOME = frozenset((
    "buffer2", "cell", "cells", "centered", "columns", "gradCells", "gradInputs", "gradOutput", "gradOutputs", "hidden",
    "indices", "input", "noise", "normalized", "output_tensor", "outputs", "sharedClones", "std", "target",
    "total_weight_tensor", "xSource",
))

#: All that a run may leave, and `clearState()` takes away.
RECORDED = _ACTIVATIONS | _ACTIVATIONS_OF_SOME

#: All that says nothing about what a module computes, whatever its class. What else a class leaves behind is ignored
#: by its converter.
LEFTOVERS = _ACTIVATIONS | frozenset((
    "gradWeight", "gradBias", "_type", "train", "_weight", "_gradWeight", "iSize", "oSize", "accUpdateGradParameters",
    "shared",
    # a name given by the author, and by which key of a script's table gradInput is shared in training
    "name", "__shareGradInputKey",
    # what nn.hessian keeps
    "diagHessianInput", "diagHessianWeight", "diagHessianBias", "inputSq", "weightSq", "biasSq",
    # dpnn's
    "dpnn_online", "dpnn_parameters", "dpnn_gradParameters", "dpnn_mediumEmpty", "dpnn_serialEmpty", "dpnn_serialType",
    "dpnn_typename", "maxOutNorm", "maxInNorm",
    # cudnn's descriptors and choices of algorithm
    "fmode", "bwmode", "bdmode", "algType", "wDesc", "biasDesc", "convDesc", "convDescData", "iDesc", "oDesc",
    "oDescForBias", "oSizeForBias", "iDescBias", "poolDesc", "sDesc", "nElem", "input_offset", "output_offset",
    "weight_offset",
))
# fmt: on


def author_name(obj: LuaObject) -> str:
    """The name that its author, or loadcaffe, gave a module; "" if it has none."""
    name = obj.get("name")
    return name if isinstance(name, str) else ""
