"""Training goes on: the states of Torch7's optim in PyTorch's optimizers.

`convert_optimizer` is the way in. Where PyTorch has other rules than Torch7, there are Torch7's own: `Torch7Adam`,
`Torch7SGD` (learning rates and weight decays number by number), `Torch7NAG`, `Torch7ASGD`.
"""

from __future__ import annotations

from .converting import convert_optimizer, optimizer_beside
from .exact import Torch7Adam, Torch7ASGD, Torch7NAG, Torch7SGD
from .methods import METHODS, adam_bound
from .saving import load_optimizer, save_optimizer, write_optimizer
from .state import Group, LearningRateDecay, OptimizerState

__all__ = [
    "METHODS",
    "Group",
    "LearningRateDecay",
    "OptimizerState",
    "Torch7ASGD",
    "Torch7Adam",
    "Torch7NAG",
    "Torch7SGD",
    "adam_bound",
    "convert_optimizer",
    "load_optimizer",
    "optimizer_beside",
    "save_optimizer",
    "write_optimizer",
]
