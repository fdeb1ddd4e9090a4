"""Layers that choose among numbers are judged with the reference's own choice, where that is as good as theirs."""

from __future__ import annotations

from pathlib import Path

import lua
import numpy as np
import pytest
import torch

import torchmigrate as tm
from torchmigrate.parity.choices import APPROXIMATED, CHOSEN, Choices
from torchmigrate.parity.judge.tolerances import Rules
from torchmigrate.parity.runs.layers import worst
from torchmigrate.parity.trace import LayerRun


def recorded(module: tm.LuaObject, output: np.ndarray) -> tm.LuaObject:
    module.fields["output"] = tm.Tensor.from_numpy(np.ascontiguousarray(output))
    return module


def unpooling(given: np.ndarray, put: list[tuple[int, int]], *, window: int = 2, step: int = 2) -> tm.LuaObject:
    """A Tanh, a pooling and its unpooling as Torch7 leaves them; `put` is where it put each number, row by row."""
    axes = {f"{kind}{axis}": size for kind, size in (("k", window), ("d", step)) for axis in ("W", "H")}
    pooling = lua.module("nn.SpatialMaxPooling", **axes, padW=0, padH=0, ceil_mode=False)
    rows, columns = ((n - window) // step + 1 for n in given.shape)
    pooled = np.array(
        [
            [given[i * step : i * step + window, j * step : j * step + window].max() for j in range(columns)]
            for i in range(rows)
        ]
    )
    output = np.zeros_like(given)
    for (i, j), number in zip(put, pooled.reshape(-1), strict=True):
        output[i, j] = number
    images = [lua.module("nn.Copy"), pooling, lua.module("nn.SpatialMaxUnpooling", pooling=pooling)]
    for module, image in zip(images, (given, pooled, output), strict=True):
        recorded(module, image[None, None])
    return recorded(lua.sequential(*images), output[None, None])


#: Two windows of two rows; the left one has its maximum twice.
TWICE = np.array([[3.0, 1.0, 2.0, 5.0], [0.5, 3.0, 4.0, 1.0]])


@pytest.mark.parametrize(
    ("put", "passes", "remark"),
    [
        ([(0, 0), (0, 3)], True, ""),  # as PyTorch does
        ([(1, 1), (0, 3)], True, CHOSEN),
        ([(0, 1), (0, 3)], False, ""),  # there is no maximum there
        ([(1, 1), (1, 2)], False, ""),
        ([(0, 3), (0, 0)], False, ""),  # in the other window
    ],
)
def test_an_unpooling_between_equal_maxima(put: list[tuple[int, int]], passes: bool, remark: str) -> None:
    report = tm.verify(tm.convert(unpooling(TWICE, put)), batches=())
    assert report.reference.kind == "recorded"
    (layer,) = [layer for layer in report.backends[0].layers if layer.typename == "nn.SpatialMaxUnpooling"]
    assert layer.own is not None
    assert layer.own.passed == passes
    if passes:
        assert layer.remark == remark
    else:
        assert not report


def test_overlapping_windows() -> None:
    given = np.array([[1.0, 7.0, 2.0, 7.0, 0.0], [0.0, 1.0, 7.0, 1.0, 3.0], [4.0, 0.0, 1.0, 2.0, 7.0]])
    put = [(0, 1), (0, 3)]  # the second window also has 7 at (1, 2), which the first has too
    report = tm.verify(tm.convert(unpooling(given, put, window=3, step=2)), batches=())
    (layer,) = [layer for layer in report.backends[0].layers if layer.typename == "nn.SpatialMaxUnpooling"]
    assert layer.own is not None
    assert layer.own.passed


@pytest.mark.parametrize(("indices", "passes"), [([1, 3], True), ([2, 3], True), ([3, 3], False), ([1, 1], False)])
def test_an_argmax_between_equal_maxima(indices: list[int], passes: bool) -> None:
    scores = np.array([[4.0, 4.0, 1.0], [0.0, 2.0, 3.0]])
    copy = recorded(lua.module("nn.Copy"), scores)
    chosen = recorded(lua.module("nn.ArgMax", dim=1, nInputDim=1, asLong=False), np.array(indices, float))
    report = tm.verify(tm.convert(recorded(lua.sequential(copy, chosen), np.array(indices, float))), batches=())
    (layer,) = [layer for layer in report.backends[0].layers if layer.typename == "nn.ArgMax"]
    assert layer.own is not None
    assert layer.own.passed == passes


@pytest.mark.parametrize(("box", "passes"), [(0, True), (1, True), (2, False)])
def test_boxes_of_equal_scores(box: int, passes: bool) -> None:
    scores, boxes = np.array([[4.0, 4.0, 1.0]]), np.arange(12.0).reshape(1, 12)
    output = boxes.reshape(3, 4)[[box]]
    conversion = tm.convert(lua.module("nn.SelectBoxes"))
    given = [torch.from_numpy(scores), torch.from_numpy(boxes)]
    step = LayerRun(0, 1, given, conversion.module(given))
    choices, rule = Choices(conversion.layers), Rules(torch.float64).layer(conversion.layers[0])
    choices.note(step)
    expected = torch.from_numpy(output)
    found = worst(step.output, expected, rule)
    way = choices.other_output(step, expected, found, rule)
    assert (found if way is None else worst(way[0], expected, rule)).passed == passes


def approximated(x: float) -> float:
    """exp(-x) by the polynomial."""
    y = 1.0 + x * (0.125 + x * (0.0078125 + x * (0.00032552083 + x * 1.0172526e-5)))
    return 1 / y**8 if x < 13 else 0.0


@pytest.mark.parametrize("off", [0.0, 1e-4])
@pytest.mark.parametrize("typename", ["nn.LogSoftMax", "nn.SoftMax"])
def test_the_exponential_of_old_torch(typename: str, off: float) -> None:
    """Recorded numbers that only the polynomial gives are right; others beside it are not."""
    scores = np.array([[0.5, -7.25, 3.0, -11.0]])
    z = np.array([[approximated(3.0 - score) for score in scores[0]]])
    output = z / z.sum() if typename == "nn.SoftMax" else scores - (3.0 + np.log(z.sum()))
    output[0, 0] *= 1 + off
    assert abs(output - (np.log if typename == "nn.LogSoftMax" else np.array)(_softmax(scores))).max() > 1e-8
    model = lua.sequential(recorded(lua.module("nn.Copy"), scores), recorded(lua.module(typename), output))
    report = tm.verify(tm.convert(recorded(model, output)), batches=())
    (layer,) = [layer for layer in report.backends[0].layers if layer.typename == typename]
    assert layer.own is not None
    assert layer.own.passed == (off == 0)
    assert (layer.remark == APPROXIMATED) == (off == 0)


@pytest.mark.parametrize("wrong", [False, True])
def test_the_exponential_of_old_torch_in_the_outputs_of_the_network(tmp_path: Path, wrong: bool) -> None:
    """What the polynomial makes of the outputs is worked out, and all else is compared without it."""
    given, last = lua.numbers(1, 4, seed=5), lua.linear(4, 3, seed=7)
    z = np.array([[approximated(given.max() - score) for score in given[0]]])
    chances = z / z.sum()
    weight, bias = last.get("weight").numpy(), last.get("bias").numpy()
    output = chances @ weight.T + bias
    assert abs(output - (_softmax(given) @ weight.T + bias)).max() > 1e-7
    paths = (("1", "nn.SoftMax", chances), ("2", "nn.Linear", output), ("", "nn.Sequential", output))
    layers = [{"path": path, "class": typename, "call": 1, "output": made} for path, typename, made in paths]
    tm.dump(lua.value({"input": given, "output": output, "layers": layers}), tmp_path / "old.reference.t7")
    if wrong:
        last["weight"].storage.data[0] += 1e-3
    conversion = tm.convert(lua.sequential(lua.module("nn.SoftMax"), last))
    report = tm.verify(conversion, reference=tmp_path / "old.reference.t7", batches=())
    assert bool(report) != wrong
    assert report.proven != wrong
    assert any("old Torch's approximation of exp" in limit for limit in report.verdict.limits) != wrong


@pytest.mark.parametrize("typename", ["nn.LogSoftMax", "nn.SoftMax"])
@pytest.mark.parametrize("wrong", [False, True])
def test_the_exponential_of_old_torch_in_gradients(tmp_path: Path, typename: str, wrong: bool) -> None:
    """Torch7 goes back through a softmax by its output, which the polynomial made."""
    given, first, last = lua.numbers(1, 4, seed=5), lua.linear(4, 5, seed=8), lua.linear(5, 3, seed=7)
    weights = [layer.get("weight").numpy() for layer in (first, last)]
    biases = [layer.get("bias").numpy() for layer in (first, last)]
    scores = 6 * (given @ weights[0].T + biases[0])
    z = np.array([[approximated(scores.max() - score) for score in scores[0]]])
    middle = z / z.sum() if typename == "nn.SoftMax" else scores - (scores.max() + np.log(z.sum()))
    output, back = middle @ weights[1].T + biases[1], lua.numbers(1, 3, seed=9)
    to_middle = back @ weights[1]
    if typename == "nn.SoftMax":
        to_scores = middle * (to_middle - (middle * to_middle).sum())
    else:
        to_scores = to_middle - np.exp(middle) * to_middle.sum()
    to_first = 6 * to_scores * (1.0001 if wrong else 1.0)
    paths = [("1", "nn.Linear", to_first, given), ("4", "nn.Linear", back, middle)]
    gradients = [
        {"path": path, "class": name, "weight": there.T @ here, "bias": there[0]} for path, name, there, here in paths
    ]
    made = (("3", typename, middle), ("4", "nn.Linear", output), ("", "nn.Sequential", output))
    layers = [{"path": path, "class": name, "call": 1, "output": numbers} for path, name, numbers in made]
    values = {"input": given, "output": output, "layers": layers}
    values |= {"gradOutput": back, "gradInput": to_first @ weights[0], "gradParameters": gradients}
    tm.dump(lua.value(values), tmp_path / "old.reference.t7")
    larger = lua.module("nn.MulConstant", constant_scalar=6.0)
    conversion = tm.convert(lua.sequential(first, larger, lua.module(typename), last))
    report = tm.verify(conversion, reference=tmp_path / "old.reference.t7", batches=(), gradients=True)
    assert any("old Torch's approximation of exp" in limit for limit in report.verdict.limits)
    assert all(result.difference is not None for result in report.backends[0].gradients)
    assert bool(report) != wrong, report.summary()


def _softmax(scores: np.ndarray) -> np.ndarray:
    z = np.exp(scores - scores.max())
    return z / z.sum()
