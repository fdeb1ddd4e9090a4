"""Layers whose backward methods a file replaces by Lua functions: frozen in Torch7's own idiom, and in PyTorch's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from .layer_record import LayerRecord

#: Methods whose replacement changes what a layer computes forward, and only backward.
FORWARD = frozenset({"updateOutput", "forward", "__call__"})
BACKWARD = frozenset({"updateGradInput", "accGradParameters", "backward"})


def freeze(records: Sequence[LayerRecord], replaced: Sequence[tuple[LayerRecord, list[str]]]) -> dict[str, str]:
    """Asks no gradient of the parameters of layers that gather none in the file.

    A parameter that is also one of a layer that trains is left as it is.

    Args:
        records: all layers.
        replaced: layers, each with the methods that the file replaces, of `BACKWARD`.

    Returns:
        Torch7 path -> what was done.
    """
    notes: dict[str, str] = {}
    parts = {id(record.module) for record in records}
    frozen: dict[int, nn.Parameter] = {}
    still: set[int] = set()
    for record, names in replaced:
        if "accGradParameters" in names or "backward" in names:
            inside = record.module.parameters() if "backward" in names else _own(record.module, parts)
            frozen.update({id(parameter): parameter for parameter in inside})
            still |= {id(other.module) for other in records if "backward" in names and _is_below(other, record)}
            still.add(id(record.module))
    trained = {id(p) for record in records if id(record.module) not in still for p in _own(record.module, parts)}
    for key, parameter in frozen.items():
        if key not in trained:
            parameter.requires_grad_(False)
    for record, names in replaced:
        told = f"the file replaces its {', '.join(names)} by a Lua function, which is not run and changes no output"
        own = [p for p in record.module.parameters() if id(p) in frozen]
        if any(id(p) in trained for p in own):
            told += "; its parameters belong to a layer that trains too, so they are not frozen"
        elif own:
            told += "; its parameters are frozen: requires_grad_(False)"
        if "updateGradInput" in names or "backward" in names:
            told += "; the gradient that it passes on may be another than PyTorch's"
        notes[record.path] = told
    return notes


def _is_below(other: LayerRecord, record: LayerRecord) -> bool:
    return any(module is other.module for module in record.module.modules())


def _own(module: nn.Module, parts: set[int]) -> Iterator[nn.Parameter]:
    """The parameters of a module, but for those of other layers in it."""
    yield from module.parameters(recurse=False)
    for child in module.children():
        if id(child) not in parts:
            yield from _own(child, parts)
