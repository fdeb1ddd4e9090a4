"""Conversion: the converted module, and where it comes from, as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..base.errors import Refusal, UsageError
from ..t7 import Value
from ..t7.limits import DEFAULT_LIMITS, Limits
from .build import Build, Region
from .layer_record import LayerRecord
from .locate import is_criterion
from .preprocessing import Preprocessing
from .running.answers import Answers


@dataclass(frozen=True)
class Provenance:
    """The file that a model comes from.

    Attributes:
        file: its name, without the folder; None for a value that was never a file.
        sha256: of the whole file, in hexadecimal.
        format: "binary" or "ascii".
        long_size: bytes of a long in a binary file; None if no long told.
        functions: how many Lua functions the file holds (they are never run).
    """

    file: str | None = None
    sha256: str | None = None
    format: str | None = None
    long_size: int | None = None
    functions: int = 0


@dataclass(frozen=True)
class InputSizes:
    """What was found of the input of a model.

    Attributes:
        sizes: a tuple, or a nested list of tuples; None where none were found.
        reason: why these, or why none, in words.
    """

    sizes: Any
    reason: str


@dataclass
class ConvertedModel:
    """A converted model.

    Attributes:
        module: called with one argument, as in Torch7: a tensor, or a nested list of tensors. A criterion is called
            with input and target.
        value: all that the file holds, as `load()` gives it.
        key: where in it the model was found; "" is the top.
        layers: one record per converted Torch7 object, in the order of the model.
        notes: (Torch7 path, remark) pairs worth knowing.
        refusals: the layers that were not converted (only with `allow_unsupported`).
        provenance: the file it comes from.
        build: how it was made.
        limits: how much the file, and a run of the model, may ask for.
        input_sizes: what was found of its input, by whoever asked for it first; see `shapes.infer`.
        file: where the file is that it comes from, since nothing is written over it; None for a value.
        indexed: sizes of an input -> which of its tensors hold indices, and which ones; see `shapes.random_input`.
        answers: what it has answered, while nobody changes it; None: each asks anew.
        preprocessing: what the file, or the user, says of the data.
    """

    module: nn.Module
    value: Value
    key: str
    layers: list[LayerRecord]
    notes: list[tuple[str, str]]
    refusals: list[Refusal]
    provenance: Provenance
    build: Build
    limits: Limits = field(default=DEFAULT_LIMITS, repr=False)
    input_sizes: InputSizes | None = field(default=None, repr=False, compare=False)
    file: Path | None = field(default=None, repr=False, compare=False)
    indexed: dict[Any, dict[int, range]] = field(default_factory=dict, repr=False, compare=False)
    answers: Answers | None = field(default=None, repr=False, compare=False)
    preprocessing: Preprocessing = field(default_factory=Preprocessing, repr=False, compare=False)

    @property
    def unread(self) -> dict[str, list[str]]:
        """Fields that no converter read and that are no training leftovers, by Torch7 path."""
        return {record.path: record.unread for record in self.layers if record.unread}

    @property
    def classes(self) -> dict[str, int]:
        """How many objects of each Torch7 class were converted, sorted by class."""
        return dict(sorted(Counter(record.typename for record in self.layers).items()))

    @property
    def parameter_count(self) -> int:
        """How many distinct numbers the model's parameters hold."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def is_criterion(self) -> bool:
        """Is the converted object a loss rather than a network?"""
        return bool(self.layers) and (self.layers[0].traits.criterion or is_criterion(self.layers[0].typename))

    def module_names(self) -> dict[str, str]:
        """Torch7 path -> name of the module in `module.named_modules()`, for every path of every layer."""
        names = {id(module): name for name, module in self.module.named_modules()}
        return {
            path: names[id(record.module)]
            for record in self.layers
            if id(record.module) in names
            for path in record.paths
        }

    def names_of(self, paths: Iterable[str]) -> dict[str, str]:
        """Torch7 path -> name of the module in `module.named_modules()`, for the paths that someone asked for.

        Raises:
            UsageError: no layer is there.
        """
        names = self.module_names()
        found = {}
        for path in paths:
            if path not in names:
                near = ", ".join(get_close_matches(path, names, 3) or list(names)[1:4])
                raise UsageError(f"The model has no layer at the Torch7 path {path!r}; others are {near}.")
            found[path] = names[path]
        return found

    def gradients_by_region(self) -> dict[Region, tuple[str, str, torch.Tensor | None]]:
        """Gradients in Torch7's own layout, after `run_tracked(...)` and a backward pass.

        Returns:
            Torch7 tensor (id of its storage, offset, size, stride) -> (Torch7 path, field, gradient); the gradient is
            None where none arrived.
        """
        return {region: (source.path, source.field, source.leaf.grad) for region, source in self.build.sources.items()}

    def run_tracked(self, *args: Any) -> Any:
        """Runs the module such that a backward pass reaches the parameters in Torch7's layout (`track_gradients`).

        Raises:
            UsageError: the model was converted without `track_gradients`.
        """
        if not self.build.track_gradients:
            raise UsageError("convert(..., track_gradients=True) is needed for gradients in Torch7's layout")
        live = {id(getattr(module, name)): value for module, name, value in self.build.live}
        replaced = {
            name: live[id(parameter)] for name, parameter in self.module.named_parameters() if id(parameter) in live
        }
        return torch.func.functional_call(self.module, replaced, args, tie_weights=True)
