"""What the process of the Lua finds out about a layer: the inputs it takes, its graphs, and examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import torch

from ....model.convert import to_torch
from ....t7 import LuaObject, LuaTable
from ...runtime import LuaStopped
from ...tensors.handles import LuaFault
from ..children import flat
from ..graph import INPUT, Node, ordered, written
from ..run import to_lua
from ..session import FRESH, Session, of_results, tensor_kind
from ..verify import differs
from .probing import LEAST, NORMAL, Pattern, Shape, chosen_sizes, example, numbers_in, patterns, recorded_sizes
from .tracing import CantTrace, LuaEnded, Tracer

_DTYPES = {"Float": torch.float32, "Double": torch.float64}

#: As many operations take as long as it takes to make the object of a layer.
_OF_AN_OBJECT = 10

#: So many operations run at sizes that the Lua names, for all kinds of inputs together.
_MOST_AT_EDGES = 30_000

#: Larger inputs are not tried.
_MOST_ELEMENTS = 1 << 20

#: Other numbers at other sizes: those that are traced are not among them.
_CHECKS = ("", "ties", "zeros", "large", "positive", "")


def explore(session: Session, layer: LuaObject, task: LuaTable) -> tuple[dict[str, Any], LuaTable]:
    """Finds inputs, records the layer on each kind of them at several sizes, and runs it on examples at others.

    Args:
        session: the Lua with the author's files.
        layer: the layer of the file.
        task: `backward`: its backward pass is recorded as well.

    Returns:
        The kinds of inputs, each with its graphs or the reason why there are none; and the examples.
    """
    session.runtime.engine.orders = 1
    explorer = _Explorer(session, layer, bool(task.get("backward")))
    said: list[dict[str, Any]] = []
    examples: list[LuaTable] = []
    made = session.object(layer)
    criterion = session.is_criterion(made)
    found_kinds: list[Pattern] = []
    for strict in (True, False):  # what a CPU takes; else what only a GPU does
        explorer.be_strict(strict)
        if not found_kinds and (criterion or not explorer.last_run_unwritten()):
            found_kinds = patterns(layer, explorer.runs, explorer.work, criterion)
    while explorer.found_changed():  # a module is recorded alike for all kinds of inputs
        said = [explorer.graphs(pattern) for pattern in found_kinds]
    for number, (pattern, one) in enumerate(zip(found_kinds, said, strict=True)):
        if "graphs" in one:
            for found in explorer.examples(pattern, one["sizes_traced"], _MOST_AT_EDGES // len(found_kinds)):
                found["pattern"] = float(number)
                examples.append(found)
    names = explorer.parameter_paths()
    about = {"backward": session.has_backward(made), "parameters": names, "criterion": criterion}
    about["ended"], about["unsure"] = explorer.error, session.children.unsure or explorer.unordered
    about["unwritten"] = explorer.unwritten and f"{explorer.unwritten} depends on memory that nothing was written to"
    return {"patterns": said, **about}, LuaTable.from_list(examples)


class _Explorer:
    """Runs one layer.

    Attributes:
        error: with which error it ended on the first input on which it did; "" if on none.
        unordered: on which order that Torch7 leaves open what it gives depends; "" if on none.
        unwritten: what gave, on an input, what was in memory that nothing was written to; "" if nothing did.
    """

    def __init__(self, session: Session, layer: LuaObject, backward: bool) -> None:
        self._session = session
        self._backward = backward
        self._layer = layer
        self._tracer = Tracer(session, layer)
        self._dtype = _DTYPES[tensor_kind(layer)]
        self._known: dict[Any, bool] = {}
        self.error = ""
        self._objects = 0
        self._changed = -1
        self.unwritten = self.unordered = ""
        named = [*session.numbers(), *numbers_in(layer)[:6]]
        self._limits = sorted({extent for number in named for extent in (number, number + 1)} - {0, 1} | {67, 260})[
            -16:
        ]

    def _made(self, training: bool = False) -> Any:
        self._objects += 1
        made = self._tracer.object()
        self._session.set_mode(made, training)
        return made

    def be_strict(self, strict: bool) -> None:
        """Says whether masks and indices must be of their types."""
        self._session.runtime.engine.strict = strict
        if not strict:
            self._known = {key: found for key, found in self._known.items() if found}

    def runs(self, shapes: list[Shape], holds: Sequence[str]) -> bool:
        """Does the Lua run on tensors of these sizes, and give tensors?"""
        key = (tuple(shapes), tuple(holds))
        if key not in self._known:
            nested = holds[:1] == ["list"]
            pattern = Pattern(nested, [list(shape) for shape in shapes], list(holds[nested:]))
            given = example(pattern, {}, self._dtype, 1)
            try:
                self._known[key] = self._gives(given)
            except (LuaStopped, LuaFault) as error:
                self.error = self.error or str(error)
                self._known[key] = False
        return self._known[key]

    def work(self) -> int:
        """How many operations of Lua ran so far; making an object counts as some."""
        return self._session.runtime.operations + _OF_AN_OBJECT * self._objects

    def _gives(self, given: Any) -> bool:
        """Does it give tensors, or a number, and the same whatever is in memory that nothing was written to?

        Where its backward pass is recorded, that must run as well.
        """
        first = self._given(given, FRESH)
        if first is None or self._takes_a_list(given):
            return False
        if _differ(first, self._given(given, -FRESH)):
            self.unwritten = "what it gives"
            return False
        kind, gradient = self._gradient(given, FRESH)
        if kind and _differ(gradient, self._gradient(given, -FRESH)[1]):
            self.unwritten = self.unwritten or "its backward pass"
            return False
        if self._session.runtime.engine.asked:
            other = _differ(first, self._given(given, FRESH, -1))
            if other or (kind and _differ(gradient, self._gradient(given, FRESH, -1)[1])):
                self.unordered = "what it gives depends on an order that Torch7 leaves open, topk's without sorting"
                return False
        return not self._backward or bool(kind)

    def last_run_unwritten(self) -> bool:
        """Does it give such memory on the sizes of its last run? Then no other sizes are looked for."""
        known = recorded_sizes(self._layer)
        if known is not None:
            self.runs(known[1], ["list"] * known[0] + [NORMAL] * len(known[1]))
        return bool(self.unwritten)

    def _given(self, given: Any, fresh: float, orders: int = 1) -> Any:
        """Its output, where memory that nothing was written to holds a number; None: no tensor, and no number."""
        session = self._session
        engine = session.runtime.engine
        engine.fresh, engine.orders = fresh, orders
        try:
            output = session.output(self._made(), session.value(to_lua(given)))
        finally:
            engine.fresh, engine.orders = FRESH, 1
        found = to_torch(of_results(session, output))
        kind = session.host.kind(output)
        return found if (kind[0] if isinstance(kind, tuple) else kind) in ("tensor", "table", "number") else None

    def _takes_a_list(self, given: Any) -> bool:
        """Are several inputs meant, though it took the rows of one for them?

        Its gradients tell that or, where there are none, that it gives the same for a list of the rows.
        """
        if len(given) != 2 if self._session.is_criterion(self._made()) else isinstance(given, list):
            return False
        kind, _ = self._gradient(given, FRESH)
        return kind == "table" or (not kind and isinstance(given, torch.Tensor) and self._takes_rows(given))

    def _gradient(self, given: Any, fresh: float, orders: int = 1) -> tuple[str, Any]:
        """What its backward pass gives, "tensor" or "table", and the tensors; "" if it is no such, or ends in an error.

        Args:
            given: the input.
            fresh: the number in memory that nothing was written to.
            orders: in which order what has none is given.
        """
        session, made = self._session, self._made()
        if not session.has_backward(made):
            return "", None
        engine = session.runtime.engine
        engine.fresh, engine.orders = fresh, orders
        try:
            lua = session.value(to_lua(given))
            output = session.output(made, lua)
            grad = session.value(_like(of_results(session, output), torch.Generator().manual_seed(1)))
            made = session.backward(made, lua, grad)
            found = to_torch(of_results(session, made))
        except (LuaStopped, LuaFault):
            return "", None
        finally:
            engine.fresh, engine.orders = FRESH, 1
        kind = session.host.kind(made)
        of_tensors = all(isinstance(part, torch.Tensor) for part in flat(found))
        return (str(kind[0]) if isinstance(kind, tuple) else str(kind)) if of_tensors else "", found

    def _takes_rows(self, given: torch.Tensor) -> bool:
        """Does it give the same for a list of the rows of a tensor?"""
        if given.dim() < 2 or len(given) < 2:
            return False
        try:
            listed = self._given(list(given.unbind(0)), FRESH)
        except (LuaStopped, LuaFault):
            return False
        return listed is not None and not _differ(listed, self._given(given, FRESH))

    def found_changed(self) -> bool:
        """Was another module found, since the last call, whose fields the layer changes? True at first."""
        before, self._changed = self._changed, len(self._tracer.changed)
        return self._changed > before

    def graphs(self, pattern: Pattern) -> dict[str, Any]:
        """The graphs of a kind of input at several sizes, in evaluation and in training."""
        said: dict[str, Any] = {"pattern": pattern.to_json()}
        sizes = chosen_sizes(pattern, self.runs, LEAST if pattern.values else 1, 3)
        said["sizes_traced"] = sizes
        if len(sizes) < (LEAST if pattern.values else 1):
            return {**said, "refused": "too few sizes of its input are known to compare what it does at them"}
        for name, training in (("graphs", False), ("training", True)):
            try:
                said[name] = [
                    self._one(pattern, chosen, sizes[index - 1], training) for index, chosen in enumerate(sizes)
                ]
            except CantTrace as error:
                said["refused" if not training else "training_refused"] = str(error)
                if not training:
                    return said
        return said

    def _one(self, pattern: Pattern, chosen: dict[str, int], other: dict[str, int], training: bool) -> dict[str, Any]:
        """The graph at one size; it must not depend on what the layer was run on before."""
        runs = [example(pattern, size, self._dtype, 11 + n) for n, size in enumerate((chosen, chosen, other, chosen))]
        try:
            found = self._tracer.trace(runs, training, self._backward)
        except LuaEnded:
            # it does not take another size after the first, whose buffers it keeps: such a run changes nothing
            found = self._tracer.trace(runs[:2], training, self._backward)
        said = {
            "runs": [written(_as_first_run(run[0], number)) for number, run in enumerate(found) if number != 2],
            "sizes": [list(shape) for shape in pattern.shapes(chosen)],
            **found[0][1],
        }
        if self._backward:
            said["backward"] = [
                written(_as_first_run(run[2], number)) for number, run in enumerate(found) if number != 2
            ]
        return said

    def examples(self, pattern: Pattern, traced: list[dict[str, int]], at_edges: int) -> list[LuaTable]:
        """What the Lua gives on numbers and sizes that were not traced, forward and backward.

        Args:
            pattern: the kind of input.
            traced: the sizes that were traced.
            at_edges: so many operations run at sizes that the Lua names.
        """
        chosen = [size for size in chosen_sizes(pattern, self.runs, 4 * len(_CHECKS), 17) if size not in traced]
        chosen = (chosen or traced)[: len(_CHECKS)]
        cases = [(chosen[number % len(chosen)], how) for number, how in enumerate(_CHECKS)]
        # sizes of 1 are what Lua drops or expands
        ones = [name for name in pattern.values if self._takes(pattern, {**chosen[0], name: 1})]
        cases += [({**chosen[0], name: 1}, "") for name in ones]
        found = [self._example(pattern, size, how, 100 + number) for number, (size, how) in enumerate(cases)]
        # a branch over a size lies where numbers of the fields, or of the Lua, say
        least = {name: min(values) for name, values in pattern.values.items()}
        most = self.work() + at_edges
        for extent, name in product(self._limits, pattern.values):
            one = {**least, name: extent}
            if self.work() < most and self._takes(pattern, one):
                found.append(self._example(pattern, one, "", 100 + len(found)))
        for name, one_more in zip(ones, found[len(_CHECKS) :], strict=False):
            one_more["one"] = name
        for one_more in found[len(_CHECKS) :]:  # sizes at which a size is 1 or one that the Lua names
            one_more["edge"] = True
        return found

    def _takes(self, pattern: Pattern, size: dict[str, int]) -> bool:
        shapes = pattern.shapes(size)
        if sum(map(math.prod, shapes)) > _MOST_ELEMENTS:
            return False
        return self.runs(shapes, ["list", *pattern.holds] if pattern.nested else pattern.holds)

    def _example(self, pattern: Pattern, size: dict[str, int], how: str, seed: int) -> LuaTable:
        session = self._session
        given = to_lua(example(pattern, size, self._dtype, seed, how))
        try:
            output = of_results(session, session.output(self._made(), session.value(given)))
        except (LuaStopped, LuaFault) as error:
            return LuaTable([("input", given), ("failed", str(error))])
        made = LuaTable([("input", given), ("output", output), ("how", how)])
        if not session.has_backward(self._made()):
            return made
        grad = _like(output, torch.Generator().manual_seed(seed + 1))
        try:
            passes = session.passes(self._made(), session.value(given), session.value(grad))
        except (LuaStopped, LuaFault) as error:
            made["backward_failed"] = str(error)
            return made
        if passes.grad_input is None:
            made["backward_failed"] = "it gives no gradient of its input"
            return made
        made["gradOutput"] = grad
        made["gradInput"] = of_results(session, passes.grad_input)
        made["gradParameters"] = LuaTable.from_list(
            [of_results(session, session.host.wrap(handle)) for handle in passes.gradients]
        )
        return made

    def parameter_paths(self) -> list[list[Any]]:
        """Where in the object the parameters are that `parameters()` lists, in its order."""
        made = self._made()
        places = self._tracer.tensor_paths(made)
        listed, _ = self._session.parameters(made)
        return [list(places.get(id(handle), ())) for handle in listed]


def _like(output: Any, generator: torch.Generator) -> Any:
    """Random numbers of the sizes and types of an output."""

    def one(value: Any) -> Any:
        if isinstance(value, float):  # of a criterion
            return torch.ones(1)
        if isinstance(value, torch.Tensor):
            return torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.dtype)
        return [one(part) for part in value]

    return to_lua(one(to_torch(output)))


def _differ(one: Any, other: Any) -> bool:
    """Are two outputs others, by more than rounding? None, of a run that gave none, is another than all."""
    if one is None or other is None:
        return one is not other
    if isinstance(one, float) and isinstance(other, float):
        return one != other and not (one != one and other != other)
    return bool(differs(one, other))


def _as_first_run(output: Any, number: int) -> Any:
    """The graph of a later run under the names of the first; what comes from another run keeps its number."""
    made: dict[int, Node] = {}

    def one(value: Any) -> Any:
        if isinstance(value, Node):
            return made[id(value)]
        return [one(part) for part in value] if isinstance(value, (list, tuple)) else value

    for node in ordered(output):
        args = node.args
        if node.op == INPUT:
            place, run = args
            args = (place, 0) if run == number else (place, f"run {run}")
        made[id(node)] = Node(
            node.op, tuple(one(list(args))), {k: one(v) for k, v in node.kwargs.items()}, node.shape, node.dtype
        )
    return one(output)
