"""The state of an optimizer as files, and the command that writes them."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import golden
import pytest
import safetensors.torch
import torch

import torchmigrate as tm
from torchmigrate.base.folder_files import MARKER
from torchmigrate.cli import main as cli

VGG = golden.MODELS / "vgg_checkpoint.t7"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(word) for word in words])
    return int(stopped.value.code or 0)


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    if a["param_groups"] != b["param_groups"] or a["state"].keys() != b["state"].keys():
        return False
    return all(torch.equal(a["state"][i][key], value) for i in a["state"] for key, value in b["state"][i].items())


@pytest.mark.parametrize("index", range(9))
def test_what_is_written_comes_back(index: int, tmp_path: Path) -> None:
    case = tm.load(golden.FIXTURES / "optim" / "resumed.t7")[index + 1]
    conversion = tm.convert(case["checkpoint"], key="model")
    state = tm.convert_optimizer(conversion, exact=True, method=case["method"])
    conversion.save(tmp_path / "out")
    state.save(tmp_path / "out")
    module = tm.load_converted(tmp_path / "out")
    loaded = tm.load_optimizer(tmp_path / "out", module)
    assert same(loaded.state_dict(), state.state_dict())
    assert (loaded.decay, loaded.steps, loaded.notes) == (state.decay, state.steps, state.notes)


def test_state_fits_the_source_too(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("convert", VGG, "-o", out, "-q", "--no-onnx", "--no-verify") == 0  # it writes the state too
    spec = importlib.util.spec_from_file_location("converted_vgg", out / "model.py")
    assert spec is not None
    assert spec.loader is not None
    source = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(source)
    model = source.Model.from_pretrained(out)
    module = tm.load_converted(out)
    config = json.loads((out / "config.json").read_text())
    mine = tm.load_optimizer(out, model).optimizer()
    theirs = tm.load_optimizer(out, module).optimizer()
    for name, parameter in module.named_parameters():
        other = model.get_parameter(config["tensors"][name])
        assert torch.equal(mine.state[other]["momentum_buffer"], theirs.state[parameter]["momentum_buffer"])


def test_command_shows_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("optimizer", VGG) == 0
    shown = capsys.readouterr().out
    assert "optim.sgd at optimState is torch.optim.SGD" in shown
    assert "optim.nag leaves the same fields" in shown
    assert run("optimizer", VGG, "-o", tmp_path / "out", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["options"]["momentum"] == 0.9
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.name != MARKER) == found["files"]
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    shutil.rmtree(tmp_path / "out")
    assert run("optimizer", VGG, "-o", tmp_path / "out", "-q") == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first


def test_state_in_a_file_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = tm.load(VGG)
    tm.dump(checkpoint["model"], tmp_path / "model.t7")
    tm.dump(checkpoint["optimState"], tmp_path / "optimState_7.t7")
    assert run("optimizer", tmp_path / "model.t7", "--json") == 2
    assert "optimState_90.t7" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert run("optimizer", tmp_path / "model.t7", "--state", tmp_path / "optimState_7.t7", "--json") == 0
    assert json.loads(capsys.readouterr().out)["state"] == ["momentum_buffer"]


def test_folders_of_other_models_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tm.convert(golden.MODELS / "lenet_mnist.t7").save(tmp_path / "lenet")
    assert run("optimizer", VGG, "-o", tmp_path / "lenet") == 2
    assert "another model" in capsys.readouterr().err
    tm.convert(VGG).save(tmp_path / "vgg")
    assert run("optimizer", VGG, "-o", tmp_path / "vgg", "-q") == 0
    assert run("optimizer", VGG, "-o", tmp_path / "vgg", "-q") == 2
    assert "--force" in capsys.readouterr().err
    assert run("optimizer", VGG, "-o", tmp_path / "vgg", "-q", "--force") == 0


def damage_class(folder: Path) -> None:
    edit(folder, {"class": "builtins.eval"})


def damage_version(folder: Path) -> None:
    edit(folder, {"format_version": 99})


def damage_tensors(folder: Path) -> None:
    (folder / "optimizer.safetensors").write_bytes(b"nothing")


def forget_settings(folder: Path) -> None:
    (folder / "optimizer.json").unlink()


def damage_steps(folder: Path) -> None:
    edit(folder, {"steps": float("inf")})


def damage_steps_beyond_measure(folder: Path) -> None:
    edit(folder, {"steps": 10**400})


def damage_decay(folder: Path) -> None:
    edit(folder, {"learning_rate_decay": 10**400})


def damage_options(folder: Path) -> None:
    edit(folder, {"options": {"lr": {"a": 1}}})


def forget_rate(folder: Path) -> None:
    edit(folder, {"options": {}})


def damage_groups(folder: Path) -> None:
    edit(folder, {"param_groups": [{"params": [], "lr": "0.1"}]})


def edit(folder: Path, changes: dict[str, Any]) -> None:
    path = folder / "optimizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "damage",
    [
        damage_class,
        damage_version,
        damage_tensors,
        forget_settings,
        damage_steps,
        damage_steps_beyond_measure,
        damage_decay,
        damage_options,
        forget_rate,
        damage_groups,
    ],
)
def test_damaged_folders_are_named(damage: Any, tmp_path: Path) -> None:
    conversion = tm.convert(VGG)
    tm.convert_optimizer(conversion).write(tmp_path)
    damage(tmp_path)
    with pytest.raises(tm.UsageError):
        tm.load_optimizer(tmp_path, conversion.module)


def test_another_model_is_named(tmp_path: Path) -> None:
    tm.convert_optimizer(tm.convert(VGG)).write(tmp_path)
    with pytest.raises(tm.UsageError, match="another model"):
        tm.load_optimizer(tmp_path, torch.nn.Linear(2, 2))


def test_plain_pytorch_can_read_the_files(tmp_path: Path) -> None:
    conversion = tm.convert(VGG)
    tm.convert_optimizer(conversion).write(tmp_path)
    tensors = safetensors.torch.load_file(tmp_path / "optimizer.safetensors")
    names = {name for name, _ in conversion.module.named_parameters()}
    assert set(tensors) == {f"{name}.momentum_buffer" for name in names}
