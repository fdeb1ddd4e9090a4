"""What layers gave while the examples ran is taken for the same numbers only."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchmigrate.source.check import check
from torchmigrate.source.examples import Calls, Example


def watched(layer: nn.Module, *values: torch.Tensor) -> Calls:
    calls = Calls()
    with calls.watched(nn.Sequential(layer), 0), torch.no_grad():
        for value in values:
            layer(value)
    return calls


def numbers(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(seed))


def test_a_slow_layer_is_not_run_again() -> None:
    layer, x, y = nn.Conv2d(3, 4, (2, 3)), numbers(), numbers(1)
    calls = watched(layer, x, y)
    for value in (y, x):
        found = calls.take(layer, 0, value.clone())
        assert found is not None
        assert torch.equal(found, layer(value))
    assert calls.take(layer, 0, x) is None  # it is kept for one


@pytest.mark.parametrize(
    "other",
    [
        numbers(1),
        numbers().double(),
        numbers()[:1],
        numbers().to(memory_format=torch.channels_last),
        torch.where(numbers() == numbers()[0, 0, 0, 0], torch.nan, numbers()),
        [numbers()],
    ],
)
def test_other_numbers_run_through_the_layer(other: object) -> None:
    layer = nn.Conv2d(3, 4, (2, 3))
    calls = watched(layer, numbers())
    assert calls.take(layer, 0, other) is None
    assert calls.take(layer, 1, numbers()) is None
    assert calls.take(nn.Conv2d(3, 4, (2, 3)), 0, numbers()) is None
    assert calls.take(layer, 0, numbers()) is not None


def test_a_zero_of_another_sign_is_another_number() -> None:
    layer, x = nn.Linear(3, 4), torch.zeros(2, 3)
    assert watched(layer, x).take(layer, 0, -x) is None


@pytest.mark.parametrize("written", ["given", "made"])
def test_what_was_written_over_is_not_taken(written: str) -> None:
    layer, x = nn.Linear(3, 4), torch.ones(2, 3)
    made: list[torch.Tensor] = []
    layer.register_forward_hook(lambda _, args, output: made.append(output))
    calls = watched(layer, x)
    (x if written == "given" else made[0]).mul_(1)
    assert calls.take(layer, 0, torch.ones(2, 3)) is None


def test_only_slow_layers_without_options_are_kept() -> None:
    x = torch.ones(2, 3, 4)
    for layer, options in ((nn.ReLU(), {}), (nn.ConvTranspose1d(3, 5, 2, stride=2), {"output_size": [9]})):
        calls = Calls()
        with calls.watched(layer, 0), torch.no_grad():
            layer(x, **options)
        assert calls.take(layer, 0, x) is None


def twin(layer: nn.Conv2d, stride: int = 1) -> nn.Conv2d:
    """A layer with the same parameters, as `load_state_dict(assign=True)` leaves it."""
    made = nn.Conv2d(3, 4, (2, 3), stride=stride)
    made.load_state_dict(layer.state_dict(keep_vars=True), assign=True)
    return made


def test_another_model_takes_what_the_same_operator_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Conv2d(3, 4, (2, 3))
    calls = watched(layer, numbers())
    runs: list[nn.Module] = []

    def counted(self: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        runs.append(self)
        return self._conv_forward(x, self.weight, self.bias)

    monkeypatch.setattr(nn.Conv2d, "forward", counted)
    with torch.no_grad():
        strided, equal, same = twin(layer, stride=2), nn.Conv2d(3, 4, (2, 3)), twin(layer)
        equal.load_state_dict(layer.state_dict())
        for other in (strided, equal, same, same):
            own = other._conv_forward(numbers(), other.weight, other.bias)
            calls.answer_for(other, 0)
            assert torch.equal(other(numbers()), own)
    assert runs == [strided, equal, same]  # the last took it once, then it is no more


def test_the_check_takes_the_answers_and_sees_another_operator() -> None:
    text = """
from torch import Tensor, nn


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, (2, 3){options})

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)
"""
    layer, x = nn.Conv2d(3, 4, (2, 3)), numbers()
    calls = watched(layer, x)
    state = {f"conv.{name}": tensor.detach() for name, tensor in layer.state_dict(keep_vars=True).items()}
    examples = [Example(x, layer(x).detach())]
    assert check(text.format(options=", padding=1"), state, examples, calls.copy()).reason == "its output would differ"
    assert check(text.format(options=""), state, examples, calls).reason == ""
    assert calls.take(layer, 0, x) is None  # the layer of the source took it
