"""LayerRecord: what became of one Torch7 object."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..t7 import LuaObject
from .leftover_fields import author_name
from .traits import NO_TRAITS, Traits


@dataclass
class LayerRecord:
    """One converted Torch7 object.

    Attributes:
        path: its first Torch7 path.
        typename: its Torch7 class.
        module: what it became.
        train: its `train` field (absent: False, or True for the layers that train unless told otherwise).
        read: the fields that the converter read.
        unread: the fields that nobody read and that are no training leftovers.
        paths: every Torch7 path at which the same object is found.
        object: the Lua object itself.
        traits: what is known of its class, refined by its converter.
    """

    path: str
    typename: str
    module: nn.Module
    train: bool
    read: list[str]
    unread: list[str]
    paths: list[str]
    object: LuaObject
    traits: Traits = NO_TRAITS

    @property
    def name(self) -> str:
        """The name that its author, or loadcaffe, gave it; "" if it has none."""
        return author_name(self.object)
