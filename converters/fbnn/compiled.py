"""Layers of facebook/fbnn and facebook/fbcunn that compute in C++ or CUDA, of which the Lua says no numbers."""

from __future__ import annotations

from torch import nn

from ...model.layer import Layer
from ...model.registry import converts


@converts("nn.CachingLookupTable", "nn.CrossMapNormalization", "nn.DifferenceOfGaussian", "nn.FasterLookup")
@converts("nn.GroupKMaxPooling", "nn.KMaxPooling", "nn.LaplacianOfGaussian", "nn.LocallyConnected")
@converts("nn.SparseNLLCriterion", "nn.TemporalKMaxPooling")
def compiled(layer: Layer) -> nn.Module:
    """nn.LocallyConnected(nInputPlane, iW, iH, nOutputPlane, kW, kH, [dW], [dH])

    Not converted, nor are the other layers of facebook/fbnn and facebook/fbcunn that compute in C++ or CUDA: no Torch7
    of today runs them, so no number of theirs can be compared.
    """
    name = layer.typename
    layer.refuse(
        "facebook/fbnn and fbcunn compute it in C++ or CUDA, which no Torch7 of today runs, so no number of it can be "
        f"compared; if you know that it equals another class, --alias {name}=nn.… converts it as that"
    )
