"""The table of supported classes, from a data file generated from the registry (so torch is not needed)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .traits import NO_TRAITS, Traits

DATA = "data/layers.json"


@dataclass(frozen=True)
class Support:
    """How a Torch7 class is converted.

    Attributes:
        typename: the Torch7 class.
        signature: its constructor in Lua, from the converter's docstring.
        modules: the PyTorch modules that the golden files of the class become.
        fields: the fields that its converter reads.
        notes: what a user should know, from the converter's docstring.
        cases: how many cases computed by the real Torch7 it is tested with.
        gradient: are gradients among what is tested?
        onnx: is the ONNX export among what is tested?
        traits: what is known of the class.
    """

    typename: str
    signature: str
    modules: tuple[str, ...]
    fields: tuple[str, ...]
    notes: str
    cases: int
    gradient: bool
    onnx: bool
    traits: Traits


@cache
def table() -> dict[str, Support]:
    """Every supported class, sorted by name."""
    rows = json.loads(Path(__file__).parents[1].joinpath(DATA).read_text("utf-8"))
    lists = ("modules", "fields")
    found = [{**row, **{name: tuple(row[name]) for name in lists}} for row in rows]
    return {row["typename"]: Support(**{**row, "traits": Traits.from_json(row["traits"])}) for row in found}


def traits_of(typename: str) -> Traits:
    """What is known of a Torch7 class, without torch; of an unknown one nothing."""
    row = table().get(typename)
    return NO_TRAITS if row is None else row.traits
