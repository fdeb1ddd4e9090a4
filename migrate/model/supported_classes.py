"""The table of supported classes, from a data file generated from the registry (so torch is not needed)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

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
    """

    typename: str
    signature: str
    modules: tuple[str, ...]
    fields: tuple[str, ...]
    notes: str
    cases: int
    gradient: bool
    onnx: bool


@cache
def table() -> dict[str, Support]:
    """Every supported class, sorted by name."""
    rows = json.loads(Path(__file__).parents[1].joinpath(DATA).read_text("utf-8"))
    return {
        row["typename"]: Support(**{**row, "modules": tuple(row["modules"]), "fields": tuple(row["fields"])})
        for row in rows
    }
