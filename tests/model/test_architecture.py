"""Describing a module as JSON and making it again."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import torchmigrate as tm
from torchmigrate.model.architecture import describe, restore

STOCK = [
    nn.Linear(3, 5, bias=False),
    nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 2), groups=2, bias=False),
    nn.ConvTranspose2d(4, 6, 3, output_padding=1, stride=2),
    nn.BatchNorm2d(7, eps=1e-3, affine=False, momentum=None),
    nn.MaxPool2d((3, 2), stride=2, padding=1, ceil_mode=True),
    nn.AvgPool2d(3, count_include_pad=False, divisor_override=4),
    nn.LSTM(3, 4, num_layers=2, bidirectional=True),
    nn.RNN(3, 4, nonlinearity="relu"),
    nn.GRU(3, 4, bias=False),
    nn.Embedding(9, 3, padding_idx=0, max_norm=2.0),
    nn.Hardtanh(-float("inf"), 6.0),
    nn.PReLU(5),
    nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0),
    nn.Sequential(nn.Flatten(2), nn.Dropout(0.3), nn.Sequential()),
    nn.CrossEntropyLoss(weight=torch.ones(3), reduction="sum"),
]


@pytest.mark.parametrize("module", STOCK, ids=lambda module: type(module).__name__)
def test_stock_modules_come_back(module: nn.Module) -> None:
    made = restore(json.loads(json.dumps(describe(module))))
    assert repr(made) == repr(module)
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    assert {name: tensor.shape for name, tensor in made.state_dict().items()} == shapes


def test_shared_modules_stay_shared() -> None:
    shared = nn.Linear(2, 2)
    made = restore(describe(nn.Sequential(shared, nn.Sequential(nn.ReLU(), shared))))
    assert made[0] is made[1][1]


class Forgetful(nn.Module):
    """Does not keep its argument."""

    def __init__(self, width: int) -> None:
        super().__init__()


def test_module_that_does_not_keep_its_arguments_is_named() -> None:
    with pytest.raises(tm.UsageError, match=r"Forgetful must keep its .*argument 'width'"):
        describe(Forgetful(3))


@pytest.mark.parametrize(
    "name", ["os.system", "torch.nn.functional.relu", "torch.nn.Nope", "torchmigrate.cli.main.main", "builtins.eval"]
)
def test_only_module_classes_are_made(name: str) -> None:
    with pytest.raises(tm.UsageError):
        restore({"class": name})
