"""Operators whose sizes are known without PyTorch: what they give, and refuse, is what PyTorch gives and refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from torchmigrate.shapes.dry_run import SizesOnly


def e(*sizes: int) -> torch.Tensor:
    return torch.ones(sizes)


CALLS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (functional.linear, (e(3, 2, 7), e(5, 7), e(5))),
    (functional.linear, (e(7), e(5, 7))),
    (functional.linear, (e(2, 6), e(5, 7))),
    (functional.batch_norm, (e(2, 3, 5, 4), e(3), e(3), e(3), e(3))),
    (functional.batch_norm, (e(2, 3), e(3), e(3))),
    (functional.batch_norm, (e(2, 4, 5, 4), e(3), e(3))),
    (functional.batch_norm, (e(3), e(3), e(3))),
    (functional.batch_norm, (e(1, 3, 1, 1), e(3), e(3), None, None, True)),
    (functional.batch_norm, (e(1, 3, 1, 2), None, None, None, None, True)),
    (functional.relu, (e(2, 3, 5).transpose(1, 2),)),
    (functional.relu, (e(2, 3), True)),
    (functional.threshold, (e(2, 3), 0.5, 0.25)),
    (functional.hardtanh, (e(2, 3, 5).transpose(1, 2), -2.0, 3.0)),
    (functional.hardtanh, (e(2, 3), 0.0, 6.0, True)),
    (functional.elu, (e(2, 3, 5), 0.5)),
    (functional.elu, (e(2, 3), 0.5, True)),
    (functional.prelu, (e(2, 3, 5), e(3))),
    (functional.prelu, (e(2, 3, 5), e(1))),
    (functional.prelu, (e(2, 3, 5), e(4))),
    (functional.prelu, (e(5), e(5))),
    (functional.interpolate, (e(2, 3, 5, 4), None, 2, "nearest")),
    (functional.interpolate, (e(2, 1, 5, 4), None, 1.5, "bilinear", True)),
    (functional.interpolate, (e(2, 3, 5, 4).transpose(1, 3), (7, 2), None, "bicubic")),
    (functional.interpolate, (e(2, 3, 5), [7], None, "linear")),
    (functional.interpolate, (e(2, 3, 5, 4, 2), None, (2, 3, 1), "trilinear")),
    (functional.interpolate, (e(2, 3, 5, 4), None, -1.0, "nearest")),
    (functional.interpolate, (e(3, 5, 4), None, 2, "bilinear")),
    (functional.interpolate, (e(2, 3, 5, 4), (2, 2, 2), None, "nearest")),
    (functional.grid_sample, (e(2, 3, 5, 4), e(2, 6, 7, 2), "bilinear", "zeros", True)),
    (functional.grid_sample, (e(2, 3, 5, 4, 3), e(2, 6, 7, 1, 3), "bilinear", "zeros", True)),
    (functional.grid_sample, (e(2, 3, 5, 4), e(1, 6, 7, 2), "bilinear", "zeros", True)),
    (torch.relu, (e(2, 3, 5).transpose(1, 2),)),
    (torch.Tensor.cumsum, (e(2, 3, 5).transpose(0, 2), -2)),
    (torch.cumsum, (e(2, 3), 2)),
    (torch.cumsum, (e(2, 3).int(), 1)),
    (torch.add, (e(2, 3, 1), e(3, 4))),
    (torch.Tensor.mul, (e(3, 1), e(1, 4))),
    (torch.div, (e(2, 3), e())),
    (torch.sub, (e(2, 3, 5).transpose(1, 2), e(5, 3))),
    (torch.mul, (e(2, 3), e(4))),
    (functional.log_softmax, (e(2, 3, 5), 1)),
    (functional.log_softmax, (e(2, 3, 5).transpose(1, 2), -1)),
    (functional.log_softmax, (e(2, 3), 2)),
]


@pytest.mark.parametrize(("call", "args"), CALLS, ids=[f"{i}-{row[0].__name__}" for i, row in enumerate(CALLS)])
def test_sizes_are_those_of_pytorch(call: Callable[..., Any], args: tuple[Any, ...]) -> None:
    empty = [item.to("meta") if isinstance(item, torch.Tensor) else item for item in args]
    try:
        expected = call(*args)
    except (RuntimeError, ValueError, IndexError):
        with SizesOnly(), pytest.raises((RuntimeError, ValueError, IndexError)):
            call(*empty)
        return
    with SizesOnly():
        found = call(*empty)
    assert (found.is_meta, found.shape, found.dtype) == (True, expected.shape, expected.dtype)
    assert found.stride() == expected.stride()
