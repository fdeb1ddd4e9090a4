"""Finds references whose input was stored after a layer in place had changed it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ...base.tensor_trees import leaves, moved
from ...model.conversion import ConvertedModel
from ...model.memory.buffers import writes
from ..network_copies import copy_network
from ..trace import LayerRun, trace


def changed_by(conv: ConvertedModel, given: Any, recorded: Mapping[tuple[int, int], Any]) -> str:
    """The layer that changed the input before it was stored; "" if none did, or it can't be told.

    Args:
        conv: the converted model.
        given: the input in the reference.
        recorded: layer and run -> what Torch7 gave.
    """
    if not any(writes(record) for record in conv.layers):
        return ""
    network = copy_network(conv)
    parts = [tensor for _, tensor in leaves(given)]
    in_it = list(parts)  # what layers in place made of the input
    found: list[str] = []

    def visit(step: LayerRun) -> None:
        record, theirs = conv.layers[step.index], recorded.get(step.key)
        if not writes(record) or not isinstance(theirs, torch.Tensor) or not isinstance(step.output, torch.Tensor):
            return
        if not isinstance(step.input, torch.Tensor) or not any(_equal(step.input, part) for part in in_it):
            return
        in_it.append(step.output)
        if any(_equal(theirs, part) for part in parts) and not _equal(step.output, theirs):
            found.append(f"the {record.typename} at {record.path or 'the top'}")

    try:
        trace(network, moved(given, network.dtype), visit, copy_inputs=True)
    except Exception:  # the check itself will tell what does not run
        return ""
    return found[0] if found else ""


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.double(), b.double())
