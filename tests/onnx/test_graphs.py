"""The graph itself: operators, names, metadata, weights."""

from __future__ import annotations

import json
from pathlib import Path

import exports
import lua
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

import torchmigrate as tm
from torchmigrate.onnx.runtime import open_session, run_session


@pytest.mark.parametrize(
    ("name", "wanted", "unwanted"),
    [
        ("resnet_bottleneck_B", {"Conv", "Gemm"}, {"BatchNormalization", "Dropout", "Identity", "Shape"}),
        ("alexnet_grouped_lrn", {"LRN"}, {"Dropout", "Pow", "Pad", "Squeeze"}),
        ("lm_seqlstm", {"LSTM"}, {"Sigmoid", "ConstantOfShape", "Dropout"}),
        ("enet_unpooling", {"MaxUnpool"}, {"ScatterElements", "Shape"}),
        ("fcn_fullconv", {"Resize"}, {"Gather", "Shape"}),
        ("stn_classifier", {"GridSample"}, {"Identity"}),
        ("style_instancenorm", {"Conv"}, {"BatchNormalization"}),
        ("superres_pixelshuffle", {"DepthToSpace"}, {"Transpose"}),
    ],
)
def test_operators(name: str, wanted: set[str], unwanted: set[str], tmp_path: Path) -> None:
    _, model = exports.export(name, tmp_path, dynamic=("batch",))
    found = set(exports.operators(model))
    assert wanted <= found
    assert not unwanted & found
    types = {tensor.data_type for tensor in model.graph.initializer}
    assert onnx.TensorProto.DOUBLE not in types
    assert set(exports.paths(model)) == {node.name for node in model.graph.node}
    constants = [(numpy_helper.to_array(t).tobytes(), tuple(t.dims)) for t in model.graph.initializer]
    assert len(constants) == len(set(constants))


@pytest.mark.parametrize(("size", "wanted"), [(3, 1), (4, 0)])
def test_an_lrn_of_an_even_size_is_no_operator(size: int, wanted: int, tmp_path: Path) -> None:
    """ONNX's LRN takes the odd plane on the other side."""
    layer = lua.module("cudnn.SpatialCrossMapLRN", size=float(size), alpha=2.0, beta=0.75, K=2.0)
    exported = tm.export_onnx(tm.convert(layer), tmp_path / "m.onnx", input_shape="2x7x5x3")
    assert exports.operators(onnx.load(exported.path)).count("LRN") == wanted


def test_a_view_is_one_reshape(tmp_path: Path) -> None:
    _, model = exports.export("vgg_checkpoint", tmp_path)
    assert exports.operators(model).count("Reshape") == 1


def test_two_exports_are_the_same_bytes(tmp_path: Path) -> None:
    first, _ = exports.export("stn_affine6", tmp_path / "a")
    second, _ = exports.export("stn_affine6", tmp_path / "b")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert b"/onnx/exporting" not in first.path.read_bytes()


def test_the_file_is_what_protobuf_would_write(tmp_path: Path) -> None:
    exported, model = exports.export("stn_affine6", tmp_path)
    assert model.SerializeToString(deterministic=True) == exported.path.read_bytes()


def test_metadata(tmp_path: Path) -> None:
    net = lua.sequential(lua.linear(4, 3, dtype="f4"), lua.module("nn.LogSoftMax"))
    transform = lua.value({"mean": [0.485, 0.456], "std": [0.25, 0.5]})
    file = tmp_path / "checkpoint.t7"
    tm.dump(lua.value({"model": net, "transform": transform, "classes": ["cat", "dog", "owl"]}), file)
    exported = tm.export_onnx(tm.convert(file), tmp_path / "m.onnx", input_shape="2x4")
    known = {entry.key: entry.value for entry in onnx.load(exported.path).metadata_props}
    assert json.loads(known["preprocessing.mean"]) == [0.485, 0.456]
    assert json.loads(known["preprocessing.std"]) == [0.25, 0.5]
    assert json.loads(known["labels"]) == ["cat", "dog", "owl"]
    assert json.loads(known["torchmigrate.torch7_classes"]) == {"nn.Linear": 1, "nn.LogSoftMax": 1, "nn.Sequential": 1}
    assert known["torchmigrate.version"] == tm.__version__
    assert len(known["torchmigrate.source_sha256"]) == 64


@pytest.mark.parametrize("index", [0, -3, 6])
def test_an_index_outside_of_the_table_fails(index: int, tmp_path: Path) -> None:
    table = lua.module("nn.LookupTable", weight=lua.numbers(5, 3, dtype="f4"), paddingValue=0)
    exported = tm.export_onnx(
        tm.convert(table), tmp_path / "m.onnx", example_input=torch.tensor([[1.0, 5.0], [2.0, 3.0]])
    )
    session = open_session(exported.path)
    (right,) = run_session(session, {"input": torch.tensor([[5, 1]])})
    np.testing.assert_array_equal(right[0], lua.numbers(5, 3, dtype="f4")[[4, 0]])
    with pytest.raises(tm.ExportError, match="out of"):
        run_session(session, {"input": torch.tensor([[1, index]])})


def test_a_layer_that_onnx_has_not_is_named(tmp_path: Path) -> None:
    layer = lua.module("nn.SpatialFractionalMaxPooling", poolSizeW=2, poolSizeH=2, outW=3, outH=4)
    conversion = tm.convert(lua.sequential(lua.module("nn.Tanh"), layer))
    with pytest.raises(tm.ExportError, match=r"nn\.SpatialFractionalMaxPooling at 2 .* no two runs agree"):
        tm.export_onnx(conversion, tmp_path / "m.onnx", input_shape="2x3x9x7")
    assert not list(tmp_path.iterdir())


def test_a_layer_that_remembers_is_named(tmp_path: Path) -> None:
    exported, _ = exports.export("lm_sequencer_fastlstm", tmp_path)
    assert any("nn.FastLSTM at 3.1 remembers" in note for note in exported.notes)


def test_an_epsilon_stays(tmp_path: Path) -> None:
    """onnxscript's optimizer takes 1e-12 for 0: then cosines with a row of zeros would be NaN."""
    given = [torch.zeros(2, 3), torch.ones(2, 3)]
    exported = tm.export_onnx(tm.convert(lua.module("nn.CosineDistance")), tmp_path / "m.onnx", example_input=given)
    (got,) = run_session(open_session(exported.path), {"input_1": given[0], "input_2": given[1]})
    assert got.tolist() == [0, 0]


def test_a_pooling_in_ceil_mode_has_its_padding_written_out(tmp_path: Path) -> None:
    fields = {"kW": 2, "kH": 2, "dW": 3, "dH": 3, "padW": 1, "padH": 1, "ceil_mode": True}
    conversion = tm.convert(lua.module("nn.SpatialMaxPooling", **fields))
    exported = tm.export_onnx(conversion, tmp_path / "m.onnx", input_shape="2x2x5x6")
    (node,) = onnx.load(exported.path).graph.node
    found = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    assert found["ceil_mode"] == 0
    assert exported.outputs == {"output": ("batch", 2, 2, 3)}


@pytest.mark.parametrize(
    ("fields", "dynamic", "size"),
    [
        ({"scale_factor": 3}, None, (15, 18)),
        ({"scale_factor": 2}, ["batch", "height", "width"], (10, 12)),
        ({"oheight": 7, "owidth": 11}, ["batch"], (7, 11)),  # 5 * float32(7 / 5) is less than 7
        ({"oheight": 4, "owidth": 3}, ["batch"], (4, 3)),
    ],
)
def test_a_resize_has_factors(
    fields: dict[str, int], dynamic: list[str] | None, size: tuple[int, int], tmp_path: Path
) -> None:
    conversion = tm.convert(lua.module("nn.SpatialUpSamplingBilinear", **fields))
    exported = tm.export_onnx(conversion, tmp_path / "m.onnx", input_shape="2x3x5x6", dynamic=dynamic)
    model = onnx.load(exported.path)
    assert [node.op_type for node in model.graph.node] == ["Resize"]
    x = torch.from_numpy(lua.numbers(4, 3, 5, 6, dtype="f4"))
    (got,) = run_session(open_session(exported.path), {"input": x})
    wanted = torch.nn.functional.interpolate(x, size, mode="bilinear", align_corners=True)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
