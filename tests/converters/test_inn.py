"""inn.ROIPooling, which ran on CUDA only: compared with its definition, one region, plane and cell after another."""

from __future__ import annotations

import math

import pytest
import torch
from golden import LAYERS

import torchmigrate as tm

REGIONS = [[2, 1, 1, 96, 80], [1, 40, 17, 70, 30], [2, 90, 60, 10, 20], [1, 33, 33, 33, 33], [2, 1, 1, 300, 300]]


def away(x: float) -> int:
    """Rounds halves away from 0."""
    return int(math.copysign(math.floor(abs(x) + 0.5), x))


def pooled(maps: torch.Tensor, region: list[int], rows: int, columns: int, scale: float, first: bool) -> torch.Tensor:
    image, left, top, right, bottom = region[0] - 1, *(away((place - 1) * scale) for place in region[1:])
    far = 0 if first else 1
    round_low, round_high = (math.floor, math.ceil) if first else (away, away)
    out = torch.zeros(maps.shape[1], rows, columns, dtype=maps.dtype)
    steps = (max(bottom - far - top + 1, 1) / rows, max(right - far - left + 1, 1) / columns)
    for i in range(rows):
        for j in range(columns):
            ends = []
            for k, step, start, size in ((i, steps[0], top, maps.shape[2]), (j, steps[1], left, maps.shape[3])):
                low, high = round_low(k * step) + start, round_high((k + 1) * step) + start
                ends.append((min(max(low, 0), size), min(max(high, 0), size)))
            cell = maps[image, :, ends[0][0] : ends[0][1], ends[1][0] : ends[1][1]]
            if cell.numel():
                out[:, i, j] = cell.flatten(1).amax(1)
    return out


@pytest.mark.parametrize("case", [0, 1], ids=["second version", "first version"])
def test_roi_pooling(case: int) -> None:
    module = tm.load(LAYERS / "inn.ROIPooling.t7").list()[case]["module"]
    maps = torch.randn(2, 3, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    got = tm.convert(module).module([maps, torch.tensor(REGIONS, dtype=torch.float64)])
    size = int(module["H"]), int(module["W"])
    expected = [pooled(maps, region, *size, module["spatial_scale"], first=not module["v2"]) for region in REGIONS]
    torch.testing.assert_close(got, torch.stack(expected), rtol=0, atol=0)
