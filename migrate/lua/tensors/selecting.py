"""The order in which Torch7 leaves what it selects without sorting: that of Hoare's selection by a median of three."""

from __future__ import annotations

import torch


def selected(values: torch.Tensor, count: int, largest: bool) -> torch.Tensor:
    """The places of the largest or smallest numbers along the last dimension, in Torch7's order on a CPU.

    Args:
        values: without NaN.
        count: how many.
        largest: the largest; else the smallest.
    """
    extent = values.shape[-1]
    rows = values.reshape(-1, extent).tolist()
    first = extent - count if largest else 0
    wanted = first - 1 if largest else count - 1
    found = [_arranged(row, wanted)[first : first + count] for row in rows]
    return torch.tensor(found, dtype=torch.int64).reshape(*values.shape[:-1], count)


def _arranged(row: list[float], wanted: int) -> list[int]:
    """The places of numbers after those up to the wanted one were put before all larger ones; -1: none is wanted."""
    places = list(range(len(row)))
    low, high = 0, len(row) - 1 if wanted >= 0 else 0

    def swap(a: int, b: int) -> None:
        places[a], places[b] = places[b], places[a]

    def put_in_order(a: int, b: int) -> None:
        if row[places[a]] > row[places[b]]:
            swap(a, b)

    while high > low + 1:
        swap((low + high) >> 1, low + 1)
        put_in_order(low + 1, high)
        put_in_order(low, high)
        put_in_order(low + 1, low)
        pivot, left, right = row[places[low]], low + 1, high
        while True:
            left += 1
            while row[places[left]] < pivot:
                left += 1
            right -= 1
            while row[places[right]] > pivot:
                right -= 1
            if right < left:
                break
            swap(left, right)
        swap(low, right)
        if right <= wanted:
            low = left
        if right >= wanted:
            high = right - 1
    if high == low + 1:
        put_in_order(low, high)
    return places
