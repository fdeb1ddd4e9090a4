"""`torchmigrate convert model.lua`: its options, its words, its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from golden import FIXTURES

from torchmigrate.cli.main import main

pytest.importorskip("lupa")

SCRIPT = FIXTURES / "lua" / "stories" / "script"
CHARRNN = FIXTURES / "lua" / "stories" / "charrnn"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    return int(stopped.value.code or 0)


def test_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [SCRIPT / "train.lua", "--global", "model", "--arg=-hidden", "--arg", "7", "--arg=-dropout"]
    code = run(
        "convert",
        *words,
        "--weights",
        SCRIPT / "params.t7",
        "-o",
        tmp_path / "out",
        "--no-onnx",
        "--no-verify",
        "--json",
    )
    said = json.loads(capsys.readouterr().out)
    assert code == 0
    assert said["definition"] == {
        "parameter_tensors": 6,
        "batch_norms": 0,
        "filled": ["parameters"],
        "printed": "",
        "missing_packages": [],
        "own_classes": [],
        "found": "",
        "data": [],
    }
    assert said["parameters"] == 491
    assert (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.slow
def test_options_come_from_the_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = "LSTM.lstm(opt.vocab_size, opt.rnn_size, opt.num_layers, opt.dropout)"
    words = [CHARRNN / "model" / "LSTM.lua", "--folder", CHARRNN, "--call", call]
    weights = ["--weights", CHARRNN / "checkpoint.t7", "--weights-key", "params"]
    assert run("convert", *words, *weights, "-o", tmp_path / "out", "--no-onnx") == 0
    assert "LSTM.lua gave 11 parameter tensors; filled: parameters" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([SCRIPT / "train.lua"], 2, "give its parameters with --weights"),
        ([FIXTURES / "models" / "lenet_mnist.t7", "--call", "f()"], 2, "--call is for a single .lua file"),
        ([FIXTURES / "models" / "lenet_mnist.t7", "--opt", "a=1"], 2, "--opt is for a single .lua file"),
        ([SCRIPT / "train.lua", "--weights", SCRIPT / "params.t7", "--opt", "depth"], 2, "--opt takes KEY=VALUE"),
        (
            [SCRIPT / "train.lua", "--weights", SCRIPT / "params.t7", "--global", "net"],
            2,
            "gave nothing, not a",
        ),
    ],
)
def test_it_says_what_is_wrong(words: list[object], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", *words) == code
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_an_error_of_the_lua_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = [SCRIPT / "train.lua", "--weights", SCRIPT / "params.t7", "--global", "model", "--arg=-model", "--arg", "x"]
    assert run("convert", *words) == 2
    assert "train.lua:26: unknown model x" in capsys.readouterr().err


@pytest.mark.slow
def test_an_authors_layer_that_reads_indices_gets_some(tmp_path: Path) -> None:
    case = FIXTURES / "lua" / "definitions" / "m03_char_lstm"
    words = ["--folder", case, "--require", "nn", "--require", "nngraph", "--require", "util.OneHotRows"]
    words += ["--call", "LSTM.lstm(opt.vocab, opt.rnn_size, opt.num_layers, opt.dropout)"]
    for option in ("vocab=9", "rnn_size=7", "num_layers=2", "dropout=0.25"):
        words += ["--opt", option]
    words += ["--weights", case / "params.t7", "--lua", case / "util" / "OneHotRows.lua", "-o", tmp_path / "out"]
    assert run("convert", case / "model" / "LSTM.lua", *words) == 0
    assert "(N,) indices from 1; (N, 7)" in (tmp_path / "out" / "model.py").read_text()
    given = ["--input", case / "input.t7", "--expect", case / "output.t7"]
    assert run("verify", tmp_path / "out", "--plugin", tmp_path / "out" / "lua_layers.py", *given) == 0
