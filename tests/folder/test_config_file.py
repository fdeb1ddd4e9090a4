"""config.json: a line for what fits into one, no default of torch.nn, and all that a folder needs to be opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import golden
import lua
import pytest
import torch
from torch import nn

import torchmigrate as tm
from torchmigrate.base.json_values import compact_json
from torchmigrate.cli.main import main
from torchmigrate.model.architecture import describe, restore


@pytest.mark.parametrize(
    "value",
    [{}, [], {"a": []}, [1, {"b": [2.5, None, True]}], {"é": "é" * 200}, {"a": list(range(99))}, "x" * 300],
)
def test_compact_text_is_the_same_json_in_short_lines(value: Any) -> None:
    text = compact_json(value)
    assert json.loads(text) == value
    assert all(len(line) <= 120 or line.count('"') in (2, 4) for line in text.splitlines())  # one text is not broken


@pytest.mark.parametrize(
    ("module", "args"),
    [
        (nn.Conv2d(3, 5, (2, 4)), {"in_channels": 3, "out_channels": 5, "kernel_size": {"tuple": [2, 4]}}),
        (nn.Conv2d(3, 6, 1, padding=(0, 1), groups=3), None),
        (nn.ConvTranspose2d(3, 5, 2, bias=False, output_padding=0), None),
        (nn.Conv1d(3, 5, 2, stride=2, dilation=1), None),
        (nn.MaxPool2d(2, ceil_mode=True), {"kernel_size": 2, "stride": 2, "ceil_mode": True}),
        (nn.LSTM(3, 5, num_layers=2, bidirectional=True), None),
        (nn.LSTM(3, 5), {"input_size": 3, "hidden_size": 5}),
        (nn.Dropout(0.5), {}),
        (nn.Dropout(0.25), {"p": 0.25}),
        (nn.Threshold(1, 0), {"threshold": 1, "value": 0}),
        (nn.LeakyReLU(1), {"negative_slope": 1}),
        (nn.Upsample(scale_factor=2), {"scale_factor": 2.0}),
        (nn.Linear(3, 5, bias=False), {"in_features": 3, "out_features": 5, "bias": False}),
    ],
    ids=repr,
)
def test_what_torch_takes_by_itself_is_left_out(module: nn.Module, args: Any) -> None:
    described = describe(module)
    assert args is None or described.get("args", {}) == args
    again = restore(json.loads(compact_json(described)))
    assert repr(again) == repr(module)
    for name, value in vars(module).items():
        if name[0] != "_":
            assert getattr(again, name) == value, name
    assert {n: t.shape for n, t in again.state_dict().items()} == {n: t.shape for n, t in module.state_dict().items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small converted folder whose source must not be run."""
    made = tmp_path_factory.mktemp("config") / "out"
    tm.convert(lua.sequential(lua.linear(5, 3), lua.module("nn.Tanh"))).save(made)
    (made / "model.py").write_text("raise SystemExit('model.py ran')\n")
    (made / "__init__.py").write_text("raise SystemExit('the package was imported')\n")
    return made


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(map(str, words)))
    return int(str(exit_.value.code))


def test_a_folder_is_loaded_verified_and_exported_without_its_source(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tm.load_converted(folder)(torch.ones(2, 5, dtype=torch.float64)).shape == (2, 3)
    assert run("verify", folder, "--input-shape", "2x5", "--json") == 0
    assert json.loads(capsys.readouterr().out)["passed"]
    assert run("export", folder, "-o", tmp_path / "net.onnx", "--input-shape", "2x5", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["inputs"].values()) == [["batch", 5]]
    assert run("export", folder, "-o", tmp_path / "net.onnx", "--input-shape", "2x5", "--force") == 0
    assert "equal to PyTorch" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--key", "--alias", "--lua"])
def test_options_for_files_are_refused_for_a_folder(
    option: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = "a=b" if option == "--alias" else "x"
    assert run("export", folder, "-o", tmp_path / "net.onnx", option, value) == 2
    assert f"{option} is for .t7 files" in capsys.readouterr().err
    assert not (tmp_path / "net.onnx").exists()


def test_it_says_path_class_and_module_of_each_layer_in_a_line(tmp_path: Path) -> None:
    conversion = tm.convert(golden.MODELS / "resnet_cifar_A_cudnn.t7")
    conversion.save(tmp_path / "out")
    text = (tmp_path / "out" / "config.json").read_text("ascii")
    shown = [line.strip().rstrip(",") for line in text.splitlines() if line.startswith('  {"path":')]
    assert [json.loads(line) for line in shown] == json.loads(text)["layers"]
    assert shown[1] == '{"path":"1","class":"cudnn.SpatialConvolution","module":"0"}'
    held = json.loads(text)
    held["architecture"] = describe(conversion.module)
    assert len(text) < 0.8 * len(json.dumps(held, indent=1))
