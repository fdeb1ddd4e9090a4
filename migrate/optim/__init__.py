"""Training goes on: the states of Torch7's optim in PyTorch's optimizers.

`convert_optimizer` is the way in. Where PyTorch has other rules than Torch7, there are Torch7's own: `Torch7Adam`,
`Torch7SGD` (learning rates and weight decays number by number), `Torch7NAG`, `Torch7ASGD`.
"""

from __future__ import annotations

from .convert import convert_optimizer, optimizer_beside
from .files import load_optimizer, save_optimizer
from .methods import METHODS, adam_bound
from .state import Group, LearningRateDecay, OptimizerState
from .torch7_rules import Torch7Adam, Torch7ASGD, Torch7NAG, Torch7SGD

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
]
