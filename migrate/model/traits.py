"""Traits: what is known of a Torch7 class beside what it becomes. Given where its converter is registered.

Every stage that has to know something of a layer asks its traits: shapes what it reads, aliasing whose memory its
output is, the picture how it is drawn. The defaults say nothing, and are safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ..t7 import LuaObject

Output = Literal["own", "copy", "pass", "write", "children"]
Reuses = Literal["output", "storage", "rows", "nothing", "unknown"]
Reads = Literal["", "images", "volumes", "frames", "indices", "numbers", "sequences"]
Flow = Literal[
    "", "chain", "replicas", "wrapper", "branches", "joined", "slices", "entries", "graph", "steps", "operands",
    "feedback", "select", "picks", "narrow", "flatten", "same", "push", "pull",
]  # fmt: skip
Kind = Literal["recurrent", "normalization", "dropout", "pooling", "merge", "weights", "activation", "other"]


@dataclass(frozen=True)
class Traits:
    """What is known of a Torch7 class beside what it becomes.

    A converter refines them for one layer with `layer.traits(...)`, where its fields decide.

    Attributes:
        output: whose memory its output is, when it evaluates: "own", its own; "copy", its own with the numbers of the
            input, while the PyTorch module gives the very input (its form "copying" is the class that copies); "pass",
            that of the input, unchanged, maybe as a view; "write", that of the input, which it changes in place;
            "children", whatever its children give.
        reuses: what Torch7 uses again when it runs again, and thereby overwrites: "output", the tensor (or table) that
            it gave before; "storage", its memory, while the older tensor keeps its size; "rows", the older tensor,
            which becomes a matrix of the new rows; "nothing", so that the older result stays; "unknown", in some way.
        safe_on_own_output: does Torch7 compute the same where its input lies in its output, since it runs twice? None:
            if it keeps the size.
        begins_with_first: of a table of operands the first is copied to the output before the others are read.
        keeps_size: its output has the size of its input.
        enlarges: its output is larger than its input, as those of the first layers of a generator are.
        keeps_numbers: its output holds the numbers of its input in the same order, whatever the sizes.
        reads: what its input is: "images" (N, C, H, W), "volumes" (N, C, T, H, W), "frames" (N, T, D), "indices",
            "numbers" (N, D), "sequences" (T, N, D) as one tensor.
        weight_axis: the dimension of its matrix of weights that counts the numbers that it takes.
        most_dims: how many dimensions its input has at most, where PyTorch would take more; 0: no fewer than PyTorch's.
        merges_dims: does it run its child on inputs of more dimensions, of which the first ones become one meanwhile?
        first_index: the least index that it takes, if it reads indices.
        index_count: how many of them it is known to take, where none of its fields tells; 0: a field tells.
        flow: how values go through it: "chain", its children one after another; "replicas", the same, but they are
            copies of one; "wrapper", around one child; "branches", each child gets the input, a table comes out;
            "joined", likewise, but one tensor comes out; "slices", each child gets a slice; "entries", each child
            gets an entry of a table; "graph", an nngraph; "steps", a child runs once for each step of a sequence;
            "feedback", a child gets the input and what it gave before; "operands", a table of tensors gives one;
            "picks", of a tensor and a vector of indices, the entries of the tensor with these indices, from 1;
            "select", "narrow", "flatten", of a table; "same", what it gets; "push", leaves out an entry of a table,
            which a "pull" puts into another.
        children: the fields that hold its children, of which `parameters()` lists the parameters.
        parameters: the fields (dotted where they lie deeper) that `parameters()` lists of a class without children.
        picture: what colours its box in a picture.
        label: the fields that are written in its box, beside planes and windows.
        recurrent: does it go through a sequence, or keep a state from step to step?
        criterion: is it a loss, called with input and target?
        random: does it draw random numbers when it evaluates, not only in training?
        zeros_by_chance: is each number that it gives a sum, which is exactly 0 by chance only, or where all terms are?
        undoes: does its backward pass change its output back, where it works in place?
        unproven: why no number that Torch7 computed is compared with it; a model that holds such a layer says so.
        sizes_before: the sizes that it may have got, if it gave an output of these; None: not known.
    """

    output: Output = "own"
    reuses: Reuses = "output"
    safe_on_own_output: bool | None = None
    begins_with_first: bool = False
    keeps_size: bool = False
    enlarges: bool = False
    keeps_numbers: bool = False
    reads: Reads = ""
    weight_axis: int = 1
    most_dims: int = 0
    merges_dims: bool = False
    first_index: int = 1
    index_count: int = 0
    flow: Flow = ""
    children: tuple[str, ...] = ("modules",)
    parameters: tuple[str, ...] = ()
    picture: Kind = "other"
    label: tuple[str, ...] = ()
    recurrent: bool = False
    criterion: bool = False
    random: bool = False
    zeros_by_chance: bool = False
    undoes: bool = False
    unproven: str = ""
    sizes_before: Callable[[LuaObject, tuple[int, ...]], Iterator[tuple[int, ...]]] | None = None

    def to_json(self) -> dict[str, Any]:
        """The traits that say something, without functions, as JSON values."""
        default = Traits()
        said = {name: value for name, value in asdict(self).items() if value != getattr(default, name)}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in said.items() if not callable(v)}

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Traits:
        """The traits that `to_json` wrote."""
        known = {field.name for field in fields(cls)}
        found: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in said.items()}
        return cls(**{name: value for name, value in found.items() if name in known})


NO_TRAITS = Traits()
