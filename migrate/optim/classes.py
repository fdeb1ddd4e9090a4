"""The optimizer classes that a state may be for, by the names under which files know them."""

from __future__ import annotations

import torch

from . import torch7_rules as exact

#: The classes that a file may name.
CLASSES: dict[str, type[torch.optim.Optimizer]] = {
    **{
        f"torch.optim.{name}": getattr(torch.optim, name)
        for name in ("SGD", "Adam", "Adamax", "RMSprop", "Adagrad", "Adadelta", "ASGD")
    },
    **{
        f"torchmigrate.optim.{cls.__name__}": cls
        for cls in (exact.Torch7SGD, exact.Torch7Adam, exact.Torch7NAG, exact.Torch7ASGD)
    },
}


def class_name(cls: type[torch.optim.Optimizer]) -> str:
    """The name of an optimizer class as people write it."""
    return next(name for name, known in CLASSES.items() if known is cls)
