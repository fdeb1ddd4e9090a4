"""What the source asks of a class of modules: forms, which stand beside the class in converters/.

`registry.module_form(aspect, Class)` registers one. The aspects, none of which a class must have:

- "structure": a `Structure`, or a function that gives that of a module.
- "python": `form(module, x)` gives what the module makes of a tensor as an expression, or a list of them; None where it
  has to be called. The shapes of `x` are known, for two batch sizes or more.
- "python of any size": the same as "python" where nothing is known of the sizes of `x`; it holds for all of them.
- "python of a list": the same for a list of values, or for a variable whose examples are lists of different lengths.
- "stock": `form(module, x)` gives a module of torch.nn that does the same on inputs like the tensor `x`; None: there is
  none. It is tried before it is used, in evaluation only. Without the form that is the class of torch.nn that a class
  of torchmigrate's own extends.
- "recurrent": `form(module)` gives the layer of torch.nn that the module runs from a state of zeros; None: it has none.
- "node names": `form(object)` gives pairs of a Torch7 module in the object and the name that its author gave it.
- "loop": a `Loop`, for a module that runs another one on each entry of a sequence.
- "unpooling": `form(module)` gives an `Unpooling`; None: the unpooling can't be written with indices.
- "plain": `form(module)` gives a module that does the same, in training too, and reads better; None: there is none.
- "embedding": `form(module)` gives the nn.Embedding that has its rows, counted from 0; None: it has none.
- "over sequence": `form(module)` gives the layers that run one after another over a whole sequence; None: it can't.
- "of a list": True, where such a layer takes a list of the entries, and gives one.
- "without memory": `form(module)` gives a module that runs the same cell from zeros each time.
- "sized": `form(module)` gives a layer of torch.nn that, called with x and the last sizes of y, does with them what the
  module does with [x, y].

What has no form is called, and its class copied into the source.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard

import torch
from torch import nn

from ..base.tensor_trees import apply
from ..model.registry import form_of
from .expressions import Value, Variable, entry_type, is_unknown
from .scopes import Scope, examples_of
from .statements.one_expression import expression_of


@dataclass(frozen=True)
class Picks:
    """Entries of a list that a layer gives: the one at `start`, counted from 0; or a list of those from there on."""

    start: int
    many: bool = False


@dataclass(frozen=True)
class Structure:
    """What a module is within a network.

    Attributes:
        flow: how values go through its children: "branches", each gets the input, a list comes out; "joined", likewise,
            but the results are joined along `module.dim`; "padded", zeros make them alike before; "entries", each
            gets an entry of a list; "mapped", likewise, the first also those that are left over; "graph", as
            `module.nodes` and `module.outputs` say.
        lists: it takes or gives a list, which nothing else says.
        merges: how it makes one tensor of a list.
        nothing: it gives the very tensor that it gets, in training too.
        operator: it reads better as an operator or a method than as a link of a chain of layers.
        zeros: it gives nothing but zeros.
        enlarges: an image is larger behind it.
        cell: what the class is called that is made of the step of a recurrent layer.
        picks: the entries of a list that it gives, if it does that.
    """

    flow: Literal["", "branches", "joined", "padded", "entries", "mapped", "graph"] = ""
    lists: bool = False
    merges: Literal["", "sum", "product", "join"] = ""
    nothing: bool = False
    operator: bool = False
    zeros: bool = False
    enlarges: bool = False
    cell: str = "Step"
    picks: Picks | None = None


@dataclass(frozen=True)
class Loop:
    """How a module runs another one on each entry of a list, or of the first dimension of a tensor.

    Attributes:
        step: the attribute that holds the other one.
        states: name of a state -> the attribute that says its size. The other module gets a list of an entry and the
            states, and gives these anew; the first is also what is given for the entry. They begin with zeros.
    """

    step: str
    states: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Unpooling:
    """A function of torch.nn.functional that puts numbers to where a pooling found them.

    Attributes:
        pooling: the pooling, as it is in the model.
        stock: one of torch.nn that gives the indices too.
        function: the name of the function.
        axes: how many it works along.
        kernel_size, stride, padding: as the function takes them; None: its default.
    """

    pooling: nn.Module
    stock: nn.Module
    function: str
    axes: int
    kernel_size: int | tuple[int, ...]
    stride: int | tuple[int, ...] | None
    padding: int | tuple[int, ...] | None


_NOTHING, _PLAIN, _ENLARGES = Structure(nothing=True), Structure(), Structure(enlarges=True)


def structure_of(module: nn.Module) -> Structure:
    """What a module is within a network; most are nothing special."""
    if type(module) is nn.Identity or (type(module) is nn.Dropout and module.p == 0):
        return _NOTHING
    if isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Upsample)):
        return _ENLARGES
    form = form_of("structure", module) or _PLAIN
    structure: Structure = form(module) if callable(form) else form
    return structure


def is_operator(module: nn.Module, value: Variable) -> bool:
    """Does it read better as an expression than as a link of a chain of layers, which gets such a value?"""
    return structure_of(module).operator or expression_of(module, Variable(value.values)) is not None


def is_chain(module: nn.Module) -> TypeGuard[nn.Sequential]:
    """Does it run its children one after another, and nothing else?"""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def has_lists(module: nn.Module) -> bool:
    """Does it take or give a list?"""
    structure = structure_of(module)
    said = structure.lists or structure.merges or structure.flow in ("branches", "entries")
    return bool(said) or form_of("python of a list", module) is not None


def as_python(module: nn.Module, value: Value, scope: Scope) -> Value | None:
    """What a module makes of a value, by an expression that is added to a forward method; None if it must be called."""
    if structure_of(module).nothing:
        return value
    if isinstance(value, Variable) and value.shapes:
        form = form_of("python", module)
    elif isinstance(value, Variable) and is_unknown(value) and (form := form_of("python of any size", module)):
        pass
    else:
        is_list = isinstance(value, list) or all(isinstance(example, list) for example in value.values)
        form = form_of("python of a list", module) if is_list else None
    written: Any = form(module, value) if form else expression_of(module, value)
    if _is_new(written):
        found = scope.unpack(written, results(module, value))
        if isinstance(value, Variable) and is_unknown(value) and isinstance(found, Variable):
            found.type = entry_type(value) if isinstance(written, ast.Subscript) else result_type(module)
        return found
    if isinstance(written, list) and any(map(_is_new, written)):
        outputs = zip(*results(module, value), strict=True)
        return [scope.unpack(item, output) for item, output in zip(written, outputs, strict=True)]
    return written


def _is_new(value: Value) -> bool:
    return isinstance(value, ast.expr) and not isinstance(value, Variable)


def result_type(module: Any) -> str:
    """What a module gives, as an annotation, whatever its input: a tensor, a list, or "Any" where it does not say."""
    structure = structure_of(module)
    if is_chain(module) or structure.flow == "graph":
        if structure.flow == "graph":
            sources = module.outputs
            place = sources[0] if len(sources) == 1 else [[]]
            index = module.nodes[place[0] - 1][0] if len(place) == 1 and isinstance(place[0], int) and place[0] else -1
            return "Any" if index == -1 else result_type(module.get_submodule(str(index)))
        last = next((child for child in reversed(module) if not structure_of(child).nothing), None)
        return "Tensor" if last is None else result_type(last)
    if structure.flow in ("joined", "padded") or structure.merges:
        return "Tensor"
    if structure.flow == "branches":
        return "list[Tensor]" if all(result_type(child) == "Tensor" for child in module) else "list[Any]"
    if type(module).__module__.startswith("torch.nn."):
        return "Any" if isinstance(module, nn.RNNBase) else "Tensor"
    said = annotated(type(module).forward)
    return said if said == "Tensor" or said.startswith("list[") else "Any"


def annotated(method: Any, place: int | None = None) -> str:
    """The annotation of a parameter of a method, or of what it returns, as the generated source writes it."""
    signature = inspect.signature(method)
    parameters = list(signature.parameters.values())
    found = signature.return_annotation if place is None else parameters[place].annotation
    return (found if isinstance(found, str) else getattr(found, "__name__", "")).replace("torch.Tensor", "Tensor")


def plain_of(module: nn.Module) -> nn.Module:
    """What is written in place of a module: one that does the same and reads better, if there is one."""
    form = form_of("plain", module)
    return (form(module) if form else None) or module


def loop_of(module: nn.Module) -> Loop | None:
    """How a module that is written as a loop runs another one."""
    loop: Loop | None = form_of("loop", plain_of(module))
    return loop


def stock_layer(aspect: Literal["recurrent", "embedding", "sized"], module: nn.Module) -> Any:
    """The layer of torch.nn that is registered for a module, if there is one."""
    form = form_of(aspect, module)
    return form and form(module)


def results(module: nn.Module, value: Value) -> tuple[Any, ...]:
    """What a module without a state gives for each example of a value."""
    return tuple(module(apply(example, torch.clone)) for example in examples_of(value))
