"""From a converted module to the steps of forward methods: plumbing becomes Python, the rest calls of modules."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..base.tensor_trees import apply, leaves
from ..converters.images.unpooling import PairedMaxPool2d, PairedMaxPool3d, Places
from ..converters.linear.lookup import LookupTable
from ..converters.tables import containers
from ..converters.tables import entries as tables
from ..converters.tables.graph import Graph
from ..model.remembering import forget
from .check import same
from .constructors import Argument, Made, leaf
from .plumbing import does_nothing, is_expression, plumb
from .roles import is_pair, is_pure, is_structured, is_unit, kind_of, role, signature, size_of
from .scopes import Block, Scope, Step, Sym, Value, argument, at, examples, nested
from .stock_modules import embedding_of, recurrent_of, substitute


@dataclass(frozen=True)
class Result:
    """What a module gave.

    Attributes:
        values: for each example.
        fresh: is it no view of what came in?
    """

    values: tuple[Any, ...]
    fresh: bool


class Lowering:
    """Lowers one model.

    Args:
        model: the module to lower.
        names: id of a converted module -> the name that it had in the Torch7 file.
    """

    def __init__(self, model: nn.Module, names: dict[int, str]) -> None:
        self.names = names
        self.units = Counter(signature(module) for module in model.modules() if is_unit(module))
        self.places: dict[tuple[int, int], Places] = {}

    def lower(self, module: nn.Module, value: Value, scope: Scope, *, top: bool = False) -> Value:
        """Adds what `module` does with `value` to a forward method; returns the result."""
        if isinstance(module, nn.Sequential) and (top or not is_pure(module)):
            return self.sequence(module, value, scope, top=top)
        if isinstance(module, containers.ConcatTable):
            return self.branches(module, value, scope)
        if isinstance(module, containers.Concat) or self.is_concat(module, value):
            return self.concat(module, value, scope)
        if isinstance(module, containers.ParallelTable) and isinstance(value, list):
            return [self.lower(child, value[i], scope) for i, child in enumerate(module)]
        if isinstance(module, Graph):
            return self.graph(module, value, scope)
        lowered = plumb(module, value, scope)
        return self.call(module, value, scope) if lowered is None else lowered

    def call(self, module: nn.Module, value: Value, scope: Scope, name: str = "") -> Value:
        """Adds a call of a module."""
        if isinstance(module, LookupTable) and isinstance(value, Sym):
            embedding = embedding_of(module)
            if embedding is not None:
                rows = scope.op("{0}.long() - 1", [value], tuple(v.long() - 1 for v in value.values), atomic=False)
                return scope.call(
                    leaf(embedding), rows, self.run(embedding, rows.values).values, "embedding", fresh=True
                )
        if isinstance(value, Sym) and recurrent_of(module) is not None:
            lowered = self.recurrent(module, value, scope)
            if lowered is not None:
                return lowered
        if isinstance(module, nn.Sequential) and isinstance(value, Sym):
            start, end = core(module)
            if end - start < len(module) and any(is_expression(child) for child in module):
                layers = list(module)
                for child in layers[:start]:
                    value = self.lower(child, value, scope)
                value = self.call(nn.Sequential(*layers[start:end]), value, scope, name) if end > start else value
                for child in layers[end:]:
                    value = self.lower(child, value, scope)
                return value
        made, result = self.made(module, value)
        name = name or self.names.get(id(module)) or role(made)
        called = scope.call(made, value, result.values, name, fresh=result.fresh)
        if id(module) in self.names:
            scope.given.add(next(reversed(scope.attrs)))
        return called

    def recurrent(self, module: nn.Module, value: Sym, scope: Scope) -> Sym | None:
        """A call of a recurrent layer of torch.nn, whose last state nobody reads; None if its numbers are others."""
        layer = recurrent_of(module)
        if layer is None or not value.shapes:
            return None
        results = tuple(layer(example.clone())[0] for example in value.values)
        if not all(same(a, b) for a, b in zip(results, self.run(module, value.values).values, strict=True)):
            return None
        attribute = scope.attribute(leaf(layer), type(layer).__name__.lower())
        out = Sym(results, fresh=True)
        scope.steps.append(Step([out, Sym()], f"self.{attribute}({{0}})", [value], call=True))
        return out

    def sequence(self, module: nn.Sequential, value: Value, scope: Scope, *, top: bool) -> Value:
        """Child after child; a ConcatTable and what joins its results is a class where that happens often."""
        children = list(module)
        pairs = [i for i in range(len(children) - 1) if is_pair(children[i], children[i + 1])]
        units = [i for i, child in enumerate(children) if is_unit(child)]
        repeated = top and len(pairs) + len(units) >= 2
        blocks = [i for i in units if repeated or self.repeats(children[i])]
        i = 0
        while i < len(children):
            child = children[i]
            if i in blocks and isinstance(value, Sym) and self.gives_tensor(child, value):
                value = self.call(child, value, scope)
            elif i not in pairs:
                value = self.lower(child, value, scope)
            elif repeated and isinstance(value, Sym):
                value = self.call(nn.Sequential(child, children[i + 1]), value, scope)
                i += 1
            else:
                residual = isinstance(children[i + 1], tables.AddEntries)
                value = self.branches(child, value, scope, residual=residual)
            i += 1
        return value

    def repeats(self, module: nn.Module) -> bool:
        """Is it a unit of which the model has several?"""
        return is_unit(module) and self.units[signature(module)] > 1

    def gives_tensor(self, module: nn.Module, value: Sym) -> bool:
        """Does the module make one tensor of one tensor?"""
        results = self.run(module, concrete(value)).values if value.shapes else ()
        return bool(results) and all(isinstance(result, torch.Tensor) for result in results)

    def branches(self, module: Any, value: Value, scope: Scope, *, residual: bool = False) -> list[Value]:
        """The results of all children on the same value."""
        children = list(module)
        short = -1
        if residual and len(children) == 2 and scope.is_block:
            short = 0 if size_of(children[0]) < size_of(children[1]) else 1
        found = []
        for i, child in enumerate(children):
            if i == short and isinstance(value, Sym):
                found.append(self.call(child, value, scope, "shortcut"))
            elif does_nothing(child):
                found.append(value)
            elif isinstance(value, Sym) and isinstance(child, nn.Sequential):
                count = sum(not does_nothing(c) for c in children)
                numbered = count > 1 and not (residual and scope.is_block)
                found.append(self.call(child, value, scope, f"branch{i + 1}" if numbered else "branch"))
            else:
                found.append(self.lower(child, value, scope))
        return found

    def is_concat(self, module: nn.Module, value: Value) -> bool:
        """Does a DepthConcat join results of one size, so that it has nothing to fill up?"""
        if not isinstance(module, containers.DepthConcat) or not isinstance(value, Sym) or not value.shapes:
            return False
        results = [self.run(child, value.values).values for child in module]
        rests = [[tuple(n for d, n in enumerate(y.shape) if d != module.dim) for y in ys] for ys in results]
        return all(rest == rests[0] for rest in rests)

    def concat(self, module: Any, value: Value, scope: Scope) -> Value:
        """The results of all children, joined."""
        parts = self.branches(module, value, scope)
        ins: list[Sym] = []
        text = argument(parts, ins)
        joined = tuple(torch.cat(at(parts, i), module.dim) for i in range(examples(parts)))
        return scope.op(f"torch.cat({text}, {module.dim})", ins, joined)

    def graph(self, module: Graph, value: Value, scope: Scope) -> Value:
        """The nodes of an nngraph, in their order; a ConcatTable and what joins its results is one block."""
        values: list[Value] = [value]
        skipped: dict[int, int] = {}
        for number, (index, sources) in enumerate(module.nodes, 1):
            given = entries(values, sources, scope)
            follower = self.follower(module, number)
            if number in skipped:
                values.append(values[skipped[number]])
            elif follower is not None and isinstance(given, Sym):
                pair = nn.Sequential(module[index], module[module.nodes[follower - 1][0]])
                values.append(self.call(pair, given, scope))
                skipped[follower] = number
            else:
                values.append(given if index < 0 else self.node(module[index], given, scope))
        return entries(values, module.outputs, scope)

    def node(self, module: nn.Module, value: Value, scope: Scope) -> Value:
        """What the module of a node gives, which has the name of the node."""
        block = self.repeats(module) and isinstance(value, Sym) and self.gives_tensor(module, value)
        lowered = self.call(module, value, scope) if block else self.lower(module, value, scope)
        name = self.names.get(id(module))
        if name and isinstance(lowered, Sym) and lowered is not value and not lowered.hint:
            lowered.hint = name
        return lowered

    def follower(self, module: Graph, number: int) -> int | None:
        """The node that alone takes all results of a ConcatTable, and joins them."""
        index = module.nodes[number - 1][0]
        if index < 0 or not isinstance(module[index], containers.ConcatTable):
            return None
        users = [
            i for i, (_, sources) in enumerate(module.nodes, 1) for source in sources if source and source[0] == number
        ]
        if len(users) != 1 or any(source[0] == number for source in module.outputs):
            return None
        user, sources = module.nodes[users[0] - 1]
        joined = user >= 0 and sources == [[number]] and is_pair(module[index], module[user])
        return users[0] if joined else None

    def made(self, module: nn.Module, value: Value) -> tuple[Made, Result]:
        """The constructor call of a module that is called with `value`, and its results."""
        inputs = concrete(value)
        if isinstance(module, nn.Sequential) and is_pure(module):
            kids: list[Made] = []
            result = Result(inputs, fresh=False)
            fresh = False
            for child in module:
                if does_nothing(child):
                    continue
                made, result = self.made(child, Sym(result.values))
                kids.append(without_inplace(made) if fresh else made)
                fresh = result.fresh or (fresh and made.is_identity)
            kids = [kid for kid in kids if not kid.is_identity] or [Made("nn.Identity")]
            kept = kids[0] if len(kids) == 1 else Made("nn.Sequential", kids=kids)
            return kept, Result(result.values, fresh)
        structural = isinstance(module, (nn.Sequential, containers.ConcatTable, containers.Concat, Graph))
        if (structural or self.is_concat(module, value)) and isinstance(value, Sym) and value.values:
            return self.block(module, value)
        result = self.run(module, inputs)
        stock = substitute(module, inputs, result.values)
        made = leaf(stock)
        if stock is module:
            self.fill(made, module, inputs)
        return made, result

    def fill(self, made: Made, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Lowers the modules that a leaf was constructed with, on what it gives them first."""
        if isinstance(module, containers.DepthConcat):
            made.args[0].value = [self.made(child, Sym(inputs))[0] for child in module]
            return
        for arg in made.args:
            child = getattr(module, arg.name, None)
            if not isinstance(arg.value, Made) or not isinstance(child, nn.Module) or not is_structured(child):
                continue
            seen = [first_input(module, child, value) for value in inputs]
            if not seen or any(value is None for value in seen):
                continue
            inner, _ = self.made(child, Sym(tuple(seen)))
            if inner.block is not None:
                inner.block.kind = _CELLS.get(type(module).__name__, "Step")
            arg.value = made.inner[arg.name] = inner

    def run(self, module: nn.Module, inputs: tuple[Any, ...]) -> Result:
        """What a module gives for each example; the examples stay as they are."""
        results, fresh = [], bool(inputs)
        poolings = [m for m in module.modules() if isinstance(m, (PairedMaxPool2d, PairedMaxPool3d))]
        for i, value in enumerate(inputs):
            forget(module)
            for pooling in poolings:
                pooling.__dict__.pop("places", None)
                if (id(pooling), i) in self.places:
                    pooling.__dict__["places"] = self.places[id(pooling), i]
            given = apply(value, torch.clone)
            memory = {tensor.untyped_storage().data_ptr() for _, tensor in leaves(given)}
            result = module(given)
            fresh = fresh and isinstance(result, torch.Tensor) and result.untyped_storage().data_ptr() not in memory
            results.append(result)
            for pooling in poolings:
                if "places" in pooling.__dict__:
                    self.places[id(pooling), i] = pooling.__dict__.pop("places")
        forget(module)
        return Result(tuple(results), fresh)

    def block(self, module: nn.Module, value: Sym) -> tuple[Made, Result]:
        """A class with a forward method of its own."""
        scope = Scope(is_block=True)
        entry = Sym(value.values, hint="x")
        given = nested(scope, entry)
        if isinstance(given, list):
            entry.hint = "inputs"
            for sym, name in zip(given, ("x", "h", "c"), strict=False):
                if isinstance(sym, Sym) and len(given) <= 3:
                    sym.hint = name
        result = self.lower(module, given, scope)
        results = tuple(at(result, i) for i in range(examples(result)))
        made = Made("", block=Block(scope, [entry], result, kind_of(module)))
        return made, Result(results, fresh=isinstance(result, Sym) and result.fresh)


def core(module: nn.Sequential) -> tuple[int, int]:
    """Where the run of layers begins and ends that has only operators before and behind it."""
    layers = [i for i, child in enumerate(module) if not (is_expression(child) or does_nothing(child))]
    return (layers[0], layers[-1] + 1) if layers else (0, 0)


def entries(values: list[Value], sources: list[list[int]], scope: Scope) -> Value:
    """What a node of a Graph gets."""
    found = []
    for number, *path in sources:
        value = values[number]
        for entry in path:
            if isinstance(value, Sym):
                parts = tuple(example[entry] for example in value.values)
                value = scope.op(f"{{0}}[{entry}]", [value], parts, fresh=False)
            else:
                value = value[entry]
        found.append(value)
    return found[0] if len(found) == 1 else found


def first_input(module: nn.Module, child: nn.Module, value: Any) -> Any:
    """What `module` gives `child` when it runs it first; None if it does not run it."""
    seen: list[Any] = []

    def keep(_: nn.Module, args: tuple[Any, ...]) -> None:
        seen.append(apply(args[0], torch.clone))

    handle = child.register_forward_pre_hook(keep)
    try:
        forget(module)
        module(apply(value, torch.clone))
    finally:
        handle.remove()
        forget(module)
    return seen[0] if seen else None


#: What the class is called that is made of the cell of a recurrent step.
_CELLS = {"LSTMStep": "LSTMCell", "GRUStep": "GRUCell"}


def concrete(value: Value) -> tuple[Any, ...]:
    """The examples of a symbolic value."""
    return tuple(at(value, i) for i in range(examples(value)))


def without_inplace(made: Made) -> Made:
    """The same call without `inplace`."""
    args = [Argument(a.name, False, a.required, a.default) if a.name == "inplace" else a for a in made.args]
    return Made(made.cls, args, made.kids, made.module, made.own, made.block)
