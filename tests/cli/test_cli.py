"""The command line as a user calls it: output, exit codes, nothing half-written."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import golden
import lua
import pytest
import torch

import torchmigrate as tm
from torchmigrate.cli import main as cli

LENET = golden.MODELS / "lenet_mnist.t7"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(word) for word in words])
    return int(stopped.value.code or 0)


def run_json(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict]:
    code = run(*words, "--json")
    return code, json.loads(capsys.readouterr().out)


def test_alone_it_shows_what_one_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert "torchmigrate convert model.t7" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["convert", "inspect", "verify", "export", "layers", "reference"])
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    assert f"torchmigrate {command}" in capsys.readouterr().out.partition("Options:")[0].partition("\n\n")[2]


def test_inspect_shows_the_tree(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = run_json(capsys, "inspect", golden.MODELS / "vgg_checkpoint.t7")
    assert code == 0
    assert found["format"] == "binary"
    (model,) = [model for model in found["models"] if model["key"] == "model"]
    assert model["parameters"] == 41073
    assert model["unsupported"] == {}
    assert model["classes"]["nn.SpatialConvolution"] == 6
    first = model["tree"]["children"][0]
    assert (first["path"], first["typename"], first["dtype"]) == ("1", "nn.SpatialConvolution", "Float")


@pytest.mark.parametrize("row", golden.model_rows(), ids=lambda row: row["name"])
def test_inspect_counts_parameters_as_torch7_does(row: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    key = "" if row["key"] == "-" else row["key"]
    _, found = run_json(capsys, "inspect", golden.MODELS / row["file"])
    (model,) = [model for model in found["models"] if model["key"] == key]
    assert model["parameters"] == int(row["parameters"])


WRONG_FILES = [
    ("page.t7", b"<!DOCTYPE html><html><body>404</body></html>", "HTML"),
    ("text.t7", b"just some words, no model at all\n", "text"),
    ("pointer.t7", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "LFS"),
    ("empty.t7", b"", "empty"),
    ("packed.t7", gzip.compress(LENET.read_bytes()[:200]), "gzip"),
    ("torn.t7", LENET.read_bytes()[:5000], "byte"),
]


@pytest.mark.parametrize("command", ["inspect", "convert", "export"])
@pytest.mark.parametrize(("name", "content", "word"), WRONG_FILES, ids=[row[0] for row in WRONG_FILES])
def test_wrong_files_exit_3_and_are_named(
    command: str, name: str, content: bytes, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    output = [] if command == "inspect" else ["-o", tmp_path / "out"]
    assert run(command, tmp_path / name, *output) == 3
    assert word in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


@pytest.mark.parametrize("command", ["inspect", "verify", "extract"])
@pytest.mark.parametrize("content", ["require 'nn'\nreturn nn.Sequential()\n", "-- Lösung\n"])
def test_lua_source_is_told_what_to_do_with_it(
    command: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.lua").write_text(content, "utf-8")
    assert run(command, tmp_path / "model.lua") == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "convert model.lua --weights params.t7" in said
    assert "--lua layers.lua" in said
    code, found = run_json(capsys, command, tmp_path / "model.lua")
    assert code == 3
    assert "--weights" in found["error"]["message"]


def test_pytorch_checkpoint_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "model.pth")
    code, found = run_json(capsys, "inspect", tmp_path / "model.pth")
    assert code == 3
    assert "PyTorch" in found["error"]["message"]


def test_unknown_classes_exit_4_and_leave_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = lua.sequential(lua.module("my.First"), lua.linear(3, 2), lua.sequential(lua.module("my.Second")))
    tm.dump(model, tmp_path / "model.t7")
    code, found = run_json(capsys, "convert", tmp_path / "model.t7", "-o", tmp_path / "out")
    assert (code, found["exit_code"]) == (4, 4)
    assert "my.First x1 at 1:" in found["error"]["message"]
    assert "my.Second x1 at 3.1:" in found["error"]["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["model.t7"]


def test_hostile_names_are_harmless(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tm.dump(lua.value({"[red]\x1b[31m": lua.sequential(lua.module("[bold]evil\x1b]0;x\x07"))}), tmp_path / "evil.t7")
    assert run("inspect", tmp_path / "evil.t7") == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[bold]evil\\x1b" in shown


@pytest.mark.parametrize(
    "words",
    [
        ["convert"],
        ["nonsense"],
        ["convert", LENET, "--nonsense"],
        ["convert", LENET, "--alias", "no-equals-sign"],
        ["convert", LENET, "--key", "nowhere"],
        ["convert", LENET, "--plugin", "missing.py"],
        ["convert", LENET, "--input-shape", "1xtwo"],
        ["convert", LENET, "--input-shape", "2x3x32x32"],
        ["verify", LENET, "--input-shape", "2x1x9x9", "--reference", "self"],
        ["export", LENET, "--input-shape", "32"],
        ["export", LENET, "--outputs", "70"],
        ["convert", LENET, "--device", "tpu"],
        ["convert", LENET, "-o", LENET / "below_a_file"],
        ["convert", LENET, LENET.with_name("textcnn.t7"), "-o", LENET],
    ],
)
def test_wrong_calls_exit_2(words: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2
    assert list(tmp_path.iterdir()) == []


def test_convert_writes_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = golden.MODELS / "lenet_mnist.reference.t7"
    assert run("convert", LENET, "-o", tmp_path / "out", "--reference", reference) == 0
    shown = capsys.readouterr().out
    assert "PASSED" in shown
    assert "load_converted" in shown
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"model.safetensors", "model.py", "config.json", "model.onnx", "parity.json"}
    for name in ("config.json", "parity.json"):
        assert str(tmp_path) not in (tmp_path / "out" / name).read_text()
    assert run("convert", LENET, "-o", tmp_path / "out") == 2
    assert "exists already" in capsys.readouterr().err


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert run("convert", LENET, "-o", tmp_path / name, "-q") == 0
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_shave_crop_needs_its_plugin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = golden.MODELS / "style_shave_batchnorm.t7"
    reference = golden.MODELS / "style_shave_batchnorm.reference.t7"
    assert run("convert", model, "-o", tmp_path / "out") == 4
    assert "nn.ShaveCrop" in capsys.readouterr().err
    plugin = golden.FIXTURES / "plugins" / "shave_crop.py"
    assert run("convert", model, "-o", tmp_path / "out", "--plugin", plugin, "--reference", reference) == 0


def test_parity_failure_exits_1_and_marks_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = tm.load(LENET)
    value["modules"][1]["weight"].storage.data = value["modules"][1]["weight"].storage.data.copy()
    value["modules"][1]["weight"].storage.data[0] += 0.5
    tm.dump(value, tmp_path / "wrong.t7")
    reference = golden.MODELS / "lenet_mnist.reference.t7"
    assert run("convert", tmp_path / "wrong.t7", "-o", tmp_path / "out", "--reference", reference) == 1
    assert "FAILED" in capsys.readouterr().out
    assert (tmp_path / "out" / "PARITY-FAILED.txt").exists()


def test_layers_lists_and_filters(capsys: pytest.CaptureFixture[str]) -> None:
    code, rows = run_json(capsys, "layers", "spatial", "pooling")
    assert code == 0
    assert "nn.SpatialMaxPooling" in [row["typename"] for row in rows]
    assert all("spatial" in row["typename"].lower() and "pooling" in row["typename"].lower() for row in rows)


def test_reference_prints_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reference", "--script") == 0
    assert capsys.readouterr().out.startswith("--[[ dump_reference.lua: run a Lua Torch7 model once")


def test_convert_reads_standard_input(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "torchmigrate",
        "convert",
        "-",
        "-q",
        "--no-onnx",
        "--no-verify",
        "-o",
        str(tmp_path / "out"),
    ]
    assert subprocess.run(words, input=LENET.read_bytes()).returncode == 0
    assert json.loads((tmp_path / "out" / "config.json").read_text())["source"]["file"] == "stdin.t7"
