"""From a converted module to the statements of forward methods: what has a Python form is written, the rest called."""

from __future__ import annotations

import ast
from collections import Counter
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

import torch
from torch import nn

from ..base.tensor_trees import apply
from ..model.memory.overwritten import Overwritten
from ..model.recurrent_state import forget
from ..model.registry import form_of
from ..shapes.dry_run import on_meta, run_without_numbers
from .constructors import constructor_of
from .examples import Calls
from .expressions import Value, Variable, is_unknown, python, type_of
from .forms import as_python, is_chain, is_operator, loop_of, plain_of, result_type, structure_of
from .input_tree import members, tree_of
from .roles import is_expression, is_pair, is_pure, is_structured, is_unit, kind_of, role, signature, size_of
from .scopes import Block, Constructor, Scope, examples_of
from .statements.graphs import entries, newer_of, taken, users_of
from .statements.joins import filled, fillings
from .statements.loops import for_each, run_through, state_of
from .statements.sequences import over_sequence
from .statements.stock_calls import call_embedding, call_recurrent, call_sized
from .statements.unpoolings import Unpoolings
from .stock import first_input, stock_module

_OVERWRITTEN = "Torch7 runs one module twice: its second result overwrites the first"


class Lowering:
    """Lowers one model.

    Args:
        model: the module to lower.
        names: id of a converted module -> the name that it had in the Torch7 file.
        calls: what its layers gave on the examples.
        unpoolings: those of the model.
    """

    def __init__(
        self, model: nn.Module, names: dict[int, str], calls: Calls, unpoolings: Unpoolings | None = None
    ) -> None:
        self.unpoolings = unpoolings or Unpoolings(nn.Module(), [], [])
        self.names = names
        self.calls = calls
        self.units = Counter(signature(module) for module in model.modules() if is_unit(module))
        self.places: dict[tuple[int, int], Any] = {}

    def lower(self, module: Any, value: Value, scope: Scope, *, top: bool = False) -> Value:
        """Adds what `module` does with `value` to a forward method; returns the result."""
        if (pooled := self.unpoolings.lower(module, value, scope, self.run)) is not None:
            return pooled
        if (whole := over_sequence(module, value, scope, partial(self.loop, listed=True), self.layer)) is not None:
            return whole
        if is_chain(module) and (top or not self.is_pure(module)):
            return self.sequence(module, value, scope, top=top)
        flow = structure_of(module).flow
        if flow == "" and structure_of(plain := plain_of(module)).flow == "graph" and not is_unknown(value):
            return self.graph(plain, value, scope)
        if flow == "branches":
            return self.branches(module, value, scope)
        if flow == "joined" or self.is_concat(module, value):
            return self.concat(module, value, scope)
        if flow == "entries" and (isinstance(value, list) or is_unknown(value)):
            return [self.lower(child, taken(value, i, scope), scope) for i, child in enumerate(module)]
        if flow == "mapped" and isinstance(value, list):
            return [self.lower(module[i if i < len(module) else 0], v, scope) for i, v in enumerate(value)]
        if flow == "graph":
            return self.graph(module, value, scope)
        lowered = as_python(module, value, scope)
        lowered = self.loop(module, value, scope) if lowered is None else lowered
        return self.call(module, value, scope) if lowered is None else lowered

    def loop(self, module: nn.Module, value: Value, scope: Scope, *, listed: bool = False) -> Value | None:
        """What a module runs on each entry of a sequence, as a loop; None where it must be called.

        Args:
            module: runs another one.
            value: the sequence.
            scope: gets the loop.
            listed: make a list of the results, even where the sequence is one tensor.
        """
        form = loop_of(module)
        if form is None or is_unknown(value):
            return None
        module = plain_of(module)
        child = getattr(module, form.step)
        sequences = tuple(map(list, examples_of(value))) if listed else examples_of(value)
        made = self.run(module, sequences).values
        step = Variable(tuple(sequence[0] for sequence in sequences), hint="step")
        if form.states:
            if not is_chain(child) and structure_of(child).flow != "graph":
                return None
            sizes = {name: getattr(module, attribute) for name, attribute in form.states.items()}
            states = {state_of(name, step.values, size): size for name, size in sizes.items()}
            cell, _ = self.block(child, [step, *states], structure_of(module).cell)
            outputs: ast.expr = run_through(scope, value, step, states, scope.attribute(cell, "cell"), made)
        else:
            inner = Scope()
            found = for_each(scope, inner, step, self.lower(child, step, inner), value)
            if found is None:
                constructor, result = self.constructor(child, step)
                inner = Scope()
                found = for_each(scope, inner, step, inner.call(constructor, step, result, role(constructor)), value)
            if found is None:
                return None
            outputs = found
        stacked = all(isinstance(output, torch.Tensor) for output in made)
        return scope.unpack(python("torch.stack(x)", x=outputs) if stacked else outputs, made)

    def call(self, module: nn.Module, value: Value, scope: Scope, name: str = "") -> Value:
        """Adds a call of a module."""
        if (sized := call_sized(module, value, scope, self.run)) is not None:
            return sized
        if isinstance(value, Variable):
            lowered = call_embedding(module, value, scope) or call_recurrent(module, value, scope, self.run)
            if lowered is not None:
                return lowered
        if is_chain(module) and isinstance(value, Variable):
            layers = self.layers(module)
            operators = self.operators(layers, value, units=name != "shortcut")
            if any(operators):
                return self.runs(layers, operators, value, scope, name or self.names.get(id(module), ""))
        constructor, result = self.constructor(module, value)
        if name != "shortcut" and constructor.block is not None and is_expression(constructor.block):
            return self.inside(module, value, scope)
        name = name or self.names.get(id(module)) or role(constructor)
        if constructor.block is not None and (constructor.block.scope.needed or constructor.block.scope.left):
            return self.unpoolings.call(constructor, value, result, scope, name)
        called = scope.call(constructor, value, result, name)
        if id(module) in self.names:
            scope.given.add(next(reversed(scope.attrs)))
        return called

    def inside(self, module: Any, value: Value, scope: Scope) -> Value:
        """What a module does, in the method that would call it."""
        if is_chain(module):
            return self.sequence(module, value, scope, top=False)
        return self.lower(module, value, scope)

    def is_pure(self, chain: nn.Sequential) -> bool:
        """Does each member of a chain make one value of one value, and have no name of its own?"""
        named = any(id(child) in self.names for child in chain)
        return is_pure(chain) and not named and not self.unpoolings.inside(chain)

    def layers(self, chain: nn.Sequential) -> list[nn.Module]:
        """The layers of a chain, those of chains within it included, but for those that do nothing."""
        inside = [
            self.layers(child) if is_chain(child) and self.is_pure(child) and id(child) not in self.names else [child]
            for child in chain
        ]
        return [layer for layers in inside for layer in layers if not structure_of(layer).nothing]

    def operators(self, layers: list[nn.Module], value: Variable, *, units: bool) -> list[bool]:
        """Which layers of a chain read better as expressions: those that no module of torch.nn is equal to, too."""
        found = [is_operator(layer, value) for layer in layers]
        last = max((i for i, x in enumerate(layers) if form_of("python", x) or is_unit(x)), default=-1)
        for i, layer in enumerate(layers[: last + 1] if value.shapes else ()):
            result = self.run(layer, value.values)
            if form_of("python", layer) and stock_module(layer, value.values, result.values) is layer:
                found[i] = found[i] or as_python(layer, value, Scope()) is not None
            elif units and is_unit(layer) and not layer.state_dict():
                made, _ = self.constructor(layer, value)
                found[i] = found[i] or (made.block is not None and is_expression(made.block))
            value = result
        return found

    def runs(self, layers: list[nn.Module], operators: list[bool], value: Value, scope: Scope, name: str) -> Value:
        """Calls of the runs of layers between operators; the longest of them has the name."""
        runs = [[i for i, _ in run] for _, run in groupby(enumerate(operators), key=itemgetter(1))]
        longest = max((run for run in runs if not operators[run[0]]), key=len, default=[])
        for run in runs:
            if operators[run[0]]:
                for place in run:
                    value = self.lower(layers[place], value, scope)
            else:
                chain = nn.Sequential(*(layers[place] for place in run))
                value = self.call(chain, value, scope, name if run is longest else "")
        return value

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
            if i in blocks and isinstance(value, Variable) and self.gives_tensor(child, value):
                value = self.call(child, value, scope)
            elif i not in pairs:
                value = self.lower(child, value, scope)
            elif repeated and isinstance(value, Variable):
                value = self.call(nn.Sequential(child, children[i + 1]), value, scope)
                i += 1
            else:
                residual = structure_of(children[i + 1]).merges == "sum"
                value = self.branches(child, value, scope, residual=residual)
            i += 1
        return value

    def repeats(self, module: nn.Module) -> bool:
        """Is it a unit of which the model has several?"""
        return is_unit(module) and self.units[signature(module)] > 1

    def gives_tensor(self, module: nn.Module, value: Variable) -> bool:
        """Does the module make one tensor of one tensor?"""
        if is_unknown(value):
            return result_type(module) == "Tensor"
        inputs = examples_of(value) if value.shapes else ()
        try:  # without numbers that takes next to no time
            sizes_only = on_meta(module)
            results = tuple(run_without_numbers(sizes_only, example) for example in inputs)
        except Exception:
            results = self.run(module, inputs).values
        return bool(results) and all(isinstance(result, torch.Tensor) for result in results)

    def branches(self, module: Any, value: Value, scope: Scope, *, residual: bool = False) -> list[Value]:
        """The results of all children on the same value."""
        children = list(module)
        short = -1
        if residual and len(children) == 2 and scope.is_block:
            short = 0 if size_of(children[0]) < size_of(children[1]) else 1
        found = []
        for i, child in enumerate(children):
            if self.unpoolings.inside(child):
                found.append(self.lower(child, value, scope))
            elif i == short and isinstance(value, Variable):
                found.append(self.call(child, value, scope, "shortcut"))
            elif structure_of(child).nothing:
                found.append(value)
            elif isinstance(value, Variable) and is_chain(child):
                count = sum(not structure_of(c).nothing for c in children)
                numbered = count > 1 and not (residual and scope.is_block)
                found.append(self.call(child, value, scope, f"branch{i + 1}" if numbered else "branch"))
            else:
                found.append(self.lower(child, value, scope))
        return found

    def is_concat(self, module: Any, value: Value) -> bool:
        """Does it join results of one size, or fill them up by what is the same for all samples?"""
        if structure_of(module).flow != "padded" or not isinstance(value, Variable) or not value.shapes:
            return False
        results = [self.run(child, value.values).values for child in module]
        missing = [fillings(list(ys), module.dim) for ys in zip(*results, strict=True)]
        fixed = len({shape[1:] for shape in value.shapes}) == 1 and module.dim > 0
        return not any(map(any, missing[0])) if not fixed else all(found == missing[0] for found in missing)

    def concat(self, module: Any, value: Value, scope: Scope) -> Value:
        """The results of all children, joined; zeros surround those that are smaller."""
        parts = self.branches(module, value, scope)
        if structure_of(module).flow == "padded":
            parts = filled(parts, module.dim, scope)
        joined = tuple(torch.cat(given, module.dim) for given in examples_of(parts))
        return scope.assign(python("torch.cat(parts, dim)", parts=parts, dim=module.dim), joined)

    def graph(self, module: Any, value: Value, scope: Scope) -> Value:
        """The nodes of an nngraph, in their order; branches and what joins their results are one block."""
        values: list[Value] = [value]
        skipped: dict[int, int] = {}
        users = users_of(module)
        for number, (index, sources) in enumerate(module.nodes, 1):
            given = entries(values, sources, scope)
            follower = self.follower(module, number, users[number])
            if number in skipped:
                values.append(values[skipped[number]])
            elif follower is not None and isinstance(given, Variable):
                pair = nn.Sequential(module[index], module[module.nodes[follower - 1][0]])
                values.append(self.call(pair, given, scope))
                skipped[follower] = number
            else:
                part = None if index == -1 else module.get_submodule(str(index))
                if isinstance(part, Overwritten) and (newer := newer_of(part, given)) is not None:
                    values.append(scope.overwrite(given[0], newer, _OVERWRITTEN))
                else:
                    values.append(given if part is None else self.node(part, given, scope))
        return entries(values, module.outputs, scope)

    def node(self, module: nn.Module, value: Value, scope: Scope) -> Value:
        """What the module of a node gives, which has the name of the node."""
        block = self.repeats(module) and isinstance(value, Variable) and self.gives_tensor(module, value)
        lowered = self.call(module, value, scope) if block else self.lower(module, value, scope)
        name = self.names.get(id(module))
        if name and isinstance(lowered, Variable) and lowered is not value and not lowered.hint:
            lowered.hint = name
        return lowered

    def follower(self, module: Any, number: int, users: list[int]) -> int | None:
        """The node that alone takes all results of the branches of a node, and joins them."""
        index, taken = module.nodes[number - 1][0], len(users) == 1 and users[0] <= len(module.nodes)
        user, sources = module.nodes[users[0] - 1] if taken else (-1, [])
        children = isinstance(index, int) and isinstance(user, int) and min(index, user) >= 0
        joined = children and sources == [[number]] and is_pair(module[index], module[user])
        return users[0] if joined else None

    def constructor(self, module: Any, value: Value) -> tuple[Constructor, Variable]:
        """The constructor call of a module that is called with `value`, and its results."""
        inputs = examples_of(value)
        if is_chain(module) and self.is_pure(module):
            kids: list[Constructor] = []
            result = Variable(inputs, type_=type_of(value))
            for child in module:
                if structure_of(child).nothing:
                    continue
                kid, result = self.constructor(child, Variable(result.values, type_=result.type))
                kids.append(kid)
            kids = [kid for kid in kids if not kid.is_identity] or [Constructor("nn.Identity")]
            kept = kids[0] if len(kids) == 1 else Constructor("nn.Sequential", kids=kids)
            return kept, Variable(result.values, type_=result.type)
        structured = is_chain(module) or structure_of(module).flow in ("branches", "joined", "graph")
        known = isinstance(value, Variable) and (value.values or is_unknown(value))
        if (structured or self.is_concat(module, value)) and known:
            return self.block(module, value)
        module = plain_of(module)
        result = self.run(module, inputs)
        result.type = result_type(module)
        stock = stock_module(module, inputs, result.values)
        constructor = constructor_of(stock)
        if stock is module:
            self.fill(constructor, module, inputs)
        return constructor, result

    def layer(self, layer: nn.Module, value: Value) -> Constructor:
        """The constructor call of a layer that runs through a sequence, whose cell is lowered."""
        found = constructor_of(layer)
        form = form_of("without memory", layer)
        self.fill(found, form(layer) if form else layer, examples_of(value))
        return found

    def fill(self, constructor: Constructor, module: Any, inputs: tuple[Any, ...]) -> None:
        """Lowers the modules that a leaf was constructed with, on what it gives them first."""
        if structure_of(module).flow == "padded":
            constructor.args[0].value = [self.constructor(child, Variable(inputs))[0] for child in module]
            return
        for arg in constructor.args:
            child = getattr(module, arg.name, None)
            if not isinstance(arg.value, Constructor) or not isinstance(child, nn.Module) or not is_structured(child):
                continue
            seen = [first_input(module, child, value) for value in inputs]
            if any(value is None for value in seen):
                continue
            table = members(tree_of(child))
            unknown = Variable(type_=type_of(table), members=table)
            inner, _ = self.constructor(child, Variable(tuple(seen)) if seen else unknown)
            if inner.block is not None:
                inner.block.kind = structure_of(module).cell
            arg.value = constructor.inner[arg.name] = inner

    def run(self, module: nn.Module, inputs: tuple[Any, ...]) -> Variable:
        """What a module gives for each example; the examples stay as they are."""
        results = []
        parts = list(module.modules())
        for i, value in enumerate(inputs):
            if (known := self.calls.take(module, i, value)) is not None:
                results.append(known)
                continue
            forget(module)
            for part in parts:  # a pooling keeps the places of its maxima for an unpooling
                part.__dict__.pop("places", None)
                if (id(part), i) in self.places:
                    part.__dict__["places"] = self.places[id(part), i]
            results.append(module(apply(value, torch.clone)))
            for part in parts:
                if "places" in part.__dict__:
                    self.places[id(part), i] = part.__dict__.pop("places")
        forget(module)
        return Variable(tuple(results))

    def block(self, module: nn.Module, value: Value, kind: str = "") -> tuple[Constructor, Variable]:
        """A class with a forward method of its own; of a list it takes the members one by one."""
        scope = Scope(is_block=True, is_step=isinstance(value, list))
        if isinstance(value, list):
            given: Value = [Variable(m.values, m.hint.replace("step", "x"), given=m.given) for m in value]
            parameters = list(given)
        else:
            parameters = [Variable(value.values, hint="x", type_=value.type, given=value.given)]
            given = scope.unpack(parameters[0], parameters[0].values, value)
        if isinstance(given, list) and not scope.is_step:
            parameters[0].hint = "inputs"
            for member, name in zip(given, ("x", "h", "c"), strict=False):
                if isinstance(member, Variable) and len(given) <= 3:
                    member.hint = name
        result = self.lower(module, given, scope)
        scope.left = self.unpoolings.left(module, scope)
        parameters += [value for pooling in scope.needed for value in scope.indices[pooling]]
        left = [value for pooling in scope.left for value in scope.indices[pooling]]
        scope.is_step |= bool(left)
        body = Block(scope, parameters, [result, *left] if left else result, kind or kind_of(module))
        constructor = Constructor("", block=body)
        return constructor, Variable(examples_of(result), type_=type_of(result), members=result)
