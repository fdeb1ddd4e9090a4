"""References that an old Torch computed with its approximation of exp, end to end.

A softmax layer is judged by itself with that approximation (see `choices`). What it makes of the layers behind, and of
the outputs of the whole network, is worked out here, so that everything else is compared without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from ...base.tensor_trees import apply, leaves, moved
from ...model.conversion import ConvertedModel
from ...model.registry import form_of
from ..judge.compare import compare
from ..judge.tolerances import Rules, coarser, depth_of, fan_in_of
from ..network_copies import Network, copy_network
from ..reference_numbers import Reference, added
from ..trace import LayerRun, trace

#: Said of such a reference.
NOTE = (
    "the reference's numbers were computed with old Torch's approximation of exp: the outputs of the network are "
    "compared without what it makes of them, and agree with it too"
)

Key = tuple[int, int]


def without_approximation(conv: ConvertedModel, reference: Reference) -> Reference:
    """The same reference as if exp had been exact, where only the approximation explains its outputs.

    Args:
        conv: the converted model.
        reference: which has outputs of the whole network on its own input.
    """
    if reference.output is None or not any(form_of("approximation", layer.module) for layer in conv.layers):
        return reference
    network = copy_network(conv)
    rules = Rules(
        coarser(network.dtype, reference.dtype),
        max(map(fan_in_of, conv.layers), default=1),
        depth_of(conv.layers),
        gpu=reference.coarse,
    )
    try:
        if _agree(network.run(reference.input), reference.output, rules):
            return reference
        approximated, _ = _run(network, reference.input, approximate=True)
        if not _agree(approximated, reference.output, rules):
            return reference
        precise = copy_network(conv, torch.float64)
        there, theirs = _run(precise, reference.input, approximate=True)
        here, ours = _run(precise, reference.input, approximate=False)
    except Exception:  # what does not run is told elsewhere
        return reference
    shifts = {key: _apart(value, ours[key]) for key, value in theirs.items() if key in ours}
    return replace(
        reference,
        output=added(reference.output, _apart(here, there)),
        shifts={key: shift for key, shift in shifts.items() if any(bool(t.any()) for _, t in leaves(shift))},
        notes=(*reference.notes, NOTE),
        limits=(*reference.limits, f"{NOTE[:1].upper()}{NOTE[1:]}."),
    )


def _agree(got: Any, expected: Any, rules: Rules) -> bool:
    return all(difference.passed for difference in compare(got, expected, rules.output()))


def _run(network: Network, value: Any, *, approximate: bool) -> tuple[Any, Mapping[Key, Any]]:
    """What a network and its layers answer, with old Torch's exp or with the exact one."""
    found: dict[Key, Any] = {}
    twin = network.twin()

    def see(step: LayerRun) -> Any:
        module = twin.layers[step.index].module
        form = form_of("approximation", module) if approximate and isinstance(step.input, torch.Tensor) else None
        output = None if form is None else form(module, step.input)
        found[step.key] = moved(step.output if output is None else output)
        return output

    return moved(trace(twin, twin.taken(value), see)), found


def _apart(one: Any, other: Any) -> Any:
    """The difference of two nested values, tensor by tensor; 0 where numbers are whole, or sizes differ."""
    theirs = dict(leaves(other))
    rest = iter([theirs.get(place) for place, _ in leaves(one)])

    def subtract(tensor: torch.Tensor) -> torch.Tensor:
        from_it = next(rest)
        if from_it is None or from_it.shape != tensor.shape or not tensor.is_floating_point():
            return torch.zeros(tensor.shape, dtype=torch.float64)
        return (tensor.double() - from_it.double()).nan_to_num(0.0, 0.0, 0.0)

    return apply(one, subtract)
