"""Compares what a backward pass gives: the gradient of the input, and those of the parameters in Torch7's layout."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import nn

from ...base.json_values import JsonValues
from ...base.tensor_trees import apply, leaves, moved, position
from ...model.build import Region
from ...model.conversion import ConvertedModel
from ...model.convert import convert_model
from ...model.recurrent_state import forget
from ...model.registry import form_of
from ...shapes.random_input import floating_type
from ...t7 import Tensor
from ..judge.compare import Difference, compare
from ..judge.tolerances import Rules
from ..reference_numbers import Gradients, Reference

#: A gradient that is off by no more than so many times what its own rounding makes of it can't be judged.
_UNSTEADY = 8

#: Inputs that are tried to see that, and how far they are from the reference's, relative to its largest number.
_TRIALS, _NEARBY = 4, 2.0**-22


@dataclass(frozen=True)
class GradientResult(JsonValues):
    """How one gradient compares with Torch7's.

    Attributes:
        path: Torch7 path of the layer; "" for the input of the model.
        typename: its Torch7 class.
        field: "gradInput", or the parameter.
        difference: how far it is off; None if it could not be compared.
        remark: why not, or "".
        got: the gradient of the converted model, where it was compared.
    """

    path: str
    typename: str
    field: str
    difference: Difference | None
    remark: str = ""
    got: torch.Tensor | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def passed(self) -> bool:
        """Is it within the tolerance, as far as it could be compared?"""
        return self.difference is None or self.difference.passed


def compare_gradients(conv: ConvertedModel, reference: Reference, rules: Rules) -> list[GradientResult]:
    """Runs the model forward and backward on the CPU, in the type of its weights.

    Args:
        conv: the converted model.
        reference: which has gradients.
        rules: the tolerances.

    Raises:
        Exception: whatever the model raises on the reference's input.
    """
    given = reference.gradients
    if given is None:
        return []
    old = bool(reference.shifts)
    found = _compared(conv, reference.input, given, rules, old=old)
    reached = any(not result.passed and result.field.startswith("gradInput") for result in found)
    if floating_type(conv.module) == torch.float64 or not reached:
        return found  # a jump anywhere would reach the gradient of the input
    nearby = [_compared(conv, _nearby(reference.input, seed), given, rules, old=old) for seed in range(_TRIALS)]
    return [_unless_unsteady(result, others, rules) for result, *others in zip(found, *nearby, strict=True)]


def _nearby(value: Any, seed: int) -> Any:
    """An input that differs by no more than what rounding makes of it on the first layers."""
    generator = torch.Generator().manual_seed(seed)

    def move(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_floating_point() or not tensor.numel():
            return tensor
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor.dtype)
        return tensor + _NEARBY * tensor.abs().max() * noise

    return apply(value, move)


def _unless_unsteady(found: GradientResult, nearby: Sequence[GradientResult], rules: Rules) -> GradientResult:
    """The same result; not judged where the model's own gradient depends on rounding about as much as it is off.

    A gradient jumps at the edge of a ReLU and between two equal maxima: the last digit of Torch7's forward pass may
    have sent it another way than ours.
    """
    if found.difference is None or found.passed or found.got is None:
        return found
    spreads = [compare(other.got, found.got, rules.gradient())[0] for other in nearby if other.got is not None]
    widest = max(spreads, key=attrgetter("needed_atol"), default=None)
    if widest is None or widest.passed or found.difference.needed_atol > _UNSTEADY * widest.needed_atol:
        return found
    remark = (
        f"it is off by {found.difference.error}, and by {widest.error} after a change of the input in its "
        "seventh digit: at an edge of a ReLU or between equal maxima rounding decides which way it goes"
    )
    return dataclasses.replace(found, difference=None, remark=remark)


def _compared(conv: ConvertedModel, value: Any, given: Gradients, rules: Rules, *, old: bool) -> list[GradientResult]:
    tracked = convert_model(
        conv.value,
        key=conv.key or None,
        aliases=conv.build.aliases,
        track_gradients=True,
        provided=conv.build.provided,
    )
    if old:
        for record in tracked.layers:
            record.module.register_forward_hook(_approximated)
    dtype = floating_type(tracked.module)
    leaf = apply(moved(value, dtype), _wanting_gradient)
    forget(tracked.module)
    # in-place layers may not change leaves
    output = tracked.run_tracked(apply(leaf, torch.clone))
    pairs = [
        (out, grad.reshape(out.shape).to(out.dtype))
        for (_, out), (_, grad) in zip(leaves(output), leaves(given.output), strict=True)
        if out.requires_grad
    ]
    if pairs:
        torch.autograd.backward([out for out, _ in pairs], [grad for _, grad in pairs])
    top = conv.layers[0].typename if conv.layers else ""
    return [*_of_input(top, leaf, given, rules), *_of_parameters(tracked, given, rules)]


def _approximated(module: nn.Module, given: tuple[Any, ...], output: Any) -> Any:
    """What a layer gives with old Torch's approximation of exp, with which the reference's gradients were computed."""
    form = form_of("approximation", module)
    return output if form is None or not isinstance(given[0], torch.Tensor) else form(module, given[0])


def _wanting_gradient(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.requires_grad_(tensor.is_floating_point())


def _of_input(top: str, leaf: Any, given: Gradients, rules: Rules) -> list[GradientResult]:
    expected = dict(leaves(given.input))
    found = []
    for place, tensor in leaves(leaf):
        field = f"gradInput{position(place)}"
        theirs = expected.get(place)
        if theirs is None or theirs.numel() != tensor.numel() or not theirs.is_floating_point():
            found.append(GradientResult("", top, field, None, "Torch7 returned none"))
        elif tensor.grad is None and not theirs.any():
            found.append(GradientResult("", top, field, None, "no gradient reaches it, in Torch7 neither"))
        else:
            ours = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
            (difference,) = compare(ours.reshape(theirs.shape), theirs, rules.gradient())
            found.append(GradientResult("", top, field, difference, got=ours.reshape(theirs.shape)))
    return found


def _of_parameters(tracked: ConvertedModel, given: Gradients, rules: Rules) -> list[GradientResult]:
    by_path = {path: record for record in tracked.layers for path in record.paths}
    ours = tracked.gradients_by_region()
    sums: dict[Region, torch.Tensor] = {}
    counted: set[tuple[Region, bytes]] = set()
    named: dict[Region, tuple[str, str, str]] = {}
    found = []
    for entry in given.parameters:
        record = by_path.get(entry.path)
        for name, gradient in entry.fields.items():
            parameter = None if record is None else record.object.get(name)
            if not isinstance(parameter, Tensor):
                found.append(GradientResult(entry.path, entry.typename, name, None, "the file has no such parameter"))
                continue
            region = (id(parameter.storage), parameter.offset, parameter.size, parameter.stride)
            named.setdefault(region, (entry.path, entry.typename, name))
            numbers = (region, gradient.numpy().tobytes())
            if numbers not in counted:  # modules that share their gradient list the same sum
                counted.add(numbers)
                sums[region] = sums[region] + gradient if region in sums else gradient
    for region, expected in sums.items():
        path, typename, name = named[region]
        if region not in ours:
            found.append(GradientResult(path, typename, name, None, "the converted layer has no such parameter"))
            continue
        _, _, gradient_here = ours[region]
        got = torch.zeros_like(expected) if gradient_here is None else gradient_here
        (difference,) = compare(got.reshape(expected.shape), expected, rules.gradient())
        found.append(GradientResult(path, typename, name, difference, got=got.reshape(expected.shape)))
    return found
