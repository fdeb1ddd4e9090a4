"""What inspect finds in a file: tree, contents, sizes, origin, statistics, outputs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import golden
import lua
import numpy as np
import pytest

import torchmigrate as tm
from torchmigrate.cli import main as cli
from torchmigrate.inspection.contents import content_of
from torchmigrate.inspection.inspect import Inspection, inspect_file
from torchmigrate.model.supported_classes import table

RESNET = golden.MODELS / "resnet_bottleneck_B.t7"


def look(path: Path, **options: Any) -> Inspection:
    return inspect_file(path, table().keys(), **options)


def written(value: Any, tmp_path: Path) -> Path:
    tm.dump(value, tmp_path / "file.t7")
    return tmp_path / "file.t7"


def run_json(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["inspect", *map(str, words), "--json"])
    return int(stopped.value.code or 0), json.loads(capsys.readouterr().out)


def test_outputs_that_torch7_left_are_shown() -> None:
    (model,) = look(RESNET, key="model").models
    nodes = {node.path: node for node in model.tree.walk()}
    assert nodes["1"].output == "1x8x32x32"
    assert nodes["5.1.1"].output == "{1x16x16x16,1x16x16x16}"
    assert nodes["10"].output == "1x20"
    assert (nodes["1"].train, nodes["1"].bytes) == (True, 8 * 3 * 7 * 7 * 4)
    assert model.recorded == 101


def test_tied_weights_and_shared_objects_are_named(tmp_path: Path) -> None:
    storage = tm.Storage("torch.DoubleStorage", lua.numbers(6))
    layers = [lua.module("nn.Linear", weight=lua.tensor_view(storage, 1, 2, 3), gradInput=0) for _ in range(2)]
    path = written(lua.sequential(*layers, layers[0]), tmp_path)
    (model,) = look(path).models
    first, second, third = model.tree.children
    assert second.tied == {"weight": "1.weight"}
    assert third.shared == "1"
    assert (model.parameters, model.bytes) == (6, 48)
    assert first.tied == {}


def test_bytes_are_told_apart(tmp_path: Path) -> None:
    layer = lua.module("nn.Linear", weight=lua.numbers(2, 3), gradWeight=lua.numbers(2, 3), output=lua.numbers(5, 2))
    path = written(lua.value({"model": layer, "mean": lua.numbers(7)}), tmp_path)
    sizes = look(path).sizes
    assert (sizes.weights, sizes.gradients, sizes.left_by_runs, sizes.other) == (48, 48, 80, 56)
    assert sizes.structure == path.stat().st_size - 48 - 48 - 80 - 56


def test_flattened_parameters_count_once() -> None:
    found = look(golden.MODELS / "vgg_checkpoint.t7")
    assert found.sizes.weights == 41073 * 4
    assert found.sizes.gradients == 41073 * 4
    assert found.sizes.other >= 41073 * 4  # the momentum of sgd


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (
            {"learningRate": 0.01, "t": 3, "m": lua.numbers(4), "v": lua.numbers(4)},
            "optimizer state",
            "looks like adam",
        ),
        ({"dfdx": lua.numbers(4), "learningRate": 0.1, "evalCounter": 9}, "optimizer state", "sgd with momentum"),
        ({"paramVariance": lua.numbers(4), "learningRate": 0.1}, "table", "table of 2"),
        ({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}, "vocabulary", "5 words with their indices"),
        ({"batch": 8, "lr": 0.1, "name": "x", "gpu": True}, "options", "4 options"),
        ([0.5, 0.25, 0.125], "history", "list of 3 numbers, the last 0.125"),
        (["cat", "dog"], "names", "list of 2 texts: cat, dog"),
        ({10: 2.5, 20: 1.75}, "table", "table of 2"),
        ({"W": lua.numbers(5, 3), "b": lua.numbers(5)}, "tensors", "2 tensors: W 5x3, b 5"),
        ({f"word{i}": i * i for i in range(100)}, "table", "table of 100, each a number"),
        (90, "number", "90"),
        (True, "boolean", "true"),
        (None, "nil", "nil"),
        (lua.numbers(2, 3), "tensor", "torch.DoubleTensor 2x3"),
    ],
)
def test_contents_are_recognized(value: Any, kind: str, text: str) -> None:
    content = content_of(lua.value(value))
    if isinstance(value, dict) and 10 in value:
        content = content_of(tm.LuaTable((float(k), v) for k, v in value.items()))
        kind, text = "history", "2 numbers by step, at 20: 1.75"
    assert content.kind == kind
    assert text in content.text


def test_a_confusion_matrix_tells_its_accuracy() -> None:
    matrix = lua.module("optim.ConfusionMatrix", mat=np.array([[8.0, 2.0], [1.0, 9.0]]), classes=["cat", "dog"])
    content = content_of(matrix)
    assert (content.kind, content.text) == (
        "confusion matrix",
        "optim.ConfusionMatrix of 2 classes, 20 samples, 85.00% right",
    )


def test_a_table_that_holds_itself_ends() -> None:
    value = tm.LuaTable()
    value["again"] = value
    assert content_of(value).entries["again"].entries == {}


@pytest.mark.parametrize(
    ("name", "since", "until"),
    [
        ("legacy_2015", "2016-03", "2015-03"),
        ("legacy_bn_v1", "2016-03", "2016-02"),
        ("lenet_mnist", "2016-03", None),
        ("densenet_bc", "2016-03", None),
    ],
)
def test_the_origin_has_evidence(name: str, since: str | None, until: str | None) -> None:
    origin = look(golden.MODELS / f"{name}.t7").origin
    assert (origin.since, origin.until) == (since, until)
    assert all(e.sure in ("certain", "likely", "weak") for e in origin.evidence)
    assert any(e.since == since for e in origin.decisive)


@pytest.mark.parametrize(
    ("tag", "since", "until"), [(6, None, "2014-07"), (7, "2014-07", "2015-04"), (8, "2015-04", None)]
)
def test_functions_tell_their_time(tag: int, since: str | None, until: str | None, tmp_path: Path) -> None:
    path = written(lua.value({"f": tm.LuaFunction(b"\x1bLJ\x02rest", tm.LuaTable(), tag)}), tmp_path)
    origin = look(path).origin
    assert (origin.since, origin.until) == (since, until)
    assert origin.text.startswith("surely")
    assert any("LuaJIT 2.1" in e.what for e in origin.evidence)


def test_functions_are_listed_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    upvalues = lua.value([{"name": "[red]rate", "value": 3}])
    function = tm.LuaFunction(b"\x1bLJ\x01code", upvalues, 8)
    path = written(lua.value({"hooks": [function, function]}), tmp_path)
    found = look(path)
    assert [(f.path, f.bytes, f.compiler, f.upvalues) for f in found.lua_functions] == [
        ("hooks.1", 8, "LuaJIT 2.0", ["[red]rate"])
    ]
    with pytest.raises(SystemExit):
        cli.main(["inspect", str(path)])
    assert "function at hooks.1: 8 bytes of LuaJIT 2.0, closes over [red]rate" in capsys.readouterr().out


def test_machines_leave_traces() -> None:
    told = [e.what for e in look(golden.MODELS / "mobile_b32.t7").origin.evidence]
    assert any("longs of 4 bytes" in what for what in told)
    told = [e.what for e in look(golden.MODELS / "resnet_cifar_A_cudnn.t7").origin.evidence]
    assert any("CUDA tensors" in what for what in told)
    assert any("cudnn.torch layers" in what for what in told)


def test_tensors_have_statistics(tmp_path: Path) -> None:
    numbers = np.array([[1.0, -2.0, np.nan], [0.0, np.inf, 5.0]])
    (row,) = look(written(lua.value({"x": numbers}), tmp_path), tensors=True).tensors or []
    assert (row.path, row.size, row.nan, row.inf, row.zeros) == ("x", "2x3", 1, 1, 1)
    assert (row.min, row.max, row.mean) == (-2.0, 5.0, 1.0)
    assert row.std is not None
    assert math.isclose(row.std, math.sqrt((0 + 9 + 1 + 16) / 4))


def test_statistics_of_all_nan_and_of_a_large_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchmigrate.inspection.statistics._BLOCK", 64)
    large = lua.numbers(50, 7)
    path = written(lua.value({"a": np.full(3, np.nan), "b": large}), tmp_path)
    nothing, row = look(path, tensors=True).tensors or []
    assert (nothing.min, nothing.mean, nothing.nan) == (None, None, 3)
    assert row.mean == pytest.approx(large.mean(), abs=1e-15)
    assert row.std == pytest.approx(large.std(), rel=1e-12)


def test_shapes_are_computed_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    path = golden.MODELS / "densenet_bc.t7"
    code, found = run_json(capsys, path, "--input-shape", "4x3x32x32")
    (model,) = [model for model in found["models"] if model["key"] == "model"]
    assert code == 0
    assert model["input"] == "4x3x32x32: the input shape was given"
    assert model["tree"]["children"][0]["output"].startswith("4x")
    assert model["tree"]["children"][-1]["output"] == "4x10"
    code, found = run_json(capsys, path, "--shapes")
    assert found["models"][0]["input"].startswith("2x3x32x32: nn.SpatialConvolution at 1 takes 3 channels")


def test_shapes_end_where_the_model_does(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = written(lua.sequential(lua.linear(3, 2), lua.module("my.Layer"), lua.linear(2, 4)), tmp_path)
    _, found = run_json(capsys, path, "--input-shape", "5x3")
    model = found["models"][0]
    assert [child["output"] for child in model["tree"]["children"]] == ["5x2", None, None]
    assert "the run ended early: my.Layer at 2 was not converted" in model["input"]


def test_a_key_that_leads_nowhere_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = run_json(capsys, RESNET, "--key", "modle")
    assert code == 2
    assert "there is: " in found["error"]["message"]


@pytest.mark.parametrize("options", [[], ["--tensors"], ["--svg", "{svg}"]])
def test_inspect_stays_light(options: list[str], tmp_path: Path) -> None:
    words = ["inspect", str(RESNET), *(word.format(svg=tmp_path / "net.svg") for word in options)]
    code = (
        "import sys, torchmigrate.cli.main as c\n"
        f"try: c.main({words!r})\n"
        "except SystemExit as e: assert not e.code\n"
        "assert not {'torch', 'onnx', 'jinja2'} & set(sys.modules)"
    )
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert time.monotonic() - began < 10


def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["inspect", str(golden.MODELS / "charrnn_checkpoint.t7"), "--depth", "2"])
    shown = capsys.readouterr().out
    for words in (
        "of its bytes: weights",
        "optimizer state  looks like rmsprop, learningRate 0.002",
        "vocabulary       20 words with their indices",
        "rnn_size",
        "protos.rnn: nn.gModule, 4,948 parameters",
        "nn.Linear bias 64 weight 64x20 Float → 4x64",
        "saved in evaluate mode",
        "nn.CMulTable   x6  ",
        "next: torchmigrate convert ",
    ):
        assert words in shown


def test_deep_nesting_is_no_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value, output = lua.linear(2, 3), lua.numbers(2, 3)
    output = tm.Tensor.from_numpy(output)
    for _ in range(600):
        value, output = lua.sequential(value), tm.LuaTable.from_list([output])
    value.fields["output"] = output
    path = written(value, tmp_path)
    for options in ([], ["--tensors"], ["--json"], ["--svg", str(tmp_path / "net.svg")]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["inspect", str(path), *options])
        assert not stopped.value.code, options
    assert capsys.readouterr().out


def test_an_output_that_holds_itself(tmp_path: Path) -> None:
    output = tm.LuaTable()
    output[1] = output
    (model,) = look(written(lua.module("nn.Identity", output=output), tmp_path)).models
    assert model.tree.output is None
