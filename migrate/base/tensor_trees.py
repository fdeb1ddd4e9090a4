"""Nested values as Torch7 modules take and give them: a tensor, a number, or a list of these."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import torch


def leaves(value: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], torch.Tensor]]:
    """Every tensor of a nested value with its 1-based position, in order; numbers as tensors of one element."""
    pending = [iter([(path, value)])]
    while pending:  # no recursion, since deep tables would pass each tensor through a generator per level
        for place, item in pending[-1]:
            if isinstance(item, torch.Tensor):
                yield place, item
            elif isinstance(item, (list, tuple)):
                pending.append(_entries(item, place))
                break
            elif isinstance(item, dict):
                pending.append(_entries([entry for _, entry in sorted(item.items(), key=_by_name)], place))
                break
            elif isinstance(item, (bool, int, float)):
                yield place, torch.tensor([float(item)], dtype=torch.float64)
        else:
            pending.pop()


def count_tensors(value: Any) -> int:
    """How many tensors a nested value holds, each list counted once and taken as often as it is there.

    A list that holds one list twice, and so on, would take longer to go through than anybody waits.
    """
    counts: dict[int, int] = {}
    waiting = [value]
    while waiting:
        item = waiting[-1]
        inner = list(item.values()) if isinstance(item, dict) else item if isinstance(item, (list, tuple)) else []
        if unknown := [part for part in inner if id(part) not in counts and isinstance(part, (list, tuple, dict))]:
            waiting += unknown
            continue
        waiting.pop()
        counts[id(item)] = sum(counts.get(id(part), isinstance(part, torch.Tensor)) for part in inner)
    return 1 if isinstance(value, torch.Tensor) else counts[id(value)]


def as_one(value: Any) -> Any:
    """All numbers of a table of tensors as one tensor; a tensor as it is."""
    found = [] if value is None or isinstance(value, torch.Tensor) else [tensor for _, tensor in leaves(value)]
    return torch.cat([tensor.reshape(-1) for tensor in found]) if found else value


def digest(value: Any) -> bytes:
    """Of all numbers of a nested value, their places, types and layout."""
    found = hashlib.blake2b(digest_size=16)
    for place, tensor in leaves(value):
        found.update(f"{place} {tensor.dtype} {tuple(tensor.shape)} {tensor.stride()} ".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.digest()


def _entries(items: Sequence[Any], path: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Any]]:
    for i, item in enumerate(items, 1):
        yield (*path, i), item


def _by_name(item: tuple[Any, Any]) -> str:
    return str(item[0])


def apply(value: Any, change: Callable[[Any], Any], kind: type | tuple[type, ...] = torch.Tensor) -> Any:
    """The same nesting with `change` applied to each tensor, or what else is of that kind; all else stays."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, (list, tuple)):
        return [apply(item, change, kind) for item in value]
    if isinstance(value, dict):
        return {key: apply(item, change, kind) for key, item in value.items()}
    return value


def numbered(value: Any, change: Callable[[int, Any], Any], numbers: Iterator[int] | None = None) -> Any:
    """The same nesting with `change` applied to each leaf and its number, as `leaves` counts them."""
    numbers = count() if numbers is None else numbers
    if isinstance(value, (list, tuple)):
        return [numbered(item, change, numbers) for item in value]
    if isinstance(value, dict):
        made = {key: numbered(value[key], change, numbers) for key in sorted(value, key=str)}
        return {key: made[key] for key in value}
    return change(next(numbers), value) if isinstance(value, (torch.Tensor, bool, int, float)) else None


def moved(value: Any, dtype: torch.dtype | None = None, device: str = "cpu") -> Any:
    """A copy of its own on `device`, floating tensors as `dtype` (None: as they are)."""

    def move(tensor: torch.Tensor) -> torch.Tensor:
        wanted = dtype if tensor.is_floating_point() and dtype is not None else tensor.dtype
        return tensor.detach().to(device=device, dtype=wanted, copy=True)

    return apply(value, move)


def put(root: list[Any], place: Sequence[int], tensor: Any) -> None:
    """Puts a tensor at a 1-based place of nested lists, which grow as they must."""
    *outer, last = place or (1,)
    items = root
    for i in outer:
        while len(items) < i:
            items.append([])
        items = items[i - 1]
    while len(items) < last - 1:
        items.append([])
    items.append(tensor)


def position(path: tuple[int, ...]) -> str:
    """How a place in a nested value is written: `[2][1]`; "" is the value itself."""
    return "".join(f"[{i}]" for i in path)


def shapes(value: Any) -> str:
    """The sizes of a nested value as the command line takes them: `2x3x8x8`, `{2x10,2x20}`."""
    if isinstance(value, torch.Tensor):
        return "x".join(map(str, value.shape)) or "1"
    if isinstance(value, (list, tuple)):
        return "{" + ",".join(shapes(item) for item in value) + "}"
    return str(value)
