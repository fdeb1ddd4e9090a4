"""nngraph: what is told of a graph whose modules run at several nodes."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from torchmigrate.converters.reshaping.shapes import View
from torchmigrate.converters.tables.graph import overwritten

MODULES = [nn.Linear(3, 3), View([3]), nn.Tanh(), nn.Identity()]


@pytest.mark.parametrize(
    ("steps", "outputs", "found"),
    [
        ([[0, [[0]]], [2, [[1]]]], [[2]], []),
        # read before the second run
        ([[0, [[0]]], [2, [[1]]], [0, [[2]]]], [[3]], []),
        # read after it, or given out
        ([[0, [[0]]], [0, [[1]]], [2, [[1]]]], [[2], [3]], [1]),
        ([[0, [[0]]], [0, [[1]]]], [[1], [2]], [1]),
        # through a view
        ([[0, [[0]]], [1, [[1]]], [0, [[2]]], [2, [[2]]]], [[3], [4]], [1]),
        # an Identity has nothing of its own
        ([[3, [[0]]], [3, [[1]]]], [[1], [2]], []),
    ],
)
def test_overwritten(steps: list[Any], outputs: list[Any], found: list[int]) -> None:
    assert overwritten(MODULES, steps, outputs) == found
