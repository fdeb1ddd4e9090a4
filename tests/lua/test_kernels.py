"""The kernels that stand in for Torch7's functions in C, fed as its Lua feeds them: what the real Torch7 computed."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("lupa")

import golden
import torch

import torchmigrate as tm
from torchmigrate.lua.runtime import OF_THNN
from torchmigrate.lua.tensors.engine import KERNELS, Engine
from torchmigrate.lua.tensors.handles import LuaFault, TensorHandle

# class: kernel: its arguments in order. x input, y output, t target, - a buffer; other words are fields of the object,
# ? where one may lack, =… what old files mean where it lacks.
KERNELS_OF = """
nn.Abs: Abs: x y
nn.Sigmoid: Sigmoid: x y
nn.Tanh: Tanh: x y
nn.Square: Square: x y
nn.Sqrt: Sqrt: x y eps=0
nn.LogSigmoid: LogSigmoid: x y -
nn.SoftMax: SoftMax: x y
nn.LogSoftMax: LogSoftMax: x y
nn.SoftPlus: SoftPlus: x y beta threshold
nn.SoftShrink: SoftShrink: x y lambda
nn.HardShrink: HardShrink: x y lambda
nn.HardTanh: HardTanh: x y min_val max_val inplace=0
nn.ELU: ELU: x y alpha inplace=0
nn.LeakyReLU: LeakyReLU: x y negval inplace=0
nn.Threshold: Threshold: x y threshold val inplace=0
nn.PReLU: PReLU: x y weight nOutputPlane
nn.GatedLinearUnit: GatedLinear: x y dim
nn.SpatialConvolution: SpatialConvolutionMM: x y weight bias? - - kW kH dW dH padW=0 padH=0
nn.SpatialDilatedConvolution: SpatialDilatedConvolution: x y weight bias? - - kW kH dW dH padW padH dilationW dilationH
nn.SpatialDepthWiseConvolution: SpatialDepthWiseConvolution: x y weight bias? - - kW kH dW dH padW padH
nn.SpatialConvolutionLocal: SpatialConvolutionLocal: x y weight bias - - kW kH dW dH padW padH iW iH oW oH
nn.SpatialFullConvolution: SpatialFullConvolution: x y weight bias? - - kW kH dW dH padW padH adjW=0 adjH=0
nn.SpatialConvolutionMap: SpatialConvolutionMap: x y weight bias connTable nInputPlane nOutputPlane dW dH
nn.SpatialFullConvolutionMap: SpatialFullConvolutionMap: x y weight bias connTable nInputPlane nOutputPlane dW dH
nn.VolumetricConvolution: VolumetricConvolutionMM: x y weight bias? - kT kW kH dT dW dH padT=0 padW=0 padH=0
nn.VolumetricConvolution: VolumetricConvolution: x y weight bias? - - dT dW dH padT=0 padW=0 padH=0
nn.VolumetricDilatedConvolution: VolumetricDilatedConvolution: x y weight bias? - - kT kW kH dT dW dH padT \
 padW padH dilationT dilationW dilationH
nn.VolumetricFullConvolution: VolumetricFullConvolution: x y weight bias? - - dT dW dH padT padW padH adjT=0 \
 adjW=0 adjH=0
nn.TemporalConvolution: TemporalConvolution: x y weight bias kW dW inputFrameSize outputFrameSize
nn.TemporalRowConvolution: TemporalRowConvolution: x y weight bias? - - kW dW 0 featFirst=0
nn.SpatialMaxPooling: SpatialMaxPooling: x y - kW kH dW dH padW=0 padH=0 ceil_mode=0
nn.SpatialDilatedMaxPooling: SpatialDilatedMaxPooling: x y - kW kH dW dH padW padH dilationW dilationH ceil_mode=0
nn.SpatialAveragePooling: SpatialAveragePooling: x y kW kH dW dH padW=0 padH=0 ceil_mode=0 count_include_pad=1
nn.SpatialAdaptiveMaxPooling: SpatialAdaptiveMaxPooling: x y - W H
nn.SpatialAdaptiveAveragePooling: SpatialAdaptiveAveragePooling: x y W H
nn.VolumetricMaxPooling: VolumetricMaxPooling: x y - kT kW kH dT dW dH padT=0 padW=0 padH=0 ceil_mode=0
nn.VolumetricDilatedMaxPooling: VolumetricDilatedMaxPooling: x y - kT kW kH dT dW dH padT padW padH dilationT \
 dilationW dilationH ceil_mode=0
nn.VolumetricAveragePooling: VolumetricAveragePooling: x y kT kW kH dT dW dH padT=0 padW=0 padH=0 ceil_mode=0 \
 count_include_pad=1
nn.TemporalMaxPooling: TemporalMaxPooling: x y - kW dW
nn.SpatialSubSampling: SpatialSubSampling: x y weight bias kW kH dW dH
nn.TemporalSubSampling: TemporalSubSampling: x y weight bias kW dW inputFrameSize
nn.FeatureLPPooling: FeatureLPPooling: x y power width stride batch_mode
nn.SpatialUpSamplingNearest: SpatialUpSamplingNearest: x y scale_factor
nn.SpatialReflectionPadding: SpatialReflectionPadding: x y pad_l pad_r pad_t pad_b
nn.SpatialReplicationPadding: SpatialReplicationPadding: x y pad_l pad_r pad_t pad_b
nn.VolumetricReplicationPadding: VolumetricReplicationPadding: x y pleft pright ptop pbottom pfront pback
nn.BatchNormalization: BatchNormalization: x y weight? bias? running_mean running_var - - train momentum eps
nn.SpatialBatchNormalization: BatchNormalization: x y weight? bias? running_mean running_var - - train momentum eps
nn.AbsCriterion: AbsCriterion: x t y sizeAverage
nn.MSECriterion: MSECriterion: x t y sizeAverage
nn.SmoothL1Criterion: SmoothL1Criterion: x t y sizeAverage
nn.BCECriterion: BCECriterion: x t y sizeAverage weights?
nn.DistKLDivCriterion: DistKLDivCriterion: x t y sizeAverage
nn.MarginCriterion: MarginCriterion: x t y sizeAverage margin
nn.SoftMarginCriterion: SoftMarginCriterion: x t y sizeAverage
nn.ClassNLLCriterion: ClassNLLCriterion: x t y sizeAverage weights? - ignoreIndex=-100
nn.SpatialClassNLLCriterion: SpatialClassNLLCriterion: x t y sizeAverage weights? -
nn.MultiMarginCriterion: MultiMarginCriterion: x t y sizeAverage p weights? margin
nn.MultiLabelMarginCriterion: MultiLabelMarginCriterion: x t y - sizeAverage
"""
#: Cases of which nn's Lua makes something else first.
ELSEWHERE = {
    "nn.VolumetricDilatedMaxPooling": {2},  # of version 1, whose ceil_mode it takes for false when it reads it
    "nn.SpatialAveragePooling": {12, 13},  # without `divide`: multiplied afterwards
    "nn.BatchNormalization": {5},
    "nn.SpatialBatchNormalization": {5},  # one sample, which it makes a batch
    "nn.GatedLinearUnit": {0, 1, 2, 5},  # no `dim`: the last one
}
ROWS = [tuple(part.strip() for part in line.split(":")) for line in KERNELS_OF.strip().splitlines()]
KINDS = {torch.float32: "Float", torch.float64: "Double", torch.int64: "Long"}


def handle(value: torch.Tensor) -> TensorHandle:
    return TensorHandle(value.clone(), KINDS[value.dtype])


def arguments(words: str, case: tm.LuaTable, output: TensorHandle) -> list[Any]:
    owner = case.get("module") or case["criterion"]
    target = case.get("target")
    found: list[Any] = []
    for word in words.split():
        name, _, default = word.rstrip("?").partition("=")
        if word in ("x", "t"):
            value = tm.to_torch(case["input"] if word == "x" else target)
            found.append(handle(value if isinstance(value, torch.Tensor) else torch.tensor([value])))
        elif word in ("y", "-"):
            found.append(output if word == "y" else TensorHandle(torch.empty(0, dtype=output.value.dtype), output.kind))
        elif word == "0":
            found.append(0.0)
        else:
            value = owner.get(name, float(default) if default else None)
            found.append(handle(tm.to_torch(value)) if isinstance(value, tm.Tensor) else value)
    return found


def cases_of(typename: str) -> list[tm.LuaTable]:
    found = []
    for case in golden.read_cases(f"{typename}.t7"):
        value = case.get("module") or case["criterion"]
        if (
            value.typename == typename
            and not value.get("train")
            and {"output", "loss"} & {key for key, _ in case.items()}
        ):
            found.append(case)
    return found


@pytest.mark.parametrize(("typename", "name", "words"), ROWS, ids=[f"{row[0]}-{row[1]}" for row in ROWS])
def test_it_computes_what_torch7_computed(typename: str, name: str, words: str) -> None:
    engine, compared = Engine(seed=0, fresh=117.0, elements=1 << 24), 0
    for index, case in enumerate(cases_of(typename)):
        if index in ELSEWHERE.get(typename, ()):
            continue
        wanted = tm.to_torch(case["loss"] if "criterion" in case else case["output"])
        given = tm.to_torch(case["input"])
        if not isinstance(given, torch.Tensor) or given.dtype not in KINDS:
            continue
        output = TensorHandle(torch.empty(0, dtype=given.dtype), KINDS[given.dtype])
        KERNELS[f"{name}_updateOutput"](engine, *arguments(words, case, output))
        got = output.value if isinstance(wanted, torch.Tensor) else output.value.reshape(())
        golden.assert_same(got, wanted, f"{typename}[{index}]", golden.TOLERANCES[given.dtype])
        compared += 1
    assert compared


def test_what_is_not_computed_says_so() -> None:
    engine = Engine(seed=0, fresh=117.0, elements=1 << 24)
    x = handle(torch.ones(2))
    with pytest.raises(LuaFault, match="random in training"):
        KERNELS["RReLU_updateOutput"](engine, x, x, None, 0.1, 0.3, True, False)
    with pytest.raises(LuaFault, match="3D or 4D"):
        KERNELS["SpatialUpSamplingNearest_updateOutput"](engine, x, x, 2.0)
    with pytest.raises(LuaFault, match="a target is no class"):
        KERNELS["ClassNLLCriterion_updateOutput"](engine, x, handle(torch.tensor([3])), x, True, None, x, -100)
    assert len(OF_THNN) > 1


def test_in_place_the_output_is_the_input() -> None:
    engine = Engine(seed=0, fresh=117.0, elements=1 << 24)
    x, y = handle(torch.tensor([-1.0, 2.0])), handle(torch.zeros(5))
    KERNELS["Threshold_updateOutput"](engine, x, y, 0.0, 0.5, True)
    assert x.value.tolist() == y.value.tolist() == [0.5, 2.0]
    x.value[0] = 7
    assert y.value.tolist() == [7.0, 2.0]
