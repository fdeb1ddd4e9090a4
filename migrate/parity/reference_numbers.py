"""What a converted model is compared with, and the small things that every kind of reference needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..base.tensor_trees import apply, leaves
from .judge.compare import Difference
from .masks import Mask
from .network_copies import Network


@dataclass(frozen=True)
class TensorSummary:
    """What a reference keeps of a tensor that was too large to be stored.

    Attributes:
        size: of the tensor.
        mean, std: of all its elements (std with Bessel's correction).
        head: its first elements in row-major order.
    """

    size: tuple[int, ...]
    mean: float
    std: float
    head: torch.Tensor


@dataclass(frozen=True)
class GradientEntry:
    """The gradients of one layer's parameters, as Torch7 computed them.

    Attributes:
        path: Torch7 path of the layer.
        typename: its Torch7 class.
        fields: gradient by the name of the parameter.
    """

    path: str
    typename: str
    fields: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Gradients:
    """What a backward pass gave.

    Attributes:
        output: what it was fed: the gradient of the output.
        input: what it returned: the gradient of the input; None if it returned none.
        parameters: one entry per layer.
    """

    output: Any
    input: Any
    parameters: tuple[GradientEntry, ...]


@dataclass(frozen=True)
class Reference:
    """Numbers to compare with.

    Attributes:
        kind: "dump" (written by the user's Torch7), "live" (by one that was run for it), "recorded" (left in the file),
            "given" (an output that the user says is Torch7's), "lua" (Torch7's own Lua, with PyTorch's kernels),
            "run" (saved by torchmigrate on another machine) or "self" (the converted model in float64).
        proves: what agreement with it shows, in words.
        input: what the model was fed; a tensor or a nested list.
        output: what it answered; None where `follows` has not been run.
        dtype: type of the coarsest tensor in it.
        file: name of the file, or None.
        sha256: of that file, or None.
        layers: output by (index of the converted layer, run of it), 1-based; a `TensorSummary` for large ones.
        notes: what is known about it.
        limits: what it can't show, one sentence each.
        unjudged: why a layer can't be judged by these numbers, by (index, run).
        training: the layers that are compared in training mode, since Torch7 ran them so.
        probe: an input for the run in which each layer gets the reference's own input, where `input` does not belong
            to the numbers of the layers; None: it does.
        follows: the network that gives the numbers of the layers while it runs, in place of `layers`.
        coarse: were they computed on a GPU, whose libraries choose among algorithms that round differently?
        gradients: what a backward pass gave, if there was one.
        together: layers that overwrote the output of another in Torch7 -> the layers that are judged by theirs.
        beneath: layers that wrote over the outputs of others -> those layers, by (index, run).
        stale: why the numbers are older than the weights, where none of these could be judged; or "".
        changes: what is added to the parameters for the run in which each layer gets the reference's own input, by
            their names: the numbers of the layers are of an earlier time.
        proven: how it is known that a layer is right with other weights than its own, by (index, run).
        witnessed: the error of layers that were judged by what a backward pass left, and how, likewise.
        masks: where something set numbers of the output of a layer to 0 after it ran, likewise; these are left out.
        shifts: what old Torch's approximation of exp makes of the numbers of a layer in the running network, likewise:
            `layers` are with it, and `output` is without.
        chosen: why it was chosen, where that is worth a word; "" else.
    """

    kind: str
    proves: str
    input: Any
    output: Any
    dtype: torch.dtype
    file: str | None = None
    sha256: str | None = None
    layers: Mapping[tuple[int, int], Any] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    unjudged: Mapping[tuple[int, int], str] = field(default_factory=dict, repr=False)
    training: tuple[int, ...] = ()
    probe: Any = None
    follows: Network | None = None
    coarse: bool = False
    gradients: Gradients | None = None
    together: Mapping[tuple[int, int], list[tuple[int, int]]] = field(default_factory=dict, repr=False)
    beneath: Mapping[tuple[int, int], list[tuple[int, int]]] = field(default_factory=dict, repr=False)
    stale: str = ""
    changes: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False)
    proven: Mapping[tuple[int, int], str] = field(default_factory=dict, repr=False)
    witnessed: Mapping[tuple[int, int], tuple[Difference, str]] = field(default_factory=dict, repr=False)
    masks: Mapping[tuple[int, int], Mask] = field(default_factory=dict, repr=False)
    shifts: Mapping[tuple[int, int], Any] = field(default_factory=dict, repr=False)
    chosen: str = ""

    def __repr__(self) -> str:
        return f"<Reference: {self.kind}{f' from {self.file}' if self.file else ''}, {len(self.layers)} runs of layers>"


def added(value: Any, more: Any) -> Any:
    """A nested value with something added to its tensors, in their own type; whole numbers stay as they are."""
    there = dict(leaves(more))
    rest = iter([there.get(place) for place, _ in leaves(value)])

    def add(tensor: torch.Tensor) -> torch.Tensor:
        extra = next(rest)
        if extra is None or extra.shape != tensor.shape or not tensor.is_floating_point():
            return tensor
        return (tensor.double() + extra.to(tensor.device)).to(tensor.dtype)

    return apply(value, add)


def cast_like(reference: Any, output: Any) -> Any:
    """The reference's values with the type and device of `output`, or None where the nesting differs."""
    like = [tensor for _, tensor in leaves(output)]
    if [place for place, _ in leaves(reference)] != [place for place, _ in leaves(output)]:
        return None
    rest = iter(like)

    def cast(tensor: torch.Tensor) -> torch.Tensor:
        other = next(rest)
        same_kind = tensor.is_floating_point() == other.is_floating_point()
        return tensor.to(device=other.device, dtype=other.dtype if same_kind else tensor.dtype, copy=True)

    return apply(reference, cast)
