"""Records the modules of nn that a layer runs: those in its fields as such, others by what they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import numpy as np
import torch

from ....base.errors import TorchMigrateError
from ....model.convert import convert_model, to_torch
from ....t7 import LuaObject, LuaTable, Storage, Tensor, Value
from ...result import CantLeave, Results
from ...tensors.handles import LuaFault, NumberHandle, TensorHandle, is_table
from ..children import flat, handles, leaves, rebuilt
from ..fields import fields_of
from ..graph import CHILD, GRADIENT, ITEM, VARIABLE, Node
from ..session import Session
from .memory import Memory, View
from .recording import Recorder

#: Whole numbers up to here are exact in single precision.
_EXACT = 1 << 24
#: What a module gave, which the next run of it does not read.
_GIVEN = ("output", "gradInput")


class RecordedModules:
    """What the modules of nn give that a layer runs while it is recorded.

    Args:
        session: the Lua with the author's files.
        recorder: what records.
        places: identity of a module -> where it is in the object.
        modules: identity of a module -> it, as it is before the layer runs.
        changed: where modules are whose fields the layer changes; those that are found are added.
        tensors_of: gives the tensors of an object of Lua.
        training: is the layer in training?
        inlined: are modules in its fields recorded by what they compute, too?
    """

    def __init__(
        self,
        session: Session,
        recorder: Recorder,
        places: dict[float, tuple[Any, ...]],
        modules: dict[float, Any],
        changed: set[tuple[Any, ...]],
        tensors_of: Callable[[Any], list[TensorHandle]],
        training: bool,
        inlined: bool,
    ) -> None:
        self._session = session
        self._recorder = recorder
        self._places = places
        self._changed = changed
        self._before = {identity: self._fields_of(module) for identity, module in modules.items()}
        self._tensors_of = tensors_of
        self._training = training
        self._all_inlined = inlined
        self._gradients_taken = 0

    def __call__(
        self, how: str, child: Any, inherited: str | None, given: Any, grad: Any = None, scale: Any = 1.0
    ) -> Any:
        if how in ("gradient", "loss gradient"):
            return self._gradient(how, child, inherited, given, grad)
        if how == "accumulate":
            self._accumulated(child, inherited, given, grad, scale)
            return None
        if how == "output" and inherited is None and not self._all_inlined and self._is_as_before(child):
            return self._as_module(child, given)
        return self._inlined(how, child, inherited, given)

    def _is_as_before(self, child: Any) -> bool:
        """Is it a field of the layer whose tensors and fields nothing was written to, in the mode of the layer?"""
        identity = self._session.host.identity(child)
        place = self._places.get(identity)
        if place is None or place in self._changed:
            return False
        before = self._before[identity]
        if before is None or self._fields_of(child) != before:
            self._changed.add(place)
            return False
        if child["train"] is not None and bool(child["train"]) != self._training:
            return False
        given = [part for name in _GIVEN for part in self._session.children.tensors_in(child[name])]  # written anew
        with torch._C.DisableTorchFunction():
            held = [handle.value for handle in self._tensors_of(child) if not any(handle is part for part in given)]
            views = [self._recorder.view(value) for value in held]
        return all(view is not None and not view.memory.written for view in views)

    def _fields_of(self, module: Any) -> Any:
        """What is in a module, with its numbers left out; None if it can't be said."""
        try:
            with torch._C.DisableTorchFunction():
                return fields_of(self._session.children.value(Results(self._session.runtime), module))
        except (CantLeave, LuaFault):
            return None

    def _as_module(self, child: Any, given: Any) -> Any:
        """A node that runs the module as it is."""
        recorder = self._recorder
        path = self._places[self._session.host.identity(child)]
        nodes = _given(given, recorder)
        with torch._C.DisableTorchFunction():
            conv = self._session.children.converted(child)
            writes = [record for record in conv.layers if record.traits.output == "write"]
            if writes:
                raise recorder.refuse(f"it runs {writes[0].typename}, which works in its input's memory")
            conv.module.train(bool(child["train"]))
            x = leaves(given, False)
            with torch.no_grad():
                made = conv.module(x)
            passes = any(record.traits.output in ("pass", "copy") for record in conv.layers) or _shared(made, x)
            output = handles(made)
        node = Node(CHILD, (list(path), nodes))
        kept = "it writes into what a module gave that passes its input on" if passes else ""
        self._mark(output, node, kept)
        return output

    def _mark(self, output: Any, node: Node, kept: str) -> None:
        if isinstance(output, TensorHandle):
            value = output.value
            node.shape, node.dtype = tuple(value.shape), str(value.dtype).removeprefix("torch.")
            self._recorder._mark(value, View(Memory(node, kept)))
            return
        for place, part in enumerate(output):
            self._mark(part, Node(ITEM, (node, place)), kept)

    # ------------------------------------------------------------------ by what it computes

    def _inlined(self, how: str, child: Any, inherited: str | None, given: Any) -> Any:
        with torch._C.DisableTorchFunction():
            module, sources = self._with_sources(child, inherited)
        x = _values(given)
        output = self._run(how, child, module, {name: source({}) for name, source in sources.items()}, x)
        return self._recorder.number(output) if how == "loss" else self._handles(output, list(_flat(x)))

    def _run(self, how: str, child: Any, module: torch.nn.Module, replaced: dict[str, torch.Tensor], x: Any) -> Any:
        """The module with other tensors."""
        module.train(bool(child["train"]))
        try:
            with torch.no_grad():
                output = torch.func.functional_call(module, replaced, tuple(x) if how.startswith("loss") else (x,))
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, NotImplementedError) as error:
            raise self._recorder.refuse(f"a module that it runs can't be recorded: {_first_line(error)}") from None
        return output

    # ------------------------------------------------------------------ backward

    def _gradient(self, how: str, child: Any, inherited: str | None, given: Any, grad: Any) -> Any:
        """The gradient of the input, as a node that has what the module computes of variables."""
        with torch._C.DisableTorchFunction():
            module, sources = self._with_sources(child, inherited)
        x = _values(given)
        wanted = x[0] if how == "loss gradient" else x
        tensors = list(_flat(wanted))
        variables = [self._variable(tensor) for tensor in tensors]
        put = rebuilt(wanted, iter(variables))
        replaced = {name: source({}) for name, source in sources.items()}
        output = self._run(how, child, module, replaced, [put, x[1]] if how == "loss gradient" else put)
        with torch._C.DisableTorchFunction():
            made = self._session.children.run(how, child, inherited, given, grad)
        parts = made if isinstance(made, list) else [made]
        self._mark_gradients([part.value for part in parts], output, variables, tensors, grad)
        return made

    def _accumulated(self, child: Any, inherited: str | None, given: Any, grad: Any, scale: Any) -> None:
        """Adds up the gradients of the parameters."""
        children = self._session.children
        with torch._C.DisableTorchFunction():
            module, sources = self._with_sources(child, inherited)
            pairs = children.with_gradients(child, inherited)
        if not pairs:
            return
        tensors = [parameter.value for parameter, _ in pairs]
        variables = [self._variable(tensor) for tensor in tensors]
        put = {id(parameter): variable for (parameter, _), variable in zip(pairs, variables, strict=True)}
        x = _values(given)
        output = self._run("output", child, module, {name: source(put) for name, source in sources.items()}, x)
        with torch._C.DisableTorchFunction():
            before = [into.value.clone() for _, into in pairs]
            for _, into in pairs:
                into.value.zero_()
            children.run("accumulate", child, inherited, given, grad, 1.0)
            made = [into.value.clone() for _, into in pairs]
            for (_, into), value in zip(pairs, before, strict=True):
                into.value.copy_(value)
        self._mark_gradients(made, output, variables, tensors, grad)
        for (_, into), value in zip(pairs, made, strict=True):
            into.value.add_(value * scale if scale != 1 else value)

    def _variable(self, tensor: torch.Tensor) -> torch.Tensor:
        with torch._C.DisableTorchFunction():
            made = tensor.detach().clone()
        self._gradients_taken += 1
        self._recorder.source(made, VARIABLE, self._gradients_taken)
        return made

    def _mark_gradients(
        self,
        made: list[torch.Tensor],
        output: Any,
        variables: list[torch.Tensor],
        tensors: list[torch.Tensor],
        grad: Any,
    ) -> None:
        recorder = self._recorder
        outputs = [recorder.node(part) for part in _flat(list(output) if isinstance(output, tuple) else output)]
        grads = [] if grad is None else [recorder.node(part) for part in _flat(_values(grad))]
        of, at = [recorder.node(part) for part in variables], [recorder.node(part) for part in tensors]
        whole = Node(GRADIENT, (outputs, of, at, grads))
        for place, value in enumerate(made):
            with torch._C.DisableTorchFunction():
                shape, dtype = tuple(value.shape), str(value.dtype).removeprefix("torch.")
            recorder._mark(value, View(Memory(Node(ITEM, (whole, place), None, shape, dtype))))

    # ------------------------------------------------------------------ its tensors

    def _handles(self, output: Any, given: list[torch.Tensor]) -> Any:
        """What a module gave as Lua's; what is its input is not written to."""
        if isinstance(output, (list, tuple)):
            return [self._handles(part, given) for part in output]
        kinds = {torch.float32: "Float", torch.float64: "Double", torch.int64: "Long"}
        if not isinstance(output, torch.Tensor) or output.dtype not in kinds:
            raise self._recorder.refuse("a module that it runs gives no tensor of a known type")
        node = self._recorder.node(output)
        with torch._C.DisableTorchFunction():
            memories = {tensor.untyped_storage()._cdata for tensor in given}
            shares = output.untyped_storage()._cdata in memories
            made = output.detach().clone() if shares else output
        if shares:
            kept = "it writes into what a module gave that passes its input on"
            self._recorder._mark(made, View(Memory(node, kept)))
        return TensorHandle(made, kinds[output.dtype])

    def _with_sources(self, child: Any, inherited: str | None) -> tuple[torch.nn.Module, dict[str, _Source]]:
        """The module, and for its parameters and buffers what gives them from the tensors of Lua."""
        children, host = self._session.children, self._session.host
        results = Results(self._session.runtime)
        try:
            value = children.value(results, child, inherited)
            held = [(handle, results.value(host.wrap(handle))) for handle in self._tensors_of(child)]
            marks = _Marks()
            marked = marks.copied(value)
            plain, module = convert_model(value).module, convert_model(marked).module
        except (CantLeave, TorchMigrateError) as error:
            raise self._recorder.refuse(f"a module that it runs is not converted: {_first_line(error)}") from None
        numbers = [(handle, to_torch(marks.copied(tensor))) for handle, tensor in held if handle.value.numel()]
        constant = dict([*plain.named_parameters(), *plain.named_buffers()])
        found: dict[str, _Source] = {}
        for name, wanted in [*module.named_parameters(), *module.named_buffers()]:
            source = next((s for handle, given in numbers if (s := _source(wanted.detach(), given, handle))), None)
            if source is not None:
                found[name] = source
            elif not torch.equal(wanted, constant[name]):
                raise self._recorder.refuse(f"the {name} of a module that it runs is not one of its tensors")
        return plain, found


class _Marks:
    """Copies values, with numbers in their tensors of which no two are alike."""

    def __init__(self) -> None:
        self._seen: dict[int, Value] = {}
        self._alive: list[Value] = []
        self._next = 1

    def copied(self, value: Value) -> Any:
        """The copy; the same for the same value."""
        if not isinstance(value, (LuaObject, LuaTable, Tensor, Storage)):
            return value
        if id(value) not in self._seen:
            self._alive.append(value)
            self._compound(value)
        return self._seen[id(value)]

    def _compound(self, value: Any) -> None:
        made: Value
        if isinstance(value, Storage):
            data = value.data
            if data.dtype.kind == "f":
                first, self._next = self._next, self._next + len(data)
                if self._next > _EXACT:
                    raise LuaFault("a module that it runs has too many numbers")
                data = np.arange(first, self._next).astype(data.dtype)
            self._seen[id(value)] = Storage(value.typename, data)
        elif isinstance(value, Tensor):
            storage = self.copied(value.storage)
            self._seen[id(value)] = Tensor(value.type, value.size, value.stride, value.offset, storage)
        else:
            table = LuaTable()
            made = LuaObject(value.typename, table) if isinstance(value, LuaObject) else table
            self._seen[id(value)] = made
            for key, held in value.items():
                table[self.copied(key)] = self.copied(held)


def _source(wanted: torch.Tensor, given: torch.Tensor, handle: TensorHandle) -> _Source | None:
    """What gives a parameter from a tensor of Lua: as it is, or with its dimensions in another order."""
    if wanted.numel() != given.numel() or not given.is_floating_point():
        return None
    orders = permutations(range(given.dim())) if given.dim() <= 4 else [tuple(range(given.dim()))]
    for order in orders:
        if torch.equal(given.permute(order).reshape(-1), wanted.reshape(-1).to(given.dtype)):
            return _Source(handle, order, tuple(wanted.shape))
    return None


class _Source:
    def __init__(self, handle: TensorHandle, order: tuple[int, ...], shape: tuple[int, ...]) -> None:
        self._handle = handle
        self._order = order
        self._shape = shape

    def __call__(self, other: dict[int, torch.Tensor]) -> torch.Tensor:
        """The parameter; `other` has tensors to take in place of those of Lua, by the identity of their handles."""
        value = other.get(id(self._handle), self._handle.value)
        if self._order != tuple(range(value.dim())):
            value = value.permute(list(self._order))
        return value if tuple(value.shape) == self._shape else value.reshape(self._shape)


def _given(value: Any, recorder: Recorder) -> Any:
    if isinstance(value, TensorHandle):
        return recorder.node(value.value)
    if is_table(value):
        return [_given(value[index], recorder) for index in range(1, len(value) + 1)]
    raise LuaFault("the input of a module is neither a tensor nor a table of tensors")


def _values(value: Any) -> Any:
    """The tensors of Lua as they are, in lists as they are in tables."""
    if isinstance(value, (TensorHandle, NumberHandle)):
        return value.value
    if is_table(value):
        return [_values(value[index]) for index in range(1, len(value) + 1)]
    raise LuaFault("the input of a module is neither a tensor nor a table of tensors")


def _flat(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, list):
        for part in value:
            yield from _flat(part)
    else:
        yield value


def _shared(made: Any, given: Any) -> bool:
    """Is the memory of what a module gave its input's (such as an empty container's), or that of two parts one?"""
    memories = [tensor.untyped_storage()._cdata for tensor in [*flat(made), *flat(given)] if tensor.numel()]
    return len(set(memories)) < len(memories)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[-1]
