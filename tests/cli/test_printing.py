"""What every command prints for people: each line that is listed here stands among what is printed."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click
import golden
import lua
import numpy as np
import pytest

import torchmigrate as tm
from torchmigrate.base.errors import EXIT_OK, EXIT_PARITY, EXIT_UNSUPPORTED
from torchmigrate.cli.main import cli, main

#: (what is run, its exit code, lines that it prints; * stands for what differs from machine to machine)
ROWS: list[tuple[str, int, list[str]]] = [
    (
        "inspect vgg_checkpoint.t7",
        EXIT_OK,
        [
            "vgg_checkpoint.t7: 0.5 MB, binary, 8-byte longs",
            "likely written with a Torch of March 2016 or later",
            "optimState optimizer state looks like sgd with momentum, learningRate 0.01, momentum 0.9, *",
            "learningRate number 0.01",
            "model: nn.Sequential, 41,073 parameters (0.2 MB)",
            "├── 1 nn.SpatialConvolution bias 6 weight 6x3x3x3 Float",
            "saved in training mode",
            "nn.SpatialConvolution x6 Conv2d",
            "every class has a converter",
            "next: torchmigrate convert vgg_checkpoint.t7",
        ],
    ),
    (
        "inspect lenet_mnist.t7 --tensors",
        EXIT_OK,
        [
            "nn.Sequential, 4,990 parameters (39,920 bytes), 12 modules hold the output of the last run",
            "├── 3 nn.SpatialMaxPooling → 1x8x9x9",
            "tensor type size min max mean std NaN inf zeros",
            "modules.3.indices LongTensor 1x8x9x9 1 754 377.8 217.7 0 0 0",
        ],
    ),
    (
        "inspect own.t7 --svg own.svg",
        EXIT_OK,
        [
            "├── 1 nn.Linear weight 2x3 bias 2 Double",
            "└── 2 my.Own",
            "my.Own x1 no converter",
            "no converter for: my.Own (1)",
            "next: torchmigrate convert own.t7 --lua MyLayer.lua (or --plugin my_layers.py, or --alias my.Class=*",
            "own.svg shows the network",
        ],
    ),
    (
        "convert lenet_mnist.t7 --reference lenet_mnist.reference.t7 -o lenet",
        EXIT_OK,
        [
            "lenet_mnist.t7: 12 layers, 4,990 parameters",
            "lenet/model.onnx *bytes",
            "lenet/model.safetensors 40,592 bytes",
            "PASSED against Torch7's own numbers (lenet_mnist.reference.t7): pytorch-cpu passed, *",
            "next: python -c \"import torchmigrate as tm; print(tm.load_converted('lenet'))\"",
        ],
    ),
    (
        "convert wrong.t7 --reference lenet_mnist.reference.t7 -o wrong --no-onnx",
        EXIT_PARITY,
        ["wrong/PARITY-FAILED.txt *bytes", "onnx not run: --no-onnx", "FAILED against Torch7's own numbers *"],
    ),
    (
        "convert lenet_mnist.t7 own.t7 -o zoo --no-onnx",
        EXIT_UNSUPPORTED,
        [
            "file result parity compared with what was found",
            "lenet_mnist converted PASSED Torch7's answers no onnx: --no-onnx",
            "own unsupported no converter for my.Own (1)",
            "classes without a converter",
            "my.Own: blocks 1 file, alone in 1 (own)",
            "2 files: 1 converted, 1 unsupported",
            "parity: 1 PASSED",
            "zoo/summary.html",
        ],
    ),
    (
        "convert alone.t7 -o alone --no-onnx --require-proof",
        EXIT_PARITY,
        [
            "input found: 2x*; --input-shape takes another",
            "NOT COMPARED against itself in float64: *",
            "not proven: there is no proof of parity, which --require-proof asks for: NOT COMPARED",
        ],
    ),
    (
        "convert alone.t7 more.t7 -o two --no-onnx --require-proof",
        EXIT_PARITY,
        [
            "alone not proven NOT COMPARED itself *",
            "2 files: 2 not proven",
            "parity: 2 NOT COMPARED",
        ],
    ),
    (
        "verify lenet_mnist.t7 --require-proof",
        EXIT_OK,
        [
            "reference: lenet_mnist.reference.t7 lies beside the file, so it was taken as the reference",
            "PASSED against Torch7's own numbers (lenet_mnist.reference.t7): *",
        ],
    ),
    (
        "convert lenet_mnist.t7 -o lenet --no-onnx",
        EXIT_OK,
        [
            "reference: lenet_mnist.reference.t7 lies beside the file, so it was taken as the reference",
            "PASSED against Torch7's own numbers (lenet_mnist.reference.t7): *",
        ],
    ),
    (
        "verify alexnet.t7 --require-proof --no-layers",
        EXIT_PARITY,
        [
            "PARTLY COMPARED (0 of 7 layers with weights) against the activations that Torch7 left in the file*",
            "*0 of 7 layers with weights were compared. The others were not: 7: it was not compared.",
            "not proven: there is no proof of parity, which --require-proof asks for: PARTLY COMPARED (0 of 7 *",
        ],
    ),
    (
        "verify lenet_mnist.t7 --reference lenet_mnist.reference.t7 --save-run run.npz",
        EXIT_OK,
        [
            "backend result largest difference tolerance why",
            "pytorch-cpu passed * 1e-09?max|b| + 0?|b|",
            "onnxruntime not run there is no ONNX file",
            "PASSED against Torch7's own numbers (lenet_mnist.reference.t7): pytorch-cpu passed, *",
            "Not run, so not covered: onnxruntime (there is no ONNX file)*",
            "One input was compared, of size 2x1x32x32. Others were not.",
            "run.npz: the run, for --compare-run on another machine",
        ],
    ),
    (
        "verify wrong.t7 --reference lenet_mnist.reference.t7 --bisect part",
        EXIT_PARITY,
        [
            "pytorch-cpu failed *",
            "FAILED against Torch7's own numbers (lenet_mnist.reference.t7): *nn.Linear*",
            "part: nn.Linear at 8, whose input is not known whole: *; run reproduce.py in it",
        ],
    ),
    (
        "verify first.t7 --reference lenet_mnist.reference.t7 --bisect part",  # of its output, there is a summary
        EXIT_PARITY,
        [
            "FAILED against Torch7's own numbers (lenet_mnist.reference.t7): *nn.SpatialConvolutionMM at 1*",
            "part: nn.SpatialConvolutionMM at 1; run reproduce.py in it",
        ],
    ),
    (
        "export lenet_mnist.t7 -o m.onnx --external-data --int8",
        EXIT_OK,
        [
            "m.onnx opset 20, *bytes",
            "weights: m.onnx.data, *bytes",
            "input: batchx1x32x32",
            "output: batchx10",
            "equal to PyTorch in 3 runs; they differ by * of the output at most",
            "int8: m.int8.onnx, *bytes; off by * of the output at most, * in the mean, * dB above its error",
            "note: the input shape was inferred: gradInput of the model was left in the file",
        ],
    ),
    (
        "optimizer resnet_bottleneck_B.t7",
        EXIT_OK,
        [
            "optim.adam at optimState is torch.optim.Adam",
            "lr 0.001, betas (0.9, 0.999), weight_decay 0.0, eps 1e-08",
            "68 parameters; state of each: exp_avg, exp_avg_sq, step",
            "note: torch.optim.Adam adds its epsilon after the bias is corrected, Torch7 before: *",
            "next: write it with -o FOLDER",
        ],
    ),
    (
        "optimizer resnet_bottleneck_B.t7 -o adam",
        EXIT_OK,
        [
            "adam/optimizer.safetensors 0.1 MB",
            "next: tm.load_optimizer('adam', module).optimizer(); see docs/resume-training.md",
        ],
    ),
    ("extract charrnn_checkpoint.t7 --key opt", EXIT_OK, ['"rnn_size": 16,', '"model": "lstm",']),
    (
        "extract images.t7 -o images.npz --png images.png",
        EXIT_OK,
        [
            "table of 1",
            "images.npz *bytes",
            "data float32 2x3x4x5",
            "note: the preview shows 2 of 2 images of data; 0 is black and 255 is white",
            "next: numpy.load('images.npz')",
        ],
    ),
    (
        "pack x.npy options=options.json -o batch.t7",
        EXIT_OK,
        [
            "batch.t7 *bytes table of 2",
            "x torch.DoubleTensor 2x3",
            "options table of 1",
            "next: th -e \"print(torch.load('batch.t7'))\"",
        ],
    ),
    (
        "reference",
        EXIT_OK,
        [
            "torchmigrate reference --script > dump_reference.lua",
            "th dump_reference.lua model.t7 --size 2x3x224x224 --layers model.reference.t7",
        ],
    ),
    (
        "layers spatial pooling",
        EXIT_OK,
        [
            "Torch7 PyTorch gradients ONNX cases",
            "nn.SpatialDilatedMaxPooling MaxPool2d yes yes *",
            "* classes",
        ],
    ),
    (
        "doctor",
        EXIT_OK,
        [f"torchmigrate: {tm.__version__}", "packages:", "torch: *", "devices:", "cpu: *", "ONNX Runtime: *"],
    ),
]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with golden models, and with small files for what those have not."""
    for path in golden.MODELS.glob("*.t7"):
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    tm.dump(lua.sequential(lua.linear(3, 2), lua.module("my.Own")), "own.t7")
    tm.dump(lua.value({"data": np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)}), "images.t7")
    np.save("x.npy", np.arange(6.0).reshape(2, 3))
    for name in ("alone.t7", "more.t7"):
        tm.dump(lua.sequential(lua.linear(3, 2), lua.module("nn.Tanh")), name)
    Path("alexnet.t7").symlink_to(golden.MODELS / "alexnet_grouped_lrn.t7")  # away from its reference
    Path("options.json").write_text(json.dumps({"lr": 0.5}))
    for name, layer in (("wrong.t7", 8), ("first.t7", 1)):
        model: Any = tm.load("lenet_mnist.t7")
        bias = model["modules"][layer]["bias"]
        bias.storage.data = bias.storage.data.copy()
        bias.storage.data[bias.offset - 1] += 0.5
        tm.dump(model, name)


def plain(line: str) -> str:
    """Without the spaces that make columns."""
    return re.sub(r" +", " ", line).strip()


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("words", "exit_code", "lines"), ROWS, ids=[row[0] for row in ROWS])
def test_lines_are_printed(words: str, exit_code: int, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words.split())
    shown = capsys.readouterr()
    assert (stopped.value.code, shown.err) == (exit_code, "")
    printed = [plain(line) for line in shown.out.splitlines()]
    missing = [line for line in lines if not any(fnmatchcase(there, line.replace("[", "[[]")) for there in printed)]
    assert not missing, shown.out


def test_every_command_has_a_row() -> None:
    elsewhere = {"match", "run", "push", "examples"}  # in tests of their own
    assert {words.split()[0] for words, _, _ in ROWS} | elsewhere == set(cli.list_commands(click.Context(cli)))
