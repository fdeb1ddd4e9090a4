"""Records the passes of an author's layer as graphs of its input and of the object's tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import torch

from ....t7 import LuaObject
from ...runtime import LuaStopped
from ...tensors.handles import VALUES, LuaFault, NumberHandle, TensorHandle
from ..children import flat, rebuilt
from ..graph import FIELD, INPUT, Node
from ..session import Session
from .modules import RecordedModules
from .recording import Recorder
from .recording_engine import RecordingEngine

#: What Lua says where a number is compared with what stands for one that comes from tensors.
_COMPARED = re.compile(r"attempt to compare (?:number with userdata|userdata with number)")

#: The way to something in the object: names of fields, and numbers in lists.
Path = tuple[Any, ...]


class CantTrace(Exception):
    """What a layer computes can't be said without its Lua; the message is the reason."""


class LuaEnded(CantTrace):
    """The Lua ended with an error of its own."""


class Tracer:
    """Records one object, from the fields of its file.

    Args:
        session: the Lua with the author's files.
        layer: the layer of the file.

    Attributes:
        changed: where the modules are whose fields it was seen to change; what such a module computes is recorded.
    """

    def __init__(self, session: Session, layer: LuaObject) -> None:
        self.changed: set[Path] = set()
        self._session = session
        self._layer = layer

    def object(self) -> Any:
        """The layer as a new object of Lua."""
        made = self._session.object(self._layer)
        self._session.children.know(self._walk(made)[0])
        return made

    def trace(
        self, runs: list[Any], training: bool = False, backward: bool = False
    ) -> list[tuple[Any, dict[str, Any], Any]]:
        """Runs the layer on inputs one after another.

        Args:
            runs: inputs, tensors or nested lists of them.
            training: run it in training.
            backward: record its backward pass as well; the gradients of its output are further inputs.

        Returns:
            For each run its output as nodes; what is said of it: does it write into its input, give its memory? And
            the gradients of its inputs and of its parameters as nodes, None where there are none.

        Raises:
            CantTrace: it can't be recorded.
        """
        session = self._session
        made = self.object()
        session.set_mode(made, training)
        recorder = Recorder()
        runtime = session.runtime
        engine = runtime.engine
        places = self._places(made, recorder)
        runtime.engine = RecordingEngine(recorder, engine)
        modules = {identity: _at(made, path) for identity, path in places.items()}
        runtime.child_of = RecordedModules(
            session, recorder, places, modules, self.changed, self.tensors_of, training, backward
        )
        found = []
        try:
            with recorder:
                for number, given in enumerate(runs):
                    with torch._C.DisableTorchFunction():
                        tensors = [tensor.clone() for tensor in flat(given)]
                    for place, tensor in enumerate(tensors):
                        recorder.source(tensor, INPUT, place, number)
                    lua = _as_lua(runtime, rebuilt(given, iter(tensors)))
                    gradients = self._from_zero(made) if backward else []
                    output = session.output(made, lua)
                    nodes, memory = self._nodes(output, recorder), _memory(recorder, tensors, output, session)
                    grads = None
                    if backward:
                        grads = self._backward(made, lua, tensors, nodes, gradients, recorder, number)
                    found.append((nodes, memory, grads))
        except (LuaStopped, LuaFault) as error:
            told = _told(recorder.refused, str(error))
            raise (CantTrace if recorder.refused or VALUES in told else LuaEnded)(told) from None
        finally:
            runtime.engine = engine
            runtime.child_of = session.children.run
        if recorder.refused:
            raise CantTrace(recorder.refused)
        if recorder.gave_numbers and (line := session.comparison()):
            raise CantTrace(f"{line}: {VALUES} where it compares them")
        return found

    def _from_zero(self, made: Any) -> list[TensorHandle]:
        """The gradients of the parameters, which are set to zero."""
        parameters, gradients = self._session.parameters(made)
        if len(parameters) != len(gradients):
            raise CantTrace("it lists more parameters than gradients of such")
        for gradient in gradients:
            gradient.value.zero_()
        return gradients

    def _backward(
        self,
        made: Any,
        lua: Any,
        tensors: list[torch.Tensor],
        output: Any,
        gradients: list[TensorHandle],
        recorder: Recorder,
        run: int,
    ) -> list[list[Node | None]]:
        """The backward pass: the gradients of the inputs and of the parameters."""
        wanted: list[Any] = flat(output)
        with torch._C.DisableTorchFunction():
            grads = [torch.randn(node.shape).to(getattr(torch, node.dtype)) for node in wanted]
        for place, grad in enumerate(grads):
            recorder.source(grad, INPUT, len(tensors) + place, run)
        given = _as_lua(self._session.runtime, rebuilt(output, iter(grads)))
        found: list[Any] = flat(self._nodes(self._session.backward(made, lua, given), recorder))
        if self._session.is_criterion(made):
            tensors = tensors[:-1]
        if len(found) != len(tensors):
            raise CantTrace(f"it gives {len(found)} gradients for {len(tensors)} inputs")
        inputs = [
            node if math.prod(node.shape) or not tensors[place].numel() else None for place, node in enumerate(found)
        ]
        return [inputs, [recorder.node(handle.value) for handle in gradients]]

    def _places(self, made: Any, recorder: Recorder) -> dict[float, Path]:
        """Marks the tensors of the object, and finds the modules in it: identity -> path."""
        modules, tensors = self._walk(made)
        ranges = [_reach(handle.value) for handle, _ in tensors.values()]
        for (handle, path), reach in zip(tensors.values(), ranges, strict=True):
            alone = sum(other[0] == reach[0] and other[1] < reach[2] and reach[1] < other[2] for other in ranges) == 1
            kept = "" if alone else "it writes into memory that several of its fields share"
            recorder.source(handle.value, FIELD, *path, kept=kept)
        return modules

    def tensor_paths(self, made: Any) -> dict[int, Path]:
        """Where the tensors of an object are, by the identity of their handles."""
        return {identity: path for identity, (_, path) in self._walk(made)[1].items()}

    def tensors_of(self, made: Any) -> list[TensorHandle]:
        """The tensors of an object."""
        return [handle for handle, _ in self._walk(made)[1].values()]

    def _walk(self, made: Any) -> tuple[dict[float, Path], dict[int, tuple[TensorHandle, Path]]]:
        """The modules in an object by identity, and its tensors."""
        host = self._session.host
        modules: dict[float, Path] = {}
        tensors: dict[int, tuple[TensorHandle, Path]] = {}
        seen: set[float] = set()
        stack: list[tuple[Any, Path]] = [(made, ())]
        while stack:
            item, path = stack.pop(0)
            identity = host.identity(item)
            if identity in seen:
                continue
            seen.add(identity)
            for key, held in _entries(host, item):
                kind = host.kind(held)
                kind, handle = kind if isinstance(kind, tuple) else (kind, None)
                below = (*path, key)
                if kind == "tensor" and isinstance(handle, TensorHandle):
                    if handle.value.numel():
                        tensors.setdefault(id(handle), (handle, below))
                elif kind == "object":
                    modules.setdefault(host.identity(held), below)
                    stack.append((held, below))
                elif kind == "table":
                    stack.append((held, below))
        return modules, tensors

    def _nodes(self, output: Any, recorder: Recorder) -> Any:
        """An output as nodes, in lists as it is in tables."""
        host = self._session.host
        kind = host.kind(output)
        kind, handle = kind if isinstance(kind, tuple) else (kind, None)
        if kind == "tensor" and isinstance(handle, (TensorHandle, NumberHandle)):
            return recorder.node(handle.value)
        if kind == "number":
            return Node("tensor", (float(output),), None, (), "float64")
        if kind == "table":
            entries = dict(_entries(host, output))
            if sorted(entries) != list(range(1, len(entries) + 1)):
                raise CantTrace("its output is a table that is no list")
            return [self._nodes(entries[place], recorder) for place in range(1, len(entries) + 1)]
        raise CantTrace(f"its output is a {kind}")


def _at(made: Any, path: Path) -> Any:
    item = made
    for key in path:
        item = item[key]
    return item


def _entries(host: Any, table: Any) -> Iterator[tuple[Any, Any]]:
    keys, values, count = host.entries(table)
    for index in range(1, count + 1):
        yield keys[index], values[index]


def _reach(value: torch.Tensor) -> tuple[int, int, int]:
    """The memory of a tensor, and from where to where it lies in it."""
    first = int(value.storage_offset())
    last = first + sum((extent - 1) * step for extent, step in zip(value.shape, value.stride(), strict=True))
    return value.untyped_storage()._cdata, first, last + 1


def _as_lua(runtime: Any, value: Any) -> Any:
    """Tensors as Lua's, without a copy."""
    if isinstance(value, torch.Tensor):
        kind = {torch.float32: "Float", torch.float64: "Double", torch.int64: "Long", torch.uint8: "Byte"}[value.dtype]
        return runtime.host.wrap(TensorHandle(value, kind))
    return runtime.lua.table_from([_as_lua(runtime, part) for part in value])


def _memory(recorder: Recorder, tensors: list[torch.Tensor], output: Any, session: Session) -> dict[str, Any]:
    """Does it write into its input, and is its output the input's memory?"""
    inputs = [recorder.view(tensor) for tensor in tensors]
    memories = [view.memory for view in inputs if view is not None]
    kind = session.host.kind(output)
    handle = kind[1] if isinstance(kind, tuple) else None
    view = recorder.view(handle.value) if isinstance(handle, TensorHandle) else None
    return {
        "writes": any(memory.written for memory in memories),
        "passes": view is not None and view.memory in memories,
        "same": view is not None and view.memory in memories[:1] and not view.steps and len(memories) == 1,
    }


def _told(refused: str, message: str) -> str:
    """The reason, with the line of the Lua where it is known."""
    if not refused and _COMPARED.search(message):
        message = _COMPARED.sub(VALUES, message)
    return message if refused in message else refused or message
