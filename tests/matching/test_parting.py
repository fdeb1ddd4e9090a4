"""Networks that torchmigrate must not fill, or not as they are: it says where they part, and how."""

from __future__ import annotations

from typing import Any

import lua
import numpy as np
import pytest
import torch
from golden import FIXTURES
from targets import FireNet, ResNet, residual
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

import torchmigrate as tm

FILES = FIXTURES / "match"


class Around(nn.Module):
    """A network with something before it."""

    def __init__(self, net: nn.Module, before: Any) -> None:
        super().__init__()
        self.net, self.before = net, before

    def forward(self, x: Any) -> Any:
        return self.net(self.before(x))


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.attention = residual(), nn.MultiheadAttention(5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.net(x)
        return x + self.attention(x, x, x)[0]


class TwoInputs(nn.Module):
    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return x * lengths


def exchanged(x: torch.Tensor) -> torch.Tensor:
    return x.flip(1)


def normalized(x: torch.Tensor) -> torch.Tensor:
    return (x - torch.tensor([0.4, 0.5, 0.3])[:, None, None]) / torch.tensor([0.2, 0.3, 0.25])[:, None, None]


def halved(x: torch.Tensor) -> torch.Tensor:
    return x / 2


def of_a_dict(x: Any) -> Any:
    return x["image"]


def dropped(x: torch.Tensor) -> torch.Tensor:
    return F.dropout(x)


def clamped(x: torch.Tensor) -> torch.Tensor:
    return x.clamp(-9, 9)


def weighted(kind: Any) -> ResNet:
    net = residual()
    net.layers[0].conv2 = kind(net.layers[0].conv2)
    return net


def lazy() -> ResNet:
    net = residual()
    net.fc = nn.LazyLinear(5)
    return net


@pytest.mark.parametrize(
    ("module", "said"),
    [
        pytest.param(
            Around(residual(), exchanged), "has the channels in the order 3, 2, 1, as pictures in BGR", id="BGR"
        ),
        pytest.param(
            Around(residual(), normalized),
            "each channel times 5, 3.333, 4 and plus -2, -1.667, -1.2: it normalizes its input itself",
            id="normalization inside",
        ),
        pytest.param(Around(residual(), halved), "the target has 0.5 times what the .t7 file has", id="scaled"),
        pytest.param(
            Around(residual(), dropped), "gives something else each time, in evaluation mode too", id="random"
        ),
        pytest.param(
            Around(residual(), of_a_dict), "one that takes something else, such as a dict, needs a module", id="dict"
        ),
        pytest.param(
            Around(residual(), clamped), "with numbers 100 times larger, does not. They part at net.conv1", id="clamped"
        ),
        pytest.param(Attentive(), "for attention (MultiheadAttention) of the target. Leave it out", id="attention"),
        pytest.param(
            weighted(parametrizations.weight_norm),
            "layers.0.conv2 (ParametrizedConv2d) of the target computes its weight from others",
            id="weight_norm",
        ),
        pytest.param(
            weighted(parametrizations.spectral_norm), "parametrize.remove_parametrizations), match", id="spectral_norm"
        ),
        pytest.param(lazy(), "fc (LazyLinear) of the target has no sizes yet: run the target once", id="lazy"),
        pytest.param(TwoInputs(), "can't take the input of the .t7 file, 2x3x32x32", id="two inputs for one"),
    ],
)
def test_it_is_refused(module: nn.Module, said: str) -> None:
    with pytest.raises((tm.NetworksDiffer, tm.UsageError)) as failed:
        tm.match(tm.convert(FILES / "residual.t7"), module, input_shape=(2, 3, 32, 32))
    assert said in str(failed.value)


class Branches(nn.Module):
    """Two branches of the same sizes, the second one first."""

    def __init__(self, exchanged: bool) -> None:
        super().__init__()
        self.one, self.two, self.both = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(6, 2)
        self.exchanged = exchanged

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        two = self.two(x)
        one = self.one(x)
        return self.both(torch.cat([two, one] if self.exchanged else [one, two], 1))


@pytest.mark.parametrize("exchanged", [False, True])
def test_layers_that_look_alike_are_told_apart_by_what_comes_behind(exchanged: bool) -> None:
    one, two = lua.linear(4, 3, seed=1), lua.linear(4, 3, seed=3)
    joined = lua.module("nn.Concat", dimension=2, size=np.zeros(2), modules=[one, two])
    module = Branches(exchanged)
    result = tm.match(tm.convert(lua.sequential(joined, lua.linear(6, 2))), module, input_shape=(2, 4))
    assert result.notes == []
    expected = tm.to_torch((two if exchanged else one)["weight"])
    assert torch.equal(module.one.weight, expected.float())


class Main(nn.Module):
    """The first head of joined.t7, or the network up to its first convolution."""

    def __init__(self, head: bool = True, columns: int = 5) -> None:
        super().__init__()
        self.one, self.two, self.fc = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1), nn.Linear(96, columns)
        self.head = head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.two(F.relu(self.one(x)))).flatten(1)
        return self.fc(x) if self.head else x


def test_one_of_two_heads() -> None:
    conv = tm.convert(FILES / "joined.t7")
    module = Main()
    result = tm.match(conv, module, input_shape=(1, 3, 16, 16))
    assert result.notes[0] == (
        "the .t7 file gives 1x10; the target gives 1x5, which are those from 1 to 5 along dimension 2"
    )
    assert result.to_the_end
    found = tm.load(FILES / "joined.answer.t7")
    output = module(tm.to_torch(found["input"]))
    torch.testing.assert_close(output, tm.to_torch(found["output"])[:, :5], rtol=1e-5, atol=1e-6)
    features = Main(head=False)
    del features.fc
    result = tm.match(conv, features, input_shape=(1, 3, 16, 16))
    assert not result.to_the_end
    assert result.notes[0].startswith("NOT the same to the end: the target gives what layer 3.1.4 (Linear)")


def test_a_part_that_does_not_run_is_named_as_a_whole() -> None:
    module = FireNet()
    module.auxiliary = nn.Sequential(nn.Conv2d(8, 2, 1), nn.Sequential(nn.Linear(3, 2)))
    conv = tm.convert(FILES / "fire.t7")
    with pytest.raises(tm.NetworksDiffer, match=r"in evaluation mode.*leave it out \(--except auxiliary\)"):
        tm.match(conv, module, input_shape=(2, 3, 18, 16))
    result = tm.match(conv, module, input_shape=(2, 3, 18, 16), exclude=["auxiliary"])
    assert (result.notes, result.to_the_end) == ([], True)
