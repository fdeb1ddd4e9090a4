"""The model as a tree: which layer lies in which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LayerNode:
    """A layer of the tree, in the order in which it is written down.

    Attributes:
        name: its path from the layer that holds it; "" is the model itself.
        path: its whole Torch7 path.
        typename: its Torch7 class.
        module: its PyTorch class.
        parameters: how many numbers its parameters have.
        shared: the path under which the same object is counted, if this is another; else None.
        opens: do others lie in it?
        closes: how many layers end with it, those that hold it.
    """

    name: str
    path: str
    typename: str
    module: str
    parameters: int
    shared: str | None
    opens: bool
    closes: int


def tree_nodes(model: Sequence[Mapping[str, Any]]) -> list[LayerNode]:
    """The layers of parity.json's `model`, each behind the one that holds it; without recursion, whatever the depth."""
    placed = sorted(
        ((path, i, layer) for layer in model for i, path in enumerate(layer["paths"])),
        key=_order,
    )
    holders = list(_holders([path for path, _, _ in placed]))
    depths = [len(holder) for holder in holders]
    nodes = []
    for k, (path, i, layer) in enumerate(placed):
        after = depths[k + 1] if k + 1 < len(depths) else 0
        holder = holders[k][-1] if holders[k] else None
        nodes.append(
            LayerNode(
                path[len(holder) + 1 :] if holder else path,
                path,
                layer["class"],
                layer["module"],
                layer["parameters"],
                layer["paths"][0] if i > 0 else None,
                after > depths[k],
                max(0, depths[k] - after),
            )
        )
    return nodes


def _order(entry: tuple[str, int, Mapping[str, Any]]) -> list[tuple[int, int, str]]:
    """By the parts of the path, numbers by their value; the model itself first."""
    path = entry[0]
    return [_part(part) for part in path.split(".")] if path else []


def _part(part: str) -> tuple[int, int, str]:
    plain = part.isascii() and part.isdigit() and len(part) < 10
    return (0, int(part), part) if plain else (1, 0, part)


def _holders(paths: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """For each path the paths that hold it, the outermost first."""
    open_paths: list[str] = []
    for path in paths:
        while open_paths and not _lies_in(path, open_paths[-1]):
            open_paths.pop()
        yield tuple(open_paths)
        open_paths.append(path)


def _lies_in(path: str, holder: str) -> bool:
    return path != holder and (holder == "" or path.startswith(f"{holder}."))
