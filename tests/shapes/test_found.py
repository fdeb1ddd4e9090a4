"""Input shapes of well-known architectures, found from their layers, from what runs left, or by trying."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import golden
import lua
import numpy as np
import pytest
from networks import (
    RELU,
    chain,
    conv,
    linear,
    lookup,
    pool,
    reshape,
    seq_lstm,
    table,
    temporal,
    up,
    view,
    volumetric,
    volumetric_pool,
)

import torchmigrate as tm
from torchmigrate.base.tensor_trees import shapes
from torchmigrate.cli import main as cli
from torchmigrate.shapes.infer import infer_input


def vgg() -> tm.LuaObject:
    return chain(
        *(m for i in range(5) for m in (conv(3 if i == 0 else 2, 2, 3, p=1), pool(2, 2))), view(98), linear(98)
    )


def alexnet() -> tm.LuaObject:
    features = [conv(3, 4, 11, 4), RELU, pool(3, 2), conv(4, 4, 5, p=2), pool(3, 2), conv(4, 4, 3, p=1), pool(3, 2)]
    return chain(*features, view(144), linear(144))


def overfeat() -> tm.LuaObject:
    features = [conv(3, 4, 11, 4), pool(2, 2), conv(4, 4, 5), pool(2, 2), conv(4, 4, 3, p=1), pool(2, 2)]
    return chain(*features, view(144), linear(144))


def residual(inputs: int, outputs: int, stride: int) -> Iterator[tm.LuaObject]:
    block = chain(conv(inputs, outputs, 3, stride, 1), RELU, conv(outputs, outputs, 3, p=1))
    yield table("ConcatTable", block, conv(inputs, outputs, 1, stride))
    yield lua.module("nn.CAddTable", inplace=True)


def resnet() -> tm.LuaObject:
    body = [m for i in range(4) for m in residual(4, 4, 1 if i == 0 else 2)]
    return chain(conv(3, 4, 7, 2, 3), RELU, pool(3, 2, 1), *body, pool(7, 1, kind="Average"), view(4), linear(4))


def openface() -> tm.LuaObject:
    body = [conv(3, 4, 7, 2, 3), pool(3, 2, 1), conv(4, 4, 3, 2, 1), conv(4, 4, 3, 2, 1), conv(4, 4, 3, 2, 1)]
    return chain(*body, pool(3, 1, kind="Average"), view(4), linear(4))


def nin() -> tm.LuaObject:
    return chain(
        conv(3, 4, 5, p=2), pool(3, 2, 1), conv(4, 4, 5, p=2), pool(3, 2, 1), pool(8, 1, kind="Average"), view(4)
    )


def generator() -> tm.LuaObject:
    return chain(up(100, 8, 4, 1, 0), RELU, up(8, 4, 4, 2, 1), up(4, 3, 4, 2, 1))


def style() -> tm.LuaObject:
    pad = lua.module("nn.SpatialReflectionPadding", pad_l=4, pad_r=4, pad_t=4, pad_b=4)
    return chain(pad, conv(3, 4, 9), conv(4, 4, 3, 2, 1), up(4, 3, 4, 2, 1))


def lenet() -> tm.LuaObject:
    return chain(conv(1, 4, 5), pool(2, 2), conv(4, 4, 5), pool(2, 2), view(64), linear(64))


def tpool(k: int) -> tm.LuaObject:
    return lua.module("nn.TemporalMaxPooling", kW=k, dW=k)


def char_cnn() -> tm.LuaObject:
    return chain(temporal(70, 4, 7), tpool(3), reshape(336 * 4), linear(1344))


def film() -> tm.LuaObject:
    body = [m for i in range(4) for m in (volumetric(3 if i == 0 else 2, 2, 3, p=1), volumetric_pool(1 + (i > 0), 2))]
    return chain(*body, view(2 * 2 * 49), linear(196))


def voxels() -> tm.LuaObject:
    return chain(volumetric(1, 3, 5, 2), volumetric(3, 2, 3), volumetric_pool(2, 2), view(2 * 216), linear(432))


def hourglass(depth: int) -> tm.LuaObject:
    inner = hourglass(depth - 1) if depth > 1 else conv(4, 4, 3, p=1)
    low = chain(pool(2, 2), inner, lua.module("nn.SpatialUpSamplingNearest", scale_factor=2))
    return chain(table("ConcatTable", conv(4, 4, 1), low), lua.module("nn.CAddTable", inplace=False))


def pose() -> tm.LuaObject:
    return chain(conv(3, 4, 7, 2, 3), pool(2, 2), hourglass(4))


def oblong_kernels(inputs: int, outputs: int, width: int, height: int, d: int) -> tm.LuaObject:
    fields = {"nInputPlane": inputs, "nOutputPlane": outputs, "kW": width, "kH": height, "dW": 2, "dH": d}
    weight, bias = lua.numbers(outputs, inputs, height, width, dtype="f4"), lua.numbers(outputs, dtype="f4")
    return lua.module("nn.SpatialConvolution", **fields, padW=0, padH=0, weight=weight, bias=bias)


def steps(*layers: tm.LuaObject) -> tm.LuaObject:
    step = chain(*layers)
    recursor = lua.module("nn.Recursor", recurrentModule=step, modules=[step], sharedClones=[step])
    return lua.module("nn.Sequencer", module=recursor, modules=[recursor])


def speech() -> tm.LuaObject:
    swap = lua.module("nn.Transpose", permutations=[[2, 3], [1, 2]])
    maps = [oblong_kernels(1, 3, 11, 41, 2), oblong_kernels(3, 4, 11, 21, 2)]
    return chain(*maps, view(84, -1, dims=3), swap, seq_lstm(84, 5))


def two_texts() -> tm.LuaObject:
    image = chain(linear(4096, 7), lua.module("nn.Tanh"))
    words = chain(lookup(30, 6), lua.module("nn.Sum", dimension=2), linear(6, 7))
    return chain(table("ParallelTable", image, words), lua.module("nn.CMulTable"), linear(7))


def joined() -> tm.LuaObject:
    beside = table("ParallelTable", lookup(30, 6), lua.module("nn.Identity"))
    return chain(beside, lua.module("nn.JoinTable", dimension=2, nInputDims=0), linear(9))


def siamese() -> tm.LuaObject:
    return chain(table("ParallelTable", lenet(), lenet()), lua.module("nn.PairwiseDistance", norm=2))


def two_stream() -> tm.LuaObject:
    first = chain(lua.module("nn.SelectTable", index=1), lookup(9, 5))
    second = chain(lua.module("nn.SelectTable", index=2), linear(7, 5))
    return chain(table("ConcatTable", first, second), lua.module("nn.CAddTable", inplace=False))


FOUND = [
    (vgg, "2x3x224x224", "3 channels; 224x224 was tried"),
    (alexnet, "2x3x227x227", "227x227 was tried"),
    (overfeat, "2x3x231x231", "231x231 was tried"),
    (resnet, "2x3x224x224", "224x224 was tried"),
    (openface, "2x3x96x96", "96x96 was tried"),
    (nin, "2x3x32x32", "32x32 was tried"),
    (generator, "2x100x1x1", "1x1 was tried"),
    (style, "2x3x224x224", "any other size"),
    (lenet, "2x1x28x28", "28x28 was tried"),
    (film, "2x3x16x112x112", "16x112x112 was tried"),
    (voxels, "2x1x32x32x32", "32x32x32 was tried"),
    (pose, "2x3x256x256", "256x256 was tried and fits (so do 64x64, 128x128"),
    (speech, "2x1x161x322", "161 rows become the 84 numbers that nn.SeqLSTM takes, as 161 to 164 rows do"),
    (two_texts, "{2x4096,2x16}", "nn.Linear at 1.1.1 takes 4096 numbers"),
    (joined, "{2,2x3}", "{2,2x3} follows from what the layers refuse"),
    (char_cnn, "2x1014x70", "frames of 70 numbers; the length 1014"),
    (siamese, "{2x1x28x28,2x1x28x28}", "each of the 2 parts"),
    (two_stream, "{2,2x7}", "each of the 2 parts"),
    # a View of fixed size would take these too short or too long as well, and mix the samples
    (
        lambda: chain(lookup(30, 6), temporal(6, 4, 3), tpool(2), view(96), linear(96)),
        "2x50",
        "takes indices; 2x50 follows",
    ),
    (lambda: chain(lookup(30, 6), view(30), linear(30)), "2x5", "the length 5 was tried and fits"),
    (
        lambda: chain(temporal(20, 4, 5), tpool(2), view(392), linear(392)),
        "2x200x20",
        "2x200x20 follows from what the layers refuse",
    ),
    # one answer per word, or per window of words: any length does
    (lambda: chain(lookup(30, 6), view(-1, 6), linear(6)), "2x16", "any other size"),
    (lambda: chain(lookup(30, 6), temporal(6, 8, 3), view(-1, 8), linear(8)), "2x16", "any other size"),
    # images in each step
    (lambda: steps(conv(1, 2, 3, p=1)), "5x2x1x64x64", "in each of 5 steps; 64x64 was tried and fits (so does"),
    (lambda: steps(conv(1, 4, 5, 2), pool(2, 2), view(100, dims=3), linear(100)), "5x2x1x23x23", "(so does 24x24)"),
    # a View that knows of no batch
    (lambda: chain(conv(1, 4, 5), pool(4, 4), view(-1), linear(144)), "1x28x28", "one image at a time, in no batch"),
    # both sizes of MNIST
    (lambda: chain(conv(1, 4, 5), pool(3, 3), conv(4, 8, 5), pool(2, 2), view(32), linear(32)), "2x1x32x32", "28x28"),
    (lambda: chain(view(784), linear(784), linear(3, 784)), "2x1x28x28", "an image of 1 channel (so does 2x784)"),
    (lambda: chain(lookup(30, 6), temporal(6, 4, 3), lua.module("nn.Max", dimension=2)), "2x16", "takes indices"),
]


@pytest.mark.parametrize(("make", "sizes", "words"), FOUND, ids=[f"{row[1]}-{i}" for i, row in enumerate(FOUND)])
def test_architectures(make: Any, sizes: str, words: str) -> None:
    guess = infer_input(tm.convert(make()))
    assert shapes(guess.value) == sizes
    assert words in guess.reason


@pytest.mark.parametrize(
    ("layer", "sizes"),
    [
        (conv(3, 4, 3, 2, 1, output=lua.numbers(5, 4, 20, 12)), "5x3x40x24"),
        (conv(3, 4, 5, 1, 0, output=lua.numbers(1, 4, 9, 11)), "2x3x13x15"),
        (conv(3, 4, 11, 4, 0, output=lua.numbers(1, 4, 55, 54)), "2x3x227x223"),
        (conv(3, 4, 3, gradInput=lua.numbers(3, 3, 9, 17)), "3x3x9x17"),
        (conv(3, 4, 3, _input=lua.numbers(3, 3, 7, 6)), "3x3x7x6"),
    ],
)
def test_what_a_run_left_tells_the_size(layer: tm.LuaObject, sizes: str) -> None:
    guess = infer_input(tm.convert(chain(layer, RELU)))
    assert shapes(guess.value) == sizes
    assert "left in the file" in guess.reason


def test_of_a_large_recorded_batch_two_samples_are_taken() -> None:
    sizes = tm.Storage("torch.LongStorage", np.array([32, 3, 160, 176]))
    first = lua.module(
        "cudnn.SpatialConvolution",
        nInputPlane=3,
        nOutputPlane=2,
        kW=3,
        kH=3,
        dW=1,
        dH=1,
        padW=1,
        padH=1,
        groups=1,
        weight=lua.numbers(2, 3, 3, 3),
        bias=lua.numbers(2),
        iSize=sizes,
    )
    guess = infer_input(tm.convert(lua.sequential(first)))
    assert guess.value.shape == (2, 3, 160, 176)
    assert guess.reason.endswith("remembers the size of its input, of whose 32 samples two are taken")


def test_a_single_image_of_torch7_becomes_a_batch() -> None:
    model = lua.module("nn.Sequential", modules=[conv(3, 4, 3), RELU], gradInput=lua.numbers(3, 9, 17))
    assert shapes(infer_input(tm.convert(model)).value) == "2x3x9x17"


def test_sizes_that_a_file_claims_are_not_allocated() -> None:
    one = tm.Storage("torch.FloatStorage", np.ones(1, "<f4"))
    claimed = tm.Tensor("torch.FloatTensor", (1 << 20, 3, 1 << 15, 1 << 15), (0, 0, 0, 0), 1, one)
    size = tm.Storage("torch.LongStorage", np.array([1 << 40, 3, 1 << 40, 9], "<i8"))
    model = lua.module("nn.Sequential", modules=[conv(3, 4, 3, iSize=size), RELU], gradInput=claimed)
    assert shapes(infer_input(tm.convert(model)).value) == "2x3x224x224"


def test_an_oblong_image_is_said_not_guessed() -> None:
    model = chain(conv(3, 4, 3, p=1), pool(2, 2), view(80), linear(80))
    with pytest.raises(tm.UsageError, match=r"ambiguous: square images do not fit, but .*2x3x8x10.* do") as caught:
        infer_input(tm.convert(model))
    assert "--input-shape 2x3x8x10" in str(caught.value)


def without_leftovers(value: Any, seen: set[int]) -> None:
    """Empties what a run left, as clearState() does."""
    if id(value) in seen or not isinstance(value, (tm.LuaTable, tm.LuaObject)):
        return
    seen.add(id(value))
    held = value.fields if isinstance(value, tm.LuaObject) else value
    for key, item in held.items():
        if key in ("output", "gradInput", "finput", "fgradInput", "_input"):
            held[key] = tm.LuaTable()
        else:
            without_leftovers(item, seen)


def test_what_to_pass_is_said_and_passing_it_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = tm.load(golden.MODELS / "stn_affine6.t7")
    without_leftovers(value, set())
    tm.dump(value, tmp_path / "stn.t7")
    words = ["convert", str(tmp_path / "stn.t7"), "-o", str(tmp_path / "out"), "-q"]
    assert exit_code(words) == 2
    said = capsys.readouterr().err
    assert "nn.Linear at 1.2.2" in said
    assert "--input-shape 2x" in said
    assert not (tmp_path / "out").exists()
    assert exit_code([*words, "--input-shape", "2x2x16x20"]) == 0


#: Two models in one file: which one is meant can't be known.
KEYS = {"autoencoder_list": "1", "wordrnn_two_protos": "protos.gru", "dqn_rectifier": "best_model"}

#: Converted by default, one of each kind; the others with -m slow.
BY_DEFAULT = {"lenet_mnist", "stn_affine6", "wordrnn_two_protos", "textcnn", "autoencoder_list"}


def exit_code(words: list[str]) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    return int(stopped.value.code or 0)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(row["name"], marks=[] if row["name"] in BY_DEFAULT else pytest.mark.slow)
        for row in golden.model_rows()
    ],
)
def test_golden_models_need_no_option(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["convert", str(golden.MODELS / f"{name}.t7"), "-o", str(tmp_path / "out")]
    if name == "style_shave_batchnorm":  # a class of its user
        words += ["--plugin", str(golden.FIXTURES / "plugins" / "shave_crop.py")]
    if name in KEYS and name != "dqn_rectifier":
        assert exit_code(words) == 2
        assert f"--key {KEYS[name]}" in capsys.readouterr().err
        words += ["--key", KEYS[name]]
    assert exit_code(words) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"model.safetensors", "config.json", "model.onnx", "parity.json"}
