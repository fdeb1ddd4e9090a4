"""Dynamic axes: what the file promises was run, what can't be promised is refused with the layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import exports
import lua
import numpy as np
import pytest
import torch

import torchmigrate as tm
from torchmigrate.onnx.runtime import open_session, run_session


@pytest.mark.parametrize(
    ("name", "axes", "sizes"),
    [
        ("fcn_fullconv", ("batch", "height", "width"), ("batch", 3, "height", "width")),
        pytest.param(*("unet_nngraph", ("height", "width"), (2, 1, "height", "width")), marks=pytest.mark.slow),
        ("superres_vgg7", ("batch", "width"), ("batch", 3, 20, "width")),
        ("lm_seqlstm", ("batch", "time"), ("batch", "time")),
        ("multitask_tables", ("height",), (3, 3, "height", 15)),
    ],
)
def test_axes(name: str, axes: tuple[str, ...], sizes: tuple[int | str, ...], tmp_path: Path) -> None:
    exported, _ = exports.export(name, tmp_path, dynamic=axes)
    first, found = next(iter(exported.inputs.items()))
    assert found == sizes
    for axis in axes:
        assert len({run[first][sizes.index(axis)] for run in exported.runs}) >= 2
    assert exported.max_difference < 1e-5


@pytest.mark.slow
def test_sizes_that_are_multiples(tmp_path: Path) -> None:
    exported, _ = exports.export("enet_unpooling", tmp_path, dynamic=("height", "width"))
    assert exported.inputs["input"] == (2, 3, "height", "width")
    assert exported.outputs["output"] == (2, 6, "height", "width")
    assert "in the ONNX graph, height is a multiple of 8" in exported.notes


@pytest.mark.parametrize(
    ("name", "axis", "layer"),
    [
        ("vgg_checkpoint", "height", "nn.View at 16 mixes the samples"),
        ("resnet_bottleneck_B", "width", "nn.View at 9 mixes the samples"),
        ("c3d", "time", "nn.View at 11 mixes the samples"),
        ("stn_classifier", "height", "nn.View at 1.1.2.2.7 refuses it"),
        ("sentiment_gru_cuda", "time", "nn.SplitTable at 2 fixes the size"),
        ("lm_sequencer_fastlstm", "time", "nn.SplitTable at 2 gives other tensors"),
    ],
)
def test_an_axis_that_the_model_forbids(name: str, axis: str, layer: str, tmp_path: Path) -> None:
    with pytest.raises(tm.ExportError, match=layer.replace(".", r"\.")):
        exports.export(name, tmp_path, dynamic=(axis,))
    assert not list(tmp_path.iterdir())


def test_an_axis_that_is_forbidden_only_together_with_another(tmp_path: Path) -> None:
    """The number of steps is height times width."""
    with pytest.raises(tm.ExportError, match=r"nn\.SplitTable at 14 fixes the size of the axis 'height'"):
        exports.export("crnn_bisequencer", tmp_path, dynamic=("batch", "height", "width"))


def test_an_axis_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(tm.UsageError, match=r"2x3x64x64.* no axis that is called time"):
        exports.export("googlenet_aux", tmp_path, dynamic=("time",))


def test_a_batch_of_one_keeps_its_dimension(tmp_path: Path) -> None:
    exported, _ = exports.export("vgg_checkpoint", tmp_path)
    given, expected = exports.reference("vgg_checkpoint")
    (got,) = run_session(open_session(exported.path), {"input": given[:1].float()})
    torch.testing.assert_close(got, expected[:1].float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("typename", "fields", "given", "sizes"),
    [
        ("nn.SpatialConvolution", {}, "2x2x9x8", [("batch", 2, "height", "width")]),
        ("nn.MM", {"transB": True}, "{5x4,6x4}", [("length_1", 4), ("length_2", 4)]),
        ("nn.MM", {"transB": True}, "{2x5x4,2x6x4}", [("batch", "time_1", 4), ("batch", "time_2", 4)]),
        ("nn.CAddTable", {}, "{2x5x3,2x5x3}", [("batch", "time", 3)] * 2),
        ("nn.MM", {}, "{2x5x4,2x4x3}", [("batch", "time_1", "time"), ("batch", "time", 3)]),
        ("nn.MixtureTable", {"dim": 2}, "{2x5,2x5x3}", [("batch", "time"), ("batch", "time", 3)]),
        ("nn.CAddTable", {}, "{2x1x3,2x1x3}", [("batch", 1, 3)] * 2),  # one entry tells nothing of more
        (
            "nn.View",
            {"size": tm.Storage("torch.LongStorage", np.array([24])), "numElements": 24.0},
            "2x2x3x4",
            [("batch", 2, 3, 4)],
        ),
    ],
)
def test_axes_that_the_layers_leave_free_have_any_size(
    typename: str, fields: dict[str, Any], given: str, sizes: list[tuple[int | str, ...]], tmp_path: Path
) -> None:
    if typename == "nn.SpatialConvolution":
        numbers = {"weight": lua.numbers(4, 2, 3, 3), "bias": lua.numbers(4)}
        fields = {"nInputPlane": 2, "nOutputPlane": 4, "kW": 3, "kH": 3, "dW": 2, "dH": 2, **numbers}
    conversion = tm.convert(lua.module(typename, **fields))
    exported = tm.export_onnx(conversion, tmp_path / "m.onnx", input_shape=given)
    assert list(exported.inputs.values()) == sizes
    for name, found in exported.inputs.items():
        for dim, size in enumerate(found):
            assert len({run[name][dim] for run in exported.runs}) == 1 or not isinstance(size, int)
            assert len({run[name][dim] for run in exported.runs}) > 1 or not isinstance(size, str)


def test_nothing_dynamic(tmp_path: Path) -> None:
    exported, _ = exports.export("mobile_b32", tmp_path, dynamic=())
    assert exported.inputs == {"input": (2, 1, 12, 12)}
    assert exported.batches == (2,)
