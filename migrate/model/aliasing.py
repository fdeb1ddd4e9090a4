"""Where layers that work in place need not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from torch import nn

from ..converters.tables.containers import Concat, ConcatTable

#: Modules that never return (a view of) their input: changing their output in place harms nobody.
_ALLOCATING = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.Tanh,
    nn.Sigmoid,
    nn.LogSigmoid,
    nn.Softmax,
    nn.Softplus,
    nn.PReLU,
    nn.GLU,
    Concat,
)

#: Modules that may return their input, changed or not, and nothing else that others hold.
_PASSING = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.Hardtanh,
    nn.Threshold,
    nn.Dropout,
    nn.Identity,
)


def release_inplace(root: nn.Module) -> None:
    """Switches `inplace` off where it can't be seen from outside, since autograd often forbids it.

    It can be seen where the changed tensor is read elsewhere (a skip connection after an in-place ReLU): there it
    stays, as in Torch7. The caller's own input is never changed where the model is a chain.
    """
    places = Counter(id(module) for _, module in root.named_modules(remove_duplicate=False))
    first = root
    while isinstance(first, nn.Sequential) and len(first) > 0:
        first = first[0]
    _release(first, places)
    for module in root.modules():
        if isinstance(module, nn.Sequential):
            children = list(module)
            for i, child in enumerate(children[1:], 1):
                before = children[i - 1]
                # an in-place sum changes the output of the first branch
                changed = [before[0]] if isinstance(before, ConcatTable) and len(before) > 0 else children[:i]
                if returns_fresh(changed):
                    _release(child, places)


def returns_fresh(chain: Iterable[nn.Module]) -> bool:
    """Does this chain of modules return a tensor that it made, and that nobody else can read?"""
    for module in reversed(list(chain)):
        if isinstance(module, _ALLOCATING):
            return True
        if isinstance(module, nn.Sequential):
            if returns_fresh(module):
                return True
            if not all(isinstance(child, _PASSING) for child in module):
                return False
        elif not isinstance(module, _PASSING):
            return False
    return False


def _release(module: nn.Module, places: Mapping[int, int]) -> None:
    if getattr(module, "inplace", False) and places[id(module)] == 1:
        module.inplace = False  # type: ignore[assignment]
