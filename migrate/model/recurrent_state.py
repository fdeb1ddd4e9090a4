"""Modules that remember a state from one call to the next, as the recurrent layers of Torch7 do."""

from __future__ import annotations

from typing import Any

from torch import nn


class Remembering(nn.Module):
    """A module that keeps `state` from one call to the next; None: the next call is the first step of a sequence."""

    state: Any = None


def forget(module: nn.Module) -> None:
    """Makes every part of `module` start a new sequence."""
    for part in module.modules():
        if isinstance(part, Remembering):
            part.state = None
