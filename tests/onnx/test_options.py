"""The options of an export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import exports
import golden
import lua
import onnx
import pytest
import torch

import torchmigrate as tm
from torchmigrate.cli.main import main
from torchmigrate.onnx.runtime import open_session, run_session
from torchmigrate.shapes.parse import parse_shape
from torchmigrate.shapes.random_input import make_input


@pytest.mark.parametrize("opset", [18, 19, 21, onnx.defs.onnx_opset_version()])
def test_opset(opset: int, tmp_path: Path) -> None:
    exported, model = exports.export("fcn_fullconv", tmp_path, opset=opset)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert exported.opset == opset


@pytest.mark.parametrize("opset", [17, onnx.defs.onnx_opset_version() + 1])
def test_an_opset_that_is_not_there(opset: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(golden.MODELS / "mobile_b32.t7")
    with pytest.raises(SystemExit) as end:
        main(["export", file, "-o", str(tmp_path / "m.onnx"), "--opset", str(opset), "--json"])
    assert end.value.code == 5
    assert f"opset {opset} can't be made" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_float16(tmp_path: Path) -> None:
    exported, model = exports.export("resnet_bottleneck_B", tmp_path, dtype="float16")
    assert {t.data_type for t in model.graph.initializer} <= {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64}
    assert 0 < exported.max_difference < 1e-2


def test_keep(tmp_path: Path) -> None:
    _, model = exports.export("mlp_batchnorm_regression", tmp_path, dtype="keep")
    assert {t.data_type for t in model.graph.initializer} == {onnx.TensorProto.DOUBLE}


def test_names(tmp_path: Path) -> None:
    names = ["image", "features"], ["pose", "shape", "age", "scores"]
    exported, _ = exports.export("multitask_tables", tmp_path, input_names=names[0], output_names=names[1])
    assert (list(exported.inputs), list(exported.outputs)) == names
    report = tm.verify(
        exports.converted("multitask_tables"),
        reference=golden.MODELS / "multitask_tables.reference.t7",
        onnx=exported.path,
    )
    assert report, report.summary()
    with pytest.raises(tm.UsageError, match=r"4 outputs \(output_1, output_2_1"):
        exports.export("multitask_tables", tmp_path / "other", output_names=["a", "b"])


def test_external_data(tmp_path: Path) -> None:
    exported, _ = exports.export("vgg_checkpoint", tmp_path, external_data=True)
    assert exported.external == tmp_path / "model.onnx.data"
    assert exported.path.stat().st_size < exported.external.stat().st_size
    given, expected = exports.reference("vgg_checkpoint")
    (got,) = run_session(open_session(exported.path), {"input": given.float()})
    golden.assert_same(got, expected.float(), "output", (1e-4, 1e-4))


@pytest.mark.parametrize(("asked", "files"), [(None, ["m.onnx", "m.onnx.data"]), (False, ["m.onnx"])])
def test_large_models_have_their_weights_in_a_second_file(
    asked: bool | None, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversion = tm.convert(lua.linear(40, 50, dtype="f4"))
    tm.export_onnx(conversion, tmp_path / "small" / "m.onnx", input_shape="2x40")
    assert [path.name for path in (tmp_path / "small").iterdir()] == ["m.onnx"]
    monkeypatch.setattr("torchmigrate.onnx.export.save._LARGE_FILE", 8000)  # the weights have 8200 bytes
    tm.export_onnx(conversion, tmp_path / "large" / "m.onnx", input_shape="2x40", external_data=asked)
    assert sorted(path.name for path in (tmp_path / "large").iterdir()) == files
    monkeypatch.setattr("torchmigrate.onnx.export.save.LARGEST_FILE", 8000)
    with pytest.raises(tm.UsageError, match="an ONNX file has 8000 at most"):
        tm.export_onnx(conversion, tmp_path / "larger" / "m.onnx", input_shape="2x40", external_data=False)
    assert not (tmp_path / "larger").exists()


@pytest.mark.parametrize(("before", "left"), [(True, []), (False, ["m.onnx.data"])], ids=["its own", "another's"])
def test_weights_of_a_file_that_is_replaced(before: bool, left: list[str], tmp_path: Path) -> None:
    conversion = tm.convert(lua.linear(40, 50, dtype="f4"))
    target = tmp_path / "m.onnx"
    tm.export_onnx(conversion, target, input_shape="2x40", external_data=before)
    if not before:
        (tmp_path / "m.onnx.data").touch()
    with pytest.raises(tm.UsageError, match="exists already"):
        tm.export_onnx(conversion, target, input_shape="2x40")
    exported = tm.export_onnx(conversion, target, input_shape="2x40", force=True)
    assert exported.external is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", *left]


def test_simplify(tmp_path: Path) -> None:
    exported, model = exports.export("lm_seqlstm", tmp_path, simplify=True)
    assert set(exports.paths(model)) == {node.name for node in model.graph.node}
    assert exported.max_difference < 1e-5


def test_int8(tmp_path: Path) -> None:
    exported, _ = exports.export("wrn_preact_double", tmp_path, int8=True)
    assert exported.int8 is not None
    assert exported.int8.path == tmp_path / "model.int8.onnx"
    assert exported.int8.size < 0.5 * exported.path.stat().st_size
    assert 1e-5 < exported.int8.difference < 0.1
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "model.int8.onnx"}


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("lenet_mnist", "2x3x32x32", r"size 2x3x32x32: nn\.SpatialConvolutionMM at 1 refuses it.*--input-shape"),
        ("lenet_mnist", "2x1x64x64", r"nn\.Reshape at 7 refuses it"),
        ("lenet_mnist", "{2x1x32x32,2x1x32x32}", r"size \{2x1x32x32,2x1x32x32\}: nn\.SpatialConvolutionMM at 1"),
        ("lm_seqlstm", "2x3x4x5", r"nn\.SeqLSTM at 2 refuses it"),
    ],
)
def test_an_input_that_the_model_does_not_take(name: str, shape: str, said: str, tmp_path: Path) -> None:
    conversion = exports.converted(name)
    given = make_input(conversion, parse_shape(shape))
    with pytest.raises(tm.UsageError, match=said):
        tm.export_onnx(conversion, tmp_path / "m.onnx", example_input=given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("layer", "options", "said"),
    [
        (lua.module("nn.Tanh"), {"int8": True}, "nothing to quantize"),
        (lua.module("nn.ELU", alpha=1), {"dtype": "keep"}, "--dtype float32"),
    ],
)
def test_nothing_is_left_of_an_export_that_fails(
    layer: tm.LuaObject, options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    given = torch.ones(3, 2, dtype=torch.float64)
    with pytest.raises(tm.ExportError, match=said):
        tm.export_onnx(tm.convert(layer), tmp_path / "m.onnx", example_input=given, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("target", "said"), [(".", "is a folder"), ("file/m.onnx", "can't be written")])
def test_a_target_that_can_not_be_written(target: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(tm.UsageError, match=said):
        tm.export_onnx(tm.convert(lua.module("nn.Tanh")), tmp_path / target, input_shape="2x3")


def test_a_weight_that_lies_transposed(tmp_path: Path) -> None:
    """One row is multiplied by the transposed weight, which the exporter does not copy: 1,300 numbers."""
    exported = tm.export_onnx(tm.convert(lua.linear(26, 50, dtype="f4")), tmp_path / "m.onnx", input_shape="26")
    assert exported.outputs == {"output": (50,)}
    assert exported.max_difference < 1e-6


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(golden.MODELS / "superres_vgg7.t7")
    target = tmp_path / "m.onnx"
    words = ["export", file, "-o", str(target), "--input-shape", "2x3x20x20", "--dynamic", "batch,height", "--json"]
    with pytest.raises(SystemExit) as end:
        main([*words, "--input-names", "image", "--output-names", "pixels"])
    assert end.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["inputs"] == {"image": ["batch", 3, "height", 20]}
    assert {tuple(run["image"]) for run in told["runs"]} >= {(2, 3, 20, 20), (2, 3, 40, 20), (1, 3, 20, 20)}
