"""A small file can't take the processor: convolutions, products of matrices and poolings are counted by their sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lua
import networks
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from networks import chain
from torch import nn

import torchmigrate as tm
from torchmigrate.base.errors import LimitExceeded
from torchmigrate.cli.main import cli
from torchmigrate.shapes.dry_run import on_meta, run_without_numbers
from torchmigrate.shapes.search_budget import Budget, Spent, TooLarge
from torchmigrate.source import examples
from torchmigrate.source.examples import Calls, several_sizes
from torchmigrate.source.scopes import Constructor, Scope


def expanded(planes: int, k: int, p: int = 0) -> tm.LuaObject:
    """A convolution whose kernel is one number in the file."""
    layer = networks.conv(1, 1, 1, 1, p)
    for name, number in {"nInputPlane": planes, "nOutputPlane": planes, "kW": k, "kH": k}.items():
        layer.fields[name] = number
    storage = tm.Storage("torch.FloatStorage", np.ones(1, "f4"))
    layer.fields["weight"] = tm.Tensor("torch.FloatTensor", (planes, planes, k, k), (0,) * 4, 1, storage)
    layer.fields["bias"] = lua.numbers(planes, dtype="f4")
    return layer


MUCH: dict[str, tuple[Callable[[], tm.LuaObject], str, str]] = {
    "convolution": (
        lambda: chain(networks.RELU, expanded(64, 200)),
        "2x64x400x399",
        # 2 x 64 planes of 201 x 200, each number from 64 x 200 x 200
        r"nn.SpatialConvolution at 2 would compute 13,172,736,000,000 multiplications, on an input of 2x64x400x399",
    ),
    "layers together": (
        lambda: chain(*[expanded(64, 101, 50)] * 6),
        "1x64x140x141",
        "nn.SpatialConvolution at 1 would compute 824,802,263,040 multiplications, 4,948,813,578,240 with those of ",
    ),
    "padding of a pooling": (
        lambda: chain(networks.pool(10**9, 1, 5 * 10**8)),
        "1x3x4x5",
        "nn.SpatialMaxPooling at 1 would compute 1x3x5x6 numbers, each from 1,000,000,000 from an input of 1x3x4x5",
    ),
}


@pytest.mark.parametrize("name", MUCH)
def test_arithmetic_is_counted_before_anything_is_computed(name: str, tmp_path: Path) -> None:
    make, shape, words = MUCH[name]
    tm.dump(make(), tmp_path / "model.t7")
    command = ["convert", str(tmp_path / "model.t7"), "-o", str(tmp_path / "out"), "--no-onnx", "--input-shape", shape]
    done = CliRunner().invoke(cli, command, standalone_mode=False)
    assert isinstance(done.exception, LimitExceeded)
    assert words in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("step", [1, 60])
def test_larger_inputs_that_need_far_more_are_not_tried(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "_PRODUCTS", 1000)
    conv = tm.convert(chain(networks.up(3, 3, 3, step, 0), networks.conv(3, 3, 3)))
    sizes = {tuple(found.input.shape) for found in several_sizes(conv, torch.zeros(1, 3, 1, 1), Calls())}
    # of one point 3x3 become; of two in steps of 60, 63
    assert sizes == {(1, 3, 1, 1), (2, 3, 1, 1)} | ({(1, 3, 2, 1), (1, 3, 1, 2)} if step == 1 else set())


def test_larger_inputs_are_held_to_the_limits() -> None:
    conv = tm.convert(chain(networks.up(1, 1, 3, 200, 0)), limits=tm.Limits(expanded_elements=20_000))
    sizes = {tuple(found.input.shape) for found in several_sizes(conv, torch.zeros(1, 1, 1, 2), Calls())}
    assert sizes == {(1, 1, 1, 2), (2, 1, 1, 2), (1, 1, 1, 4)}  # two rows make 203x203


def vgg16() -> nn.Module:
    layers: list[nn.Module] = []
    planes = 3
    for count, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers += [nn.Conv2d(planes, count, 3, padding=1), nn.ReLU()]
            planes = count
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


@pytest.mark.parametrize(("batch", "size"), [(8, 224), (2, 1024)])
def test_large_networks_stay_far_below(batch: int, size: int) -> None:
    with torch.device("meta"):
        made = vgg16()
    with Budget() as budget:
        run_without_numbers(made, torch.empty(batch, 3, size, size, device="meta"))
    # the convolutions of VGG16 have so many at 224x224
    assert budget.products == 15_346_630_656 * batch * size**2 // 224**2 < budget.most_products / 6


@pytest.mark.parametrize(
    ("layer", "size", "count"),
    [
        (nn.Linear(5, 7), (2, 3, 5), 2 * 3 * 5 * 7),
        (nn.LSTM(5, 7), (4, 2, 5), 4 * 2 * 4 * 7 * (5 + 7)),
        (nn.Conv2d(4, 6, (3, 2), groups=2), (2, 4, 9, 8), 2 * 6 * 7 * 7 * 2 * 3 * 2),
        (nn.ConvTranspose2d(4, 6, (3, 2), stride=5), (2, 4, 9, 8), 2 * 4 * 9 * 8 * 6 * 3 * 2),
    ],
)
def test_products_are_those_that_run(layer: nn.Module, size: tuple[int, ...], count: int) -> None:
    with Budget() as budget:
        run_without_numbers(on_meta(layer), torch.empty(*size))
    assert budget.products == count


def test_a_run_with_numbers_ends_before_what_is_too_much_for_a_search() -> None:
    steps, lstm = torch.ones(2000, 30, 100), nn.LSTM(100, 80)
    with Budget() as budget, torch.no_grad():
        lstm(steps)
    # two multiplications and additions per weight and step, and what is written
    assert 60_000 - budget.left > 2 * 2000 * 30 * 4 * 80 * (100 + 80) / 10_000_000
    small = Budget(500)
    with pytest.raises(Spent), small, torch.no_grad():
        lstm(steps)
    held = Budget(held=2000 * 30 * 80 - 1)
    with pytest.raises(TooLarge), held, torch.no_grad():
        lstm(steps)
    assert held.refused is None


class Asked(dict[str, Constructor]):
    """Counts how often it is asked for a name."""

    count = 0

    def __contains__(self, name: object) -> bool:
        self.count += 1
        return super().__contains__(name)


def test_names_of_a_long_chain_take_no_search() -> None:
    names = Asked()
    scope = Scope(attrs=names)
    given = [scope.attribute(Constructor("nn.Tanh"), name) for _ in range(500) for name in ("tanh", "relu")]
    assert given[:6] == ["tanh", "relu", "tanh2", "relu2", "tanh3", "relu3"]
    assert given[-1] == "relu500"
    assert names.count < 4 * 1000
