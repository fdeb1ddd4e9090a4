"""Who goes on training model.py gets the gradients and statistics that the converted model gives."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import golden
import pytest
import torch
from torch import nn

import torchmigrate as tm
from torchmigrate.base.tensor_trees import leaves
from torchmigrate.model.recurrent_state import forget
from torchmigrate.source.check import instance
from torchmigrate.source.generate import Source, generate

#: Cases that are run beside the first of each class: batches of one, among others.
BY_DEFAULT = {
    *(f"nn.{kind}BatchNormalization[{index}]" for kind in ("", "Spatial", "Volumetric") for index in (9, 10)),
    "nn.Inception[1]",
    "nn.Abs[2]",
}

ROWS = [
    pytest.param(
        row,
        id=str(row),
        marks=[] if golden.is_sampled(row, 1) or str(row) in BY_DEFAULT else [pytest.mark.slow],
    )
    for row in golden.layer_rows()
    if "module" in (case := row.load()) and "gradInput" in case
]

Outcome = tuple[list[torch.Tensor], list[torch.Tensor | None]]


def outcome(call: Callable[[Any], Any], value: Any, parameters: list[torch.Tensor]) -> Outcome:
    """What a network gives, and the gradients of its input and parameters, of random numbers times its output."""
    inputs = golden.fresh_input(value)
    torch.manual_seed(1)
    outputs = [tensor for _, tensor in leaves(call(golden.copied(inputs)))]
    torch.manual_seed(2)
    losses = [(tensor * torch.randn_like(tensor)).sum() for tensor in outputs if tensor.requires_grad]
    wanted = [tensor for _, tensor in leaves(inputs) if tensor.requires_grad] + parameters
    if not losses or not wanted:
        return outputs, []
    return outputs, list(torch.autograd.grad(sum(losses), wanted, allow_unused=True))


def parameters_of(module: nn.Module, names: list[str]) -> list[torch.Tensor]:
    state = module.state_dict(keep_vars=True)
    return [state[name].requires_grad_() for name in names]


@pytest.mark.parametrize("row", ROWS)
def test_gradients_and_statistics(row: golden.Row) -> None:
    case = row.load()
    value = golden.widened(tm.to_torch(case["input"]))
    conversion = tm.convert(case["module"])
    source: Source = generate(conversion, value)
    for training in (False, True):
        conversion = tm.convert(case["module"])
        forget(conversion.module)  # a folder does not keep the state of an unfinished sequence
        module = conversion.module.train(training)
        names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
        made = instance(source.text, {name: tensor.clone() for name, tensor in source.state.items()}).train(training)
        try:
            theirs = outcome(module, value, parameters_of(module, names))
        except (RuntimeError, ValueError):
            continue  # an in-place layer on what its neighbour still needs: it can't be trained, converted or not
        several = isinstance(value, list) and len(value) == len(signature(made.forward).parameters)
        call = (lambda given, made=made: made(*given)) if several else made
        ours = outcome(call, value, parameters_of(made, [source.names[name] for name in names]))
        golden.assert_same(ours[0], theirs[0], "output")
        assert [grad is None for grad in ours[1]] == [grad is None for grad in theirs[1]]
        for a, b in zip(ours[1], theirs[1], strict=True):
            if a is not None and b is not None:
                torch.testing.assert_close(a, b, equal_nan=True)
        state = made.state_dict()
        for name, tensor in module.state_dict().items():
            torch.testing.assert_close(state[source.names[name]], tensor, equal_nan=True)
