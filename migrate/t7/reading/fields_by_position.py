"""How classes of nn and nnx wrote themselves in 2011: field after field, each at its place, without names.

Until August 2011 every class had a `write` of its own. In September nn.Module wrote one table of all fields, and some
classes still wrote theirs after it; those of nnx did so until November. Nothing in a file says which it is, so the
reader tries these forms when it can't read a file in the usual one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from ..bodies import Body, Field

#: The classes of nn that have no fields of their own.
_BARE = (
    "Abs CAddTable CDivTable CMulTable CSubTable Copy CosineDistance DotProduct Exp HardShrink HardTanh Identity "
    "LogSoftMax Sigmoid SoftMax SoftPlus SoftShrink Sqrt Square Tanh"
)
#: class: its parent, whose fields come first, and its own fields in their order. The letter before a name is its type:
#: i int, l long, d double, b boolean, t an int that is there only if the field `kernel` is a table; none: an object.
_FIELDS = {
    "nn.Module": "| gradInput output",
    "nn.Criterion": "| gradInput d:output",
    "nn.StochasticGradient": "| d:learningRate d:learningRateDecay i:maxIteration b:shuffleIndices module criterion",
    "nn.AbsCriterion": "nn.Criterion | b:sizeAverage",
    "nn.Add": "nn.Module | bias gradBias",
    "nn.CMul": "nn.Module | weight gradWeight",
    "nn.ClassNLLCriterion": "nn.Criterion |",
    "nn.Concat": "nn.Module | modules size i:dimension",
    "nn.ConcatTable": "nn.Module | modules",
    "nn.CosineEmbeddingCriterion": "nn.Module | d:margin",
    "nn.CriterionTable": "nn.Module | criterion",
    "nn.Euclidean": "nn.Module | weight gradWeight",
    "nn.HingeEmbeddingCriterion": "nn.Module | d:margin",
    "nn.JoinTable": "nn.Module | size i:dimension",
    "nn.L1HingeEmbeddingCriterion": "nn.Module | d:margin",
    "nn.Linear": "nn.Module | d:weightDecay weight bias gradWeight gradBias",
    "nn.LogSigmoid": "nn.Module | buffer",
    "nn.LookupTable": "nn.Module | size weight currentInputs currentGradWeights",
    "nn.MSECriterion": "nn.Criterion | b:sizeAverage",
    "nn.MarginCriterion": "nn.Module | d:margin",
    "nn.MarginRankingCriterion": "nn.Module | d:margin",
    "nn.Max": "nn.Module | i:dimension indices",
    "nn.Mean": "nn.Module | i:dimension",
    "nn.Min": "nn.Module | i:dimension indices",
    "nn.Mul": "nn.Module | weight gradWeight",
    "nn.MultiCriterion": "nn.Criterion | criterions weights",
    "nn.Narrow": "nn.Module | i:dimension l:index l:length",
    "nn.PairwiseDistance": "nn.Module | d:norm",
    "nn.Parallel": "nn.Module | modules size i:inputDimension i:outputDimension",
    "nn.ParallelTable": "nn.Module | modules",
    "nn.Power": "nn.Module | d:pow",
    "nn.Replicate": "nn.Module | i:nfeatures",
    "nn.Reshape": "nn.Module | size",
    "nn.Select": "nn.Module | i:dimension l:index",
    "nn.Sequential": "nn.Module | modules",
    "nn.SparseLinear": "nn.Module | d:weightDecay weight bias gradWeight gradBias lastInput",
    "nn.SpatialConvolution": (
        "nn.Module | i:kW i:kH i:dW i:dH i:nInputPlane i:nOutputPlane weight bias gradWeight gradBias"
    ),
    "nn.SpatialConvolutionMap": "nn.SpatialConvolution | connTable",
    "nn.SpatialMaxPooling": "nn.Module | i:kW i:kH i:dW i:dH indices",
    "nn.SpatialSubSampling": "nn.Module | i:kW i:kH i:dW i:dH i:nInputPlane weight bias gradWeight gradBias",
    "nn.SplitTable": "nn.Module | modules i:dimension",
    "nn.Sum": "nn.Module | i:dimension",
    "nn.TemporalConvolution": (
        "nn.Module | i:kW i:dW i:inputFrameSize i:outputFrameSize weight bias gradWeight gradBias"
    ),
    "nn.TemporalSubSampling": "nn.Module | i:kW i:dW i:inputFrameSize weight bias gradWeight gradBias",
    "nn.Threshold": "nn.Module | d:threshold d:val",
    "nn.VolumetricConvolution": (
        "nn.Module | i:kT i:kW i:kH i:dT i:dW i:dH i:nInputPlane i:nOutputPlane weight bias gradWeight gradBias"
    ),
    **dict.fromkeys((f"nn.{name}" for name in _BARE.split()), "nn.Module |"),
}
#: The classes of nnx: they kept writing their fields, after the table, until November 2011.
_NNX_FIELDS = {
    "nn.ConfusionMatrix": "| mat valids i:nclasses i:totalValid i:averageValid classes",
    "nn.DistNLLCriterion": (
        "nn.Criterion | b:inputIsProbability b:inputIsLogProbability b:targetIsProbability "
        "targetSoftMax inputLogSoftMax gradLogInput"
    ),
    "nn.Trainer": "| d:learningRate d:learningRateDecay i:maxIteration",
    "nn.OnlineTrainer": "nn.Trainer | module criterion",
    "nn.StochasticTrainer": "nn.Trainer | module criterion",
    "nn.Probe": "nn.Module | name b:content b:display b:size b:backw",
    "nn.SparseCriterion": "nn.Criterion | b:sizeAverage",
    "nn.SpatialClassNLLCriterion": "nn.ClassNLLCriterion | d:resampleTarget i:nbGradients b:sizeAverage",
    "nn.SpatialConvolutionSparse": "nn.SpatialConvolution | connTable",
    "nn.SpatialConvolutionTable": "nn.SpatialConvolution | connTable",
    "nn.SpatialFovea": (
        "nn.Module | i:nInputPlane i:padding i:fov i:sub b:bilinear ratios downsamplers padders upsamplers processors "
        "preProcessors pyramid preProcessed padded narrowed processed upsampled"
    ),
    "nn.SpatialGraph": "nn.Module | i:connex i:dist i:normalize",
    "nn.SpatialLinear": "nn.Module | i:fanin i:fanout d:weightDecay weight bias gradWeight gradBias",
    "nn.SpatialMSECriterion": "nn.MSECriterion | d:resampleTarget i:nbGradients i:ignoreClass",
    "nn.SpatialNormalization": (
        "nn.Module | kernel i:nfeatures i:padW i:padH i:kerWisPair i:kerHisPair convo convostd squareMod sqrtMod "
        "subtractMod meanDiviseMod stdDiviseMod thresMod diviseMod coef t:pad2W t:pad2H t:ker2WisPair t:ker2HisPair "
        "i:fixedThres"
    ),
    "nn.SpatialPadding": "nn.Module | i:pad_l i:pad_r i:pad_t i:pad_b",
    "nn.SpatialReSampling": "nn.Module | i:owidth i:oheight",
    "nn.SpatialRecursiveFovea": (
        "nn.Module | i:nInputPlane i:nRecursivePlane i:fov i:sub ratios downsamplers padders upsamplers "
        "upsampledPadders processors preProcessors postProcessors criterions pyramid preProcessed padded narrowed "
        "concatenated processed upsampled upsampledPadded upsampledNarrowed postProcessed predicted"
    ),
    "nn.SpatialSparseCriterion": "nn.SparseCriterion | d:resampleTarget i:nbGradients",
    "nn.SpatialUpSampling": "nn.Module | i:dW i:dH",
}
#: Forms that some of them had before, in the summer of 2011.
_EARLIER_FIELDS = {
    "nn.SoftMax": "nn.Module | d:shift b:computeShift",
    "nn.SparseLinear": "nn.Module | d:weightDecay weight bias gradWeight gradBias",
    "nn.SpatialNormalization": _NNX_FIELDS["nn.SpatialNormalization"].removesuffix(" i:fixedThres"),
    "nn.Trainer": "| d:learningRate d:learningRateDecay i:maxIteration b:shuffleIndices",
    "nn.SpatialUpSampling": "nn.Module | i:dW i:dH i:nInputPlane",
}
#: The classes of nn that still wrote fields after the table of nn.Module.
_AFTER_THE_TABLE = (
    "AbsCriterion CosineEmbeddingCriterion Criterion HingeEmbeddingCriterion L1HingeEmbeddingCriterion MSECriterion "
    "MarginRankingCriterion MultiCriterion Narrow Power Replicate SpatialConvolutionMap SpatialMaxPooling "
    "StochasticGradient Threshold ClassNLLCriterion"
)
_TABLE_FIRST = "| @:"

#: What is written where, by the time when it was: newest first, as they are tried.
FORMS = (
    "each field at its place after a table, as nnx wrote until November 2011",
    "each field at its place after a table, as nn wrote in September 2011",
    "each field at its place, as nn wrote until August 2011",
    "each field at its place, as nn wrote until July 2011",
)


@cache
def bodies_of(form: str) -> Mapping[str, Body]:
    """The bodies of classes in one of `FORMS`."""
    known = {**_FIELDS, **_NNX_FIELDS}
    if form == FORMS[0]:
        written = dict.fromkeys(_NNX_FIELDS)
        known["nn.Module"] = known["nn.Criterion"] = _TABLE_FIRST
    elif form == FORMS[1]:
        written = dict.fromkeys([*_NNX_FIELDS, *(f"nn.{name}" for name in _AFTER_THE_TABLE.split())])
        known["nn.Module"] = _TABLE_FIRST
    else:
        written = dict.fromkeys(known)
    if form == FORMS[3]:
        known |= _EARLIER_FIELDS
    return {name: Body("fields", fields=_fields(name, known)) for name in written}


def _fields(name: str, known: Mapping[str, str]) -> tuple[Field, ...]:
    """The fields of a class, those of its parents first."""
    parent, _, own = known[name].partition("|")
    inherited = _fields(parent.strip(), known) if parent.strip() else ()
    return inherited + tuple(_field(word) for word in own.split())


def _field(word: str) -> Field:
    kind, colon, name = word.partition(":")
    return Field(name, kind) if colon else Field(word, "object")
