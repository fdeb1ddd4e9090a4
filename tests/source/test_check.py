"""The check of model.py tells numbers apart that only look alike."""

from __future__ import annotations

import pytest
import torch

from torchmigrate.source.check import same

NAN, INF = float("nan"), float("inf")
LARGEST = torch.finfo(torch.float32).max


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        ([1.0, NAN], [1.0, NAN], True),
        ([INF, -INF], [INF, -INF], True),
        ([NAN], [0.0], False),
        ([INF], [LARGEST], False),
        ([-INF], [-LARGEST], False),
        ([NAN], [INF], False),
        ([1.0], [1.0 + 2**-23], False),
    ],
)
def test_same_is_equal_number_by_number(a: list[float], b: list[float], equal: bool) -> None:
    assert same(torch.tensor(a), torch.tensor(b)) is equal


def test_same_sizes_and_types() -> None:
    assert not same(torch.zeros(2), torch.zeros(2, 1))
    assert not same(torch.zeros(2), torch.zeros(2, dtype=torch.float64))
    assert same(torch.tensor([1, 2]), torch.tensor([1, 2]))
