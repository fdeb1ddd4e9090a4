"""generate(): the source of a converted model, and the names that its tensors have there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from ..base.errors import TorchMigrateError
from ..base.memory import is_out_of_memory
from ..base.messages import said
from ..model.conversion import ConvertedModel
from ..model.recurrent_state import Remembering
from ..model.registry import form_of
from ..model.tied_names import first_names
from ..shapes.input_readers import entries_of
from .child_process import check_apart
from .classes import extract
from .constructors import constructor_of
from .examples import Calls, Example, several_sizes
from .expressions import Value, Variable, type_of, variables
from .forms import is_chain
from .input_tree import members, tree_of, type_taken
from .lowering import Lowering
from .naming.states import name_states
from .scopes import Draft, Scope
from .simplify import tidy
from .sizes import Sizes, kinds_of, sizes_of
from .statements.repeats import call_repeats
from .statements.unpoolings import Unpoolings
from .writing.copied_classes import Copies
from .writing.forward_methods import Forward, identifier
from .writing.layout import class_name, file_text, formatted
from .writing.size_check import size_check

#: What lowering, or running a part of a model, raises where a model is not as it expects.
_PROBLEMS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, TorchMigrateError)


@dataclass
class Source:
    """Generated source.

    Attributes:
        text: of model.py.
        state: state dict of `Model`: names as they are in the source, tensors of the converted model.
        names: name of a tensor in `conv.module` -> its name in `state`.
        name: of the class of the model.
        structured: was the structure of the model written as Python? Otherwise modules stand where Torch7's stood.
        reason: why it was not, or why only such of it as is the same for all sizes.
    """

    text: str
    state: dict[str, torch.Tensor] = field(repr=False)
    names: dict[str, str] = field(repr=False)
    name: str = "Model"
    structured: bool = True
    reason: str = ""


def generate(conv: ConvertedModel, example: Any = None) -> Source:
    """The source of a model.

    Args:
        conv: the converted model.
        example: an input that it accepts; without, or where its structure can't be followed, the source has the
            structure of the Torch7 file, module by module.

    Returns:
        Source that gives the same bits as `conv.module` in evaluation mode, on the example and on
        larger inputs along each axis that may vary.

    Raises:
        ValueError: the model can't be written as source; it says why.
    """
    with evaluating(conv), torch.no_grad():
        calls = Calls()
        examples: list[Example] = []
        reason = "no input is known, so that it was never run"
        ways: list[Callable[[], Draft]] = []
        sizes: Sizes | None = None
        try:
            examples = [] if example is None else several_sizes(conv, example, calls)
            inputs = [e.input for e in examples]
            sizes = sizes_of(conv.module, examples, kinds_of(entries_of(conv))) if examples else None
            ways = [partial(_structured, conv, inputs, calls.copy(), sizes)] if inputs else []
        except _PROBLEMS as error:
            reason = _said(error)
        ways += [partial(_of_any_size, conv), partial(_plain, conv, [e.input for e in examples])]
        for way in ways:
            try:
                source, problem = _write(conv, way(), examples, calls, sizes if way is ways[0] else None)
            except _PROBLEMS as error:
                problem = _said(error)
            if not problem:
                source.structured = way is not ways[-1]
                source.reason = reason if way is not ways[0] or not examples else ""
                return source
            reason = problem if way is ways[0] and examples else reason
    raise ValueError(problem)


def _said(error: Exception) -> str:
    """An error in words, of a way that may not fit the model."""
    if is_out_of_memory(error):
        raise error
    return said(error)


@contextmanager
def evaluating(conv: ConvertedModel) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards each module has its own mode and what it remembered."""
    # no call of eval(), which changes what some layers keep
    training = [module for module in conv.module.modules() if module.training]
    states = [(module, module.state) for module in conv.module.modules() if isinstance(module, Remembering)]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
        for remembering, state in states:
            remembering.state = state
        for module in conv.module.modules():
            module.__dict__.pop("places", None)


def _structured(conv: ConvertedModel, inputs: list[Any], calls: Calls, sizes: Sizes | None) -> Draft:
    scope = Scope()
    if isinstance(inputs[0], list):  # the members of a table are separate parameters
        parameters = [Variable(members, given=True) for members in zip(*inputs, strict=True)]
        entries: Value = [scope.unpack(parameter, parameter.values) for parameter in parameters]
    else:
        parameters = [Variable(tuple(inputs), hint="x", given=True)]
        entries = parameters[0]
    images = [x.shape[:1:-1] for x in inputs if isinstance(x, torch.Tensor)]
    steps = sizes.steps[:1:-1] if sizes is not None else []
    unpoolings = Unpoolings(conv.module, images, steps)
    result = Lowering(conv.module, _author_names(conv), calls, unpoolings).lower(conv.module, entries, scope, top=True)
    return Draft(scope, parameters, result)


def _of_any_size(conv: ConvertedModel) -> Draft:
    """The structure of a model of whose sizes nothing is known: what is written holds for all of them."""
    scope = Scope()
    tree = members(tree_of(conv.module))
    parameters = list(tree) if isinstance(tree, list) else [tree]
    if isinstance(tree, Variable):
        tree.type = type_taken(conv.module)
    for place, part in enumerate(parameters):
        if isinstance(part, list):
            parameters[place] = Variable(type_=type_of(part), members=part)
    entries = [scope.unpack(parameter, (), parameter) for parameter in parameters]
    given = entries if isinstance(tree, list) else entries[0]
    result = Lowering(conv.module, _author_names(conv), Calls()).lower(conv.module, given, scope, top=True)
    return Draft(scope, parameters, result)


def _plain(conv: ConvertedModel, inputs: list[Any] | None) -> Draft:
    scope = Scope()
    members = inputs[0] if inputs and isinstance(inputs[0], (list, tuple)) else None
    value: Value = Variable(hint="x") if members is None else [Variable() for _ in members]
    result = scope.call(constructor_of(conv.module), value, Variable(), "net")
    return Draft(scope, variables(value), result)


def _author_names(conv: ConvertedModel) -> dict[int, str]:
    """The id of a module -> the name that its author gave to its node in a graph, or to itself."""
    names = _field_names(conv) | _node_names(conv)
    return {key: f"{name}_" if hasattr(nn.Module, name) else name for key, name in names.items()}


def _field_names(conv: ConvertedModel) -> dict[int, str]:
    """The names that layers have themselves, as in files of loadcaffe, where no two have the same.

    Layers of branches and blocks are left out: a class of what occurs several times has one name for each layer.
    """
    chains = {path for record in conv.layers if is_chain(record.module) for path in record.paths}
    found = {}
    for record in conv.layers:
        parts = record.path.split(".")
        if record.name and all(".".join(parts[:i]) in chains for i in range(len(parts))):
            found[id(record.module)] = identifier(record.name, "layer")
    counts = Counter(found.values())
    return {key: name for key, name in found.items() if counts[name] == 1}


def _node_names(conv: ConvertedModel) -> dict[int, str]:
    modules = {id(record.object): record.module for record in conv.layers}
    forms = [(form_of("node names", record.module), record.object) for record in conv.layers]
    pairs = [pair for form, graph in forms if form for pair in form(graph)]
    return {id(modules[id(node)]): identifier(name, "node") for node, name in pairs if id(node) in modules}


def _write(
    conv: ConvertedModel, draft: Draft, examples: list[Example], calls: Calls, sizes: Sizes | None = None
) -> tuple[Source, str]:
    """The source of a draft, and why it does not give what the model gives; "" if it does."""
    dtypes = {tensor.dtype for tensor in conv.module.state_dict().values() if tensor.is_floating_point()}
    copies = Copies(double=dtypes != {torch.float32})
    for attr in draft.scope.attrs.values():
        for call in attr.walk():
            if call.own is not None:
                call.cls = copies.add(call.own)
    copies.specialize([call for attr in draft.scope.attrs.values() for call in attr.walk()])
    call_repeats(draft.scope, draft.result)
    tidy(draft.scope, draft.result)
    name_states(draft.scope, draft.inputs)
    name = class_name(conv.provenance.file or "", {*copies.definitions, *(line.split()[-1] for line in copies.imports)})
    classes = extract(draft.scope, {*copies.definitions, "Model", name})
    places = dict(_places(draft.scope))
    # of a model that ran on one size only, it is not known which others it takes
    checked = sizes is not None and sizes.axes and len(draft.inputs) == len(sizes.inputs)
    check = size_check(sizes, draft.inputs) if checked and sizes is not None else []
    forward = Forward(draft.scope, draft.inputs, draft.result, check)
    state = {place: tensor.detach() for place, tensor in places.items()}
    tied = any(name != first for name, first in first_names(state).items())
    casts: dict[str, torch.dtype] = {}
    while True:
        text = formatted(file_text(conv, draft, classes, copies, forward, casts, sizes, name, tied=tied))
        found = check_apart(text, state, examples, calls)
        if not found.owner or found.owner in casts:
            return Source(text, state, _names(conv, places), name), found.reason
        casts[found.owner] = getattr(torch, found.dtype)  # few models mix types


def _places(scope: Scope) -> Iterator[tuple[str, torch.Tensor]]:
    """Every entry of the state dict of the source."""
    for name, call in scope.attrs.items():
        for path, part, module in call.leaves(name):
            for inner, tensor in module.state_dict(keep_vars=True).items():
                if part.owns(inner):
                    yield f"{path}.{inner}", tensor


def _names(conv: ConvertedModel, places: dict[str, torch.Tensor]) -> dict[str, str]:
    """Name of each tensor of the converted model -> where it is in the source."""
    by_tensor: dict[int, list[str]] = {}
    for place, tensor in places.items():
        by_tensor.setdefault(id(tensor), []).append(place)
    found = {}
    used: dict[int, int] = {}
    for name, tensor in conv.module.state_dict(keep_vars=True).items():
        where = by_tensor.get(id(tensor))
        if where is None:
            raise ValueError(f"the tensor {name} has no place in the source")
        number = used.get(id(tensor), 0)
        used[id(tensor)] = number + 1
        found[name] = where[min(number, len(where) - 1)]
    return found
