"""The output of every module for one input, by running the converted model; needs torch, unlike all else here."""

from __future__ import annotations

import os
from typing import Any

import torch

from ..base.errors import LimitExceeded, TorchMigrateError, UsageError
from ..base.tensor_trees import shapes
from ..model.conversion import ConvertedModel
from ..model.convert import convert_model
from ..model.layer_record import LayerRecord
from ..model.locate import is_criterion
from ..shapes.dry_run import dry_run
from ..shapes.infer import input_of
from ..t7.limits import DEFAULT_LIMITS, Limits
from .inspect import Inspection
from .tree import Model


def add_shapes(
    found: Inspection, path: str | os.PathLike[str], input_shape: str | None = None, limits: Limits = DEFAULT_LIMITS
) -> None:
    """Fills in the outputs of the modules of each model, and says what input they are for.

    Args:
        found: what is in the file.
        path: of the file.
        input_shape: as users write it; None: it is found.
        limits: how much the file, and a run of a model, may ask for.

    Raises:
        UsageError: the input shape is malformed.
    """
    for model in found.models:
        if is_criterion(model.typename):
            model.input = "a criterion takes an input and a target"
            continue
        try:
            _fill(model, convert_model(path, key=model.key or None, allow_unsupported=True, limits=limits), input_shape)
        except UsageError as error:
            if input_shape is not None:
                raise
            model.input = str(error)
        except LimitExceeded:
            raise
        except TorchMigrateError as error:
            model.input = f"it can't be run: {error}"


def _fill(model: Model, conv: ConvertedModel, input_shape: str | None) -> None:
    became = {path: type(record.module).__name__ for record in conv.layers for path in record.paths}
    refused = {refusal.path for refusal in conv.refusals}
    for node in model.tree.walk():
        node.became = None if node.path in refused else became.get(node.path)
    guess = input_of(conv, input_shape, fitting=False)
    outputs: dict[str, str] = {}

    def keep(record: LayerRecord, output: Any) -> None:
        """Notes the size of the first output of each layer."""
        tensors = isinstance(output, (torch.Tensor, list, tuple))
        for path in record.paths:
            outputs.setdefault(path, shapes(output) if tensors else type(output).__name__)

    failed = dry_run(conv, guess.value, keep)
    model.input = f"{shapes(guess.value)}: {guess.reason}"
    if failed is not None:
        said = (str(failed) or repr(failed)).splitlines()[0]
        model.input += f"; the run ended early: {said[:200]}"
    for node in model.tree.walk():
        if node.shared is None:
            node.output = outputs.get(node.path)
