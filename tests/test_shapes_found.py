"""Input shapes of well-known architectures, found from their layers, from what runs left, or by trying."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import golden
import lua
import numpy as np
import pytest

import torchmigrate as tm
from torchmigrate import cli
from torchmigrate.nested import shapes
from torchmigrate.shapes import infer_input


def conv(inputs: int, outputs: int, k: int, d: int = 1, p: int = 0, **more: Any) -> tm.LuaObject:
    fields = {"nInputPlane": inputs, "nOutputPlane": outputs, "kW": k, "kH": k, "dW": d, "dH": d, "padW": p, "padH": p}
    weight = lua.numbers(outputs, inputs, k, k, dtype="f4")
    return lua.module("nn.SpatialConvolution", **fields, weight=weight, bias=lua.numbers(outputs, dtype="f4"), **more)


def up(inputs: int, outputs: int, k: int, d: int, p: int) -> tm.LuaObject:
    fields = {"nInputPlane": inputs, "nOutputPlane": outputs, "kW": k, "kH": k, "dW": d, "dH": d, "padW": p, "padH": p}
    weight = lua.numbers(inputs, outputs, k, k, dtype="f4")
    return lua.module("nn.SpatialFullConvolution", **fields, adjW=0, adjH=0, weight=weight, bias=lua.numbers(outputs))


def pool(k: int, d: int, p: int = 0, kind: str = "Max") -> tm.LuaObject:
    fields = {"kW": k, "kH": k, "dW": d, "dH": d, "padW": p, "padH": p, "ceil_mode": False}
    more = {"count_include_pad": True, "divide": True} if kind == "Average" else {}
    return lua.module(f"nn.Spatial{kind}Pooling", **fields, **more)


def view(count: int) -> tm.LuaObject:
    size = tm.Storage("torch.LongStorage", np.array([count], "<i8"))
    return tm.LuaObject("nn.View", tm.LuaTable([("size", size), ("numElements", float(count))]))


def linear(inputs: int, outputs: int = 3) -> tm.LuaObject:
    return lua.linear(inputs, outputs, dtype="f4")


def lookup(rows: int, width: int) -> tm.LuaObject:
    return lua.module("nn.LookupTable", weight=lua.numbers(rows, width, dtype="f4"))


def temporal(frame: int, outputs: int, k: int) -> tm.LuaObject:
    fields = {"inputFrameSize": frame, "outputFrameSize": outputs, "kW": k, "dW": 1}
    weight = lua.numbers(outputs, k * frame, dtype="f4")
    return lua.module("nn.TemporalConvolution", **fields, weight=weight, bias=lua.numbers(outputs, dtype="f4"))


def chain(*modules: tm.LuaObject) -> tm.LuaObject:
    return lua.sequential(*modules)


def table(name: str, *modules: tm.LuaObject, **fields: Any) -> tm.LuaObject:
    return lua.module(f"nn.{name}", modules=list(modules), **fields)


RELU = lua.module("nn.ReLU", threshold=0, val=0, inplace=False)


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


def char_cnn() -> tm.LuaObject:
    pooling = lua.module("nn.TemporalMaxPooling", kW=3, dW=3)
    size = tm.Storage("torch.LongStorage", np.array([336 * 4], "<i8"))
    fields = [
        ("size", size),
        ("nelement", 1344.0),
        ("batchsize", tm.Storage("torch.LongStorage", np.array([0, 1344], "<i8"))),
    ]
    return chain(temporal(70, 4, 7), pooling, tm.LuaObject("nn.Reshape", tm.LuaTable(fields)), linear(1344))


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
    (char_cnn, "2x1014x70", "frames of 70 numbers; the length 1014"),
    (siamese, "{2x1x28x28,2x1x28x28}", "each of the 2 parts"),
    (two_stream, "{2,2x7}", "each of the 2 parts"),
    (lambda: chain(view(784), linear(784), linear(3, 784)), "2x784", "takes 784 numbers"),
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
