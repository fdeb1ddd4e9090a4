"""Fields inside fields that are not what their class puts there: the layer is refused, by its name."""

from __future__ import annotations

from typing import Any

import lua
import pytest
import torch
from golden import FIXTURES

import torchmigrate as tm
from torchmigrate.folder.example_input import _is_twice


def module(name: str) -> Any:
    return next(iter(tm.load(FIXTURES / "layers" / f"{name}.t7").list()))["module"]


def test_a_step_of_a_pooling_that_is_no_number() -> None:
    layer = module("nn.VolumetricMaxUnpooling")
    layer.fields["pooling"].fields["padT"] = None
    with pytest.raises(tm.TorchMigrateError, match=r"the padding of its pooling along T are 2\.0 and None"):
        tm.convert(layer)


def test_a_grid_generator_that_is_not_where_it_should_be() -> None:
    cases = tm.load(FIXTURES / "layers" / "nn.projects_regions.t7").list()
    layer = next(case["module"] for case in cases if case["module"].typename == "nn.BilinearRoiPooling")
    layer.fields["net"] = lua.module("nn.Identity")
    with pytest.raises(tm.TorchMigrateError, match="its field 'net' does not hold the grid generator"):
        tm.convert(layer)


def test_one_number_is_not_what_two_samples_give() -> None:
    assert not _is_twice(torch.tensor(1.0), torch.tensor(1.0))
    assert _is_twice(torch.tensor(1.0), torch.ones(2))
