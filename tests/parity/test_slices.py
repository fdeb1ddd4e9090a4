"""Every slice of an output is judged by its own scale: what is small beside large numbers is not hidden by them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lua
import numpy as np
import pytest
import torch
from torch import nn

import torchmigrate as tm
from torchmigrate.base.errors import GraphDiffers
from torchmigrate.onnx.export import check
from torchmigrate.parity.judge.compare import Tolerance, compare
from torchmigrate.parity.judge.tolerances import Rules
from torchmigrate.shapes.rounding_noise import RoundingNoise, last_layers, rounding_noise

#: As for a float32 layer.
RULE = Tolerance(1e-5, 0.0, True, "test", rounding=2.0**-22)


def detections(rows: int = 30) -> torch.Tensor:
    """Boxes of up to 8,500 pixels beside scores of up to 1: (5, rows), as a detection head gives them."""
    generator = torch.Generator().manual_seed(rows)
    boxes = 8500 * torch.rand(4, rows, generator=generator)
    return torch.cat([boxes, torch.rand(1, rows, generator=generator)])


def nothing_behind(expected: torch.Tensor) -> list[Any]:
    return [torch.zeros_like(expected, dtype=torch.float64)]


def test_scores_of_zero_beside_large_boxes_fail() -> None:
    expected = detections()
    got = expected.clone()
    got[4] = 0
    rule = Tolerance(2e-4, 0.0, True, "as for a deep network", RULE.rounding)
    assert compare(got, expected, rule)[0].passed, "as a whole the boxes hide it"
    (found,) = compare(got, expected, rule, noise=lambda: nothing_behind(expected))
    assert not found.passed
    assert (found.slice, found.worst[0]) == ((0, 4), 4)
    assert found.atol == pytest.approx(2e-4 * float(expected[4].max()))
    assert found.needed_atol == pytest.approx(float(expected[4].max()))
    assert "30 of 30 numbers of the slice [4, :], the largest of which is 0.958" in found.problem


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (2, 3, 4, 5), (3, 2, 2, 2, 4)])
@pytest.mark.parametrize("last", [False, True])
def test_a_channel_that_is_off_beside_channels_ten_thousand_times_as_large(shape: tuple[int, ...], last: bool) -> None:
    axis = len(shape) - 1 if last else min(len(shape) - 2, 1)
    expected = 1e4 * torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    index = [slice(None)] * len(shape)
    index[axis] = slice(1, 2)
    expected[tuple(index)] *= 1e-4
    got = expected.clone()
    got[tuple(index)] *= 1 + 1e-3
    assert compare(got, expected, RULE)[0].passed
    (found,) = compare(got, expected, RULE, noise=lambda: nothing_behind(expected))
    assert not found.passed
    assert found.slice == (axis, 1)
    assert compare(expected * (1 + 1e-6), expected, RULE, noise=lambda: nothing_behind(expected))[0].passed


def test_what_is_not_known_of_rounding_is_judged_as_a_whole() -> None:
    expected = detections()
    got = expected.clone()
    got[4] *= 1.001
    assert compare(got, expected, RULE, noise=lambda: [None])[0].passed
    assert not compare(got, expected, RULE, noise=lambda: nothing_behind(expected))[0].passed


def test_nothing_is_asked_where_every_slice_is_near() -> None:
    expected = detections()
    asked: list[int] = []

    def noise() -> list[Any]:
        asked.append(1)
        return []

    assert compare(expected * (1 + 1e-7), expected, RULE, noise=noise)[0].passed
    assert not asked


class Cancelling(nn.Module):
    """A linear layer whose second output is the rest of large numbers: 1000 * x - 1000 * x, but for the rounding."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 3, dtype=dtype)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            weight = torch.randn(3, 64, generator=generator, dtype=torch.float64)
            weight[1, :32] *= 1000
            weight[1, 32:] = -weight[1, :32]
            self.linear.weight.copy_(weight)
            self.linear.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.linear(torch.cat([x, x], dim=1))
        return y


def test_a_slice_that_cancels_is_no_false_alarm_and_a_wrong_one_is_found() -> None:
    x = torch.randn(4, 32, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    single, double = Cancelling(torch.float32), Cancelling(torch.float64)
    with torch.no_grad():
        # summed the other way round, as another library may
        got, expected = single(x.float()), single.linear.weight.double() @ torch.cat([x, x], dim=1).T
        expected = expected.T
    noise = rounding_noise(single, x.float())
    assert noise.shape == (4, 3)
    rule = Rules(torch.float32, fan_in=64).output()
    assert float(expected[:, 1].abs().max()) < 1e-9
    found = compare(got, expected, rule, noise=lambda: [noise])[0]
    assert found.passed, found.problem
    (missed,) = compare(got, expected, rule, noise=lambda: nothing_behind(expected))
    assert missed.passed == (float(got[:, 1].abs().max()) == 0), "it is the noise that saves it"
    got = expected.clone()
    got[:, 0] = 0
    assert not compare(got, expected, rule, noise=lambda: [noise])[0].passed
    got = expected.clone()
    got[:, 1] += 3e-2
    assert not compare(got, expected, rule, noise=lambda: [noise])[0].passed
    assert rounding_noise(double, x).shape == (4, 3)


@pytest.mark.parametrize(
    ("module", "value", "least", "most"),
    [
        (nn.ReLU(), torch.full((2, 3), 5.0), 5.0, 20.0),
        (nn.Tanh(), torch.full((2, 3), 20.0), 19.9, 20.6),  # of its input, whose size some formulas round
        (nn.LogSoftmax(1), torch.tensor([[30.0, 0.0]]), 25.0, 130.0),
        (nn.Flatten(), torch.full((2, 3, 1), 7.0), 7.0, 14.1),
        (nn.ELU(2.0), torch.full((2, 3), -0.25 - 1e-6), 2.0, 2.1),  # 2 * (exp(x) - 1), where 1 is rounded
        (nn.Softplus(4.0), torch.full((2, 3), -9.0), 0.25, 9.3),
    ],
)
def test_noise_of_single_layers(module: nn.Module, value: torch.Tensor, least: float, most: float) -> None:
    found = rounding_noise(module, value + 0.25)
    assert least <= float(found.max()) <= most


class Combine(nn.Module):
    """Adds two entries, one of them with a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return x[0] + self.factor * x[1]


@pytest.mark.parametrize("factor", [1.0, -1.0])
def test_two_entries_that_nearly_cancel_are_noisy_everywhere(factor: float) -> None:
    """Chance alone moves both the same way in all three trials for one number in eight."""
    x = torch.linspace(0.5, 2.0, 40)
    given = [x, -factor * (x - 0.001)]
    for seed in range(3):
        torch.manual_seed(seed)
        assert (rounding_noise(Combine(factor), given) >= 1.9 * x.double()).all()


def test_noise_leaves_all_as_it_was() -> None:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(inplace=True)).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    value = torch.randn(5, 3)
    kept, state = value.clone(), torch.get_rng_state()
    assert rounding_noise(module, value) is not None
    assert torch.equal(value, kept)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert rounding_noise(module, torch.randn(2, 7)) is None, "it does not take that"


class Classifier(nn.Module):
    """Convolutions, a residual connection, and a layer of 1000 classes, one of which is near 0 by chance."""

    def __init__(self, last: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1)
        self.rest = nn.Sequential(nn.Flatten(), nn.Linear(8 * 5 * 6, 1000), last)
        self.ran: list[torch.dtype] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.ran.append(x.dtype)
        y = torch.tanh(self.first(x))
        answer: torch.Tensor = self.rest(y + self.second(y))
        return answer


@pytest.mark.parametrize("last", [nn.Identity(), nn.ReLU(inplace=True), nn.LogSoftmax(1)])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_last_layers_of_a_classifier_tell_enough(last: nn.Module, batch: int) -> None:
    module = Classifier(last).eval()
    x = torch.randn(batch, 3, 7, 8, generator=torch.Generator().manual_seed(batch))
    with torch.no_grad():
        got, expected = module(x), copy.deepcopy(module).double()(x.double())
    found = last_layers(module, x)
    assert found is not None
    assert [type(layer) for layer in found.layers] == [nn.Linear, type(last)]
    assert torch.equal(found.output, got)
    first, *others = RoundingNoise(module, x)
    assert len(others) == 3
    assert bool((others[-1] >= first).all())
    assert 0.2 < float(first.mean() / others[-1].mean()) <= 1, "the rest of the network adds little"
    rule = Tolerance(1e-6, 0.0, True, "narrow, so that slices of one number exceed it", RULE.rounding)
    asked: list[int] = []

    def noise() -> Iterator[Any]:
        for step in (first, *others):
            asked.append(1)
            yield step

    (judged,) = compare(got, expected.float(), rule, noise=noise)
    assert judged.passed, judged.problem
    assert len(asked) <= 1
    wrong = got.clone()
    wrong[:, int(expected.abs().amax(0).argmin())] += 1e-3 * expected.abs().max()
    assert compare(wrong, expected.float(), Tolerance(1e-2, 0.0, True, "wide", RULE.rounding))[0].passed
    assert not compare(wrong, expected.float(), RULE, noise=noise)[0].passed


class Twice(nn.Module):
    """What its last layer gives is changed again, or is of two layers."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.linear, self.other = how, nn.Linear(4, 5), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> Any:
        y = self.linear(x)
        if self.how == "changed":
            return y * 2
        if self.how == "overwritten":
            x.zero_()
            return y
        return y + self.other(x) if self.how == "two" else [y, self.other(x)]


@pytest.mark.parametrize("how", ["changed", "overwritten", "two", "list"])
def test_last_layers_are_not_guessed(how: str) -> None:
    x = torch.randn(3, 4)
    kept = x.clone()
    assert last_layers(Twice(how), x) is None
    assert torch.equal(x, kept)
    assert rounding_noise(Twice(how), x) is not None


def head() -> tm.LuaObject:
    """Boxes and scores of one layer each, side by side."""
    boxes, scores = lua.linear(6, 4, seed=1, dtype="f4"), lua.linear(6, 2, seed=2, dtype="f4")
    boxes["weight"].storage.data[:] *= 8500
    concat = lua.module("nn.Concat", dimension=2, modules=[boxes, scores])
    return lua.sequential(concat)


def test_a_reference_of_torch7_finds_scores_that_were_lost(tmp_path: Path) -> None:
    tm.dump(head(), tmp_path / "head.t7")
    conversion = tm.convert(tmp_path / "head.t7")
    given = lua.numbers(7, 6, dtype="f4")
    output = conversion.module(torch.from_numpy(given)).detach().numpy()
    tm.dump(lua.value({"input": given, "output": output}), tmp_path / "head.reference.t7")
    assert tm.verify(conversion, reference=tmp_path / "head.reference.t7")
    wrong = np.array(output)
    wrong[:, 4] *= 1 + 1e-3
    tm.dump(lua.value({"input": given, "output": wrong}), tmp_path / "wrong.reference.t7")
    report = tm.verify(conversion, reference=tmp_path / "wrong.reference.t7")
    assert not report
    assert "the slice [:, 4]" in report.summary()
    onnx = tmp_path / "head.onnx"
    tm.export_onnx(conversion, onnx, input_shape=(2, 6))
    assert tm.verify(conversion, reference=tmp_path / "head.reference.t7", onnx=onnx)


def test_the_check_of_an_onnx_file_has_the_same_rule() -> None:
    expected = detections()
    got = expected.clone()
    got[4] *= 0.5
    assert check.difference("out", got, expected, 1e-4) < 1e-3
    with pytest.raises(GraphDiffers, match=r"slice \[4, :\] \(largest number there 0\.958"):
        check.difference("out", got, expected, 1e-4, lambda: nothing_behind(expected))
    assert check.difference("out", expected * (1 + 1e-6), expected, 1e-4, lambda: nothing_behind(expected)) < 1e-5
