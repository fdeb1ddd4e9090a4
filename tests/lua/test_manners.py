"""Definitions in other manners of authors: filled with the numbers that Torch7 had, they give Torch7's output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import torchmigrate as tm

pytest.importorskip("lupa")

from golden import FIXTURES
from test_plan import batch_norm, linear, net, vector

MANNERS = FIXTURES / "lua" / "manners"
_TAGS = "{words = 13, embed = 5, layers = {'fast4', 'gru3', 'plain6'}, tags = 4, dropout = 0.1}"
CASES: dict[str, dict[str, Any]] = {
    "wide_resnet_class": {
        "file": "models/wide.lua",
        "call": "Wide(opt):build()",
        "options": {"depth": 10, "widen": 1, "classes": 5, "dropout": 0.3},
    },
    "unet_graph": {"file": "unet.lua", "call": "make_unet(2, 4, 3)"},
    "attention_gru": {
        "file": "model/GRU.lua",
        "call": "GRU.create(opt)",
        "options": {"words": 11, "size": 6, "layers": 2, "dropout": 0.2, "steps": 5},
    },
    "vgg_script": {
        "file": "train.lua",
        "global_name": "model",
        "options": {"bn": True, "act": "prelu", "fc": 9},
    },
    "inception_closures": {"file": "inception.lua", "call": "create(7, true)"},
    "sequence_tagger": {"file": "sequence.lua", "call": f"M.tagger({_TAGS})"},
    "memory_network": {
        "file": "memory.lua",
        "call": "memory.network(opt)",
        "options": {"words": 12, "dim": 6, "length": 4, "facts": 5, "half": 2, "relu": True},
    },
    "dcgan_script": {"file": "main.lua", "global_name": "netG", "options": {"gpu": 0, "ngf": 5}},
}


def leaves(value: Any) -> list[torch.Tensor]:
    return [value] if isinstance(value, torch.Tensor) else [leaf for held in value for leaf in leaves(held)]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_it_gives_what_torch7_gave(name: str) -> None:
    folder = MANNERS / name
    checkpoint = folder / "checkpoint.t7"
    stats = tm.load(checkpoint).get("bnVars")
    model = tm.lua.define(folder=folder, weights=checkpoint, weights_key="parameters", stats=stats, **CASES[name])
    own = {"lua": [folder / "layers" / "Noise.lua"]} if name == "dcgan_script" else {}
    conversion = tm.convert(model, **own)
    with torch.no_grad():
        got = leaves(conversion.module(tm.to_torch(tm.load(folder / "input.t7"))))
    wanted = leaves(tm.to_torch(tm.load(folder / "output.t7")))
    for ours, torch7s in zip(got, wanted, strict=True):
        assert ours.shape == torch7s.shape
        assert (ours - torch7s).abs().max() < 1e-6 * torch7s.abs().max()


def row(*tensors: list[float]) -> tm.LuaTable:
    return tm.LuaTable.from_list(tm.Tensor.from_numpy(np.array(numbers, np.float32)) for numbers in tensors)


@pytest.mark.parametrize(
    ("count", "given", "means"),
    [
        (1, row([-1, 2], [3, 4]), [[-1, 2]]),
        (2, row([-1, 2], [3, 4], [5, -6], [7, 8]), [[-1, 2], [5, -6]]),
        (2, row([-1, 2], [5, -6], [3, 4], [7, 8]), [[-1, 2], [5, -6]]),
    ],
)
def test_statistics_in_a_row(count: int, given: tm.LuaTable, means: list[list[float]]) -> None:
    model = tm.fill(net(*[batch_norm() for _ in range(count)], linear()), weights=vector(8), stats=given)
    norms = model["modules"].list()[:count]
    assert [norm["running_mean"].numpy().tolist() for norm in norms] == means


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (row([1, 2], [3, 4], [5, 6], [7, 8]), "fit both mean and variance in turn and all means first"),
        (row([-1, 2], [-3, 4], [5, 6], [-7, 8]), "fit neither mean and variance in turn nor all means first"),
        (row([1, 2], [3, 4]), "The statistics are 2 tensors, the network has 2 batch normalizations"),
    ],
)
def test_statistics_in_a_row_that_do_not_tell_their_order(given: tm.LuaTable, words: str) -> None:
    with pytest.raises(tm.UsageError, match=words):
        tm.fill(net(batch_norm(), batch_norm(), linear()), weights=vector(8), stats=given)
