"""The names under which model.safetensors holds the tensors of a converted module, which it takes beside its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

#: Where a module keeps them.
_KEPT = "names_in_file"


class FileNames:
    """Renames the tensors of model.safetensors when a converted module loads them; a hook of `load_state_dict`.

    Args:
        ask: finds the names when they are needed first; a copy of the module, or one that was pickled, lacks it.
    """

    def __init__(self, ask: Callable[[], Mapping[str, str] | None] | None = None) -> None:
        self.names: dict[str, str] = {}
        self.ask = ask

    def __getstate__(self) -> dict[str, Any]:
        return {"names": self.names, "ask": None}

    def __call__(self, module: nn.Module, state: dict[str, torch.Tensor], prefix: str, *_: object) -> None:
        """Gives the tensors of a state their names in the module, if they have those of the file."""
        given = {name.removeprefix(prefix) for name in state if name.startswith(prefix)}
        if given == module.state_dict().keys():
            return
        if not self.names and self.ask is not None:
            self.names = dict(self.ask() or {})
        if self.names and given == set(self.names.values()):
            tensors = {place: state.pop(prefix + place) for place in given}
            state.update({prefix + name: tensors[place] for name, place in self.names.items()})


def carry_names(
    module: nn.Module,
    names: Mapping[str, str] | None = None,
    ask: Callable[[], Mapping[str, str] | None] | None = None,
) -> None:
    """Lets a module load model.safetensors.

    Args:
        module: a converted module.
        names: name of a tensor in it -> its name in the file; None: they are not known yet.
        ask: finds them.
    """
    kept = module.__dict__.get(_KEPT)
    if kept is None:
        kept = module.__dict__[_KEPT] = FileNames(ask)
        module.register_load_state_dict_pre_hook(kept)  # type: ignore[no-untyped-call]
    if names is not None:
        kept.names = dict(names)
