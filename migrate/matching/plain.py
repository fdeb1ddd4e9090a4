"""Refuses parts of a network whose tensors are not those that they compute with."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from ..base.errors import NetworksDiffer, UsageError


def require_plain(module: nn.Module, exclude: Sequence[str]) -> None:
    """Refuses what no layer of a .t7 file can fill.

    Args:
        module: the network to be filled.
        exclude: names of modules that are left out.

    Raises:
        NetworksDiffer: a part is of a kind that Torch7 does not have.
        UsageError: the tensors of a part are not there yet, or it computes its weight from others.
    """
    for name, part in module.named_modules():
        if any(name == each or name.startswith(f"{each}.") for each in exclude):
            continue
        place = f"{name or 'the network itself'} ({type(part).__name__})"
        if any(is_lazy(tensor) for tensor in (*part._parameters.values(), *part._buffers.values())):
            raise UsageError(f"{place} of the target has no sizes yet: run the target once before.")
        if isinstance(part, nn.MultiheadAttention):
            raise NetworksDiffer(
                f"No layer of a .t7 file has weights for {place} of the target. Leave it out (--except {name}), with "
                "all that gets what depends on it."
            )
        if parametrize.is_parametrized(part):
            off = "torch.nn.utils.parametrize.remove_parametrizations"
        elif any(_sets_weight(hook) for hook in part._forward_pre_hooks.values()):
            off = "torch.nn.utils.remove_weight_norm or remove_spectral_norm"
        else:
            continue
        raise UsageError(
            f"{place} of the target computes its weight from others, as weight_norm does. Take that off ({off}), "
            "match, and put it on again."
        )


def _sets_weight(hook: object) -> bool:
    """Is this what the older torch.nn.utils.weight_norm or spectral_norm puts before each run?"""
    kind = type(hook)
    return kind.__module__ in ("torch.nn.utils.weight_norm", "torch.nn.utils.spectral_norm")
