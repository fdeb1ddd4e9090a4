"""What the process of a layer that runs its Lua does: it keeps the layer's objects, with their state, and runs them."""

from __future__ import annotations

import io
import warnings
from typing import Any

import torch

from ....model.convert import to_torch
from ....t7 import LuaObject, LuaTable, Value, load
from ...folders import Folders
from ...limits import LuaLimits
from ...result import CantLeave, Results
from ...runtime import LuaStopped
from ...tensors.generators import Twister
from ...tensors.handles import LuaFault, TensorHandle, entries, is_table
from ..children import Children, flat
from ..session import Session, tensor_kind
from ..traces.tracing import Tracer

FORWARD, BACKWARD, PROBE, COPY = "forward", "backward", "probe", "copy"


class _Object:
    """One object of the layer, with what it was run on last."""

    def __init__(self, made: Any) -> None:
        self.made = made
        self.training: bool | None = None
        self.kind = ""
        self.given: Any = None


class KeptLayer:
    """The objects of a layer: that of the file, and copies of it, each with its own state.

    Args:
        job: the author's files.
        folders: the files that they may read.
        limits: what they may use.
        given: the layer, as a `.t7`.

    Raises:
        LuaStopped: a file ended with an error, or does not define the class.
    """

    def __init__(self, job: dict[str, Any], folders: Folders, limits: LuaLimits, given: bytes) -> None:
        task = load(io.BytesIO(given))
        if not isinstance(task, LuaTable) or not isinstance(task.get("layer"), LuaObject):
            raise CantLeave("no layer was given")
        self._layer: LuaObject = task["layer"]
        self._session = Session(job["files"], folders, limits, tensor_kind(self._layer))
        self._objects: dict[int, _Object] = {}
        self._fresh_children()
        self._session.object(self._layer)  # refuses a class that the files do not define
        self._session.host.begin()

    def described(self) -> tuple[dict[str, Any], Value]:
        """Where its parameters are in the layer of the file, in the order of `parameters()`."""
        session = self._session
        made = session.object(self._layer)
        places = Tracer(session, self._layer).tensor_paths(made)
        listed, gradients = session.parameters(made)
        backward = session.has_backward(made)
        paths = [list(places.get(id(handle), ())) for handle in listed]
        return {"parameters": paths, "gradients": len(gradients), "backward": backward}, None

    def answer(self, request: dict[str, Any], given: bytes) -> tuple[dict[str, Any], Value]:
        """Runs an object, or copies it with its state.

        Raises:
            LuaStopped: the Lua ended with an error.
        """
        self._session.host.allow_more()
        number = int(request["object"])
        for old in request.get("forget") or ():
            self._objects.pop(int(old), None)
        if request["what"] == COPY:
            source = self._objects.get(int(request["of"]))
            if source is not None:
                copy = _Object(self._session.runtime.guarded(self._session.host.copied, source.made))
                copy.training, copy.kind = source.training, source.kind
                self._objects[number] = copy
            return {}, None
        task = load(io.BytesIO(given))
        if not isinstance(task, LuaTable):
            raise CantLeave("no numbers were given")
        if request.get("fresh"):
            self._objects.pop(number, None)
            engine = self._session.runtime.engine
            engine.random = Twister(engine.seed)  # so that a run can be made again
        probing = request["what"] == PROBE  # whose run is to leave nothing behind
        kept = _Object(None) if probing else self._objects.setdefault(number, _Object(None))
        if kept.made is None:
            kept.made = self._session.object(self._layer)
        try:
            # modules of nn are converted with what their gradients need
            with warnings.catch_warnings(), torch.enable_grad():
                warnings.simplefilter("ignore")  # one number has no deviation, for example
                run = self._backward if request["what"] == BACKWARD else self._forward
                return {}, run(kept, request, task)
        except LuaFault as fault:
            raise LuaStopped(str(fault)) from None

    def _forward(self, kept: _Object, request: dict[str, Any], task: LuaTable) -> Value:
        session = self._session
        kind = str(request["kind"])
        if kind != (kept.kind or tensor_kind(self._layer)):
            session.runtime.guarded(session.runtime.text, f"torch.setdefaulttensortype('torch.{kind}Tensor')", "type")
            session.call(kept.made, "type", f"torch.{kind}Tensor")
        kept.kind = kind
        if kept.training != request["training"]:
            kept.training = bool(request["training"])
            session.set_mode(kept.made, kept.training)
        if task.get("parameters") is not None:
            self._take(kept.made, task["parameters"])
        kept.given = session.value(task["input"])
        before = [handle.value.clone() for handle in _handles(session, kept.given)]
        output = self._numbers(session.output(kept.made, kept.given))
        after = _handles(session, kept.given)
        if any(old.shape != handle.value.shape for old, handle in zip(before, after, strict=True)):
            raise LuaStopped("it changes the size of its input")
        entries: list[tuple[Value, Value]] = [("output", output)]
        if not all(bool(((a == b.value) | (a != a)).all()) for a, b in zip(before, after, strict=True)):
            # which others in the network may read
            entries.append(("input", self._numbers(kept.given)))
        return LuaTable(entries)

    def _numbers(self, value: Any) -> Value:
        """A value of Lua for the program, which has its own memory."""
        return Results(self._session.runtime, copies=True).value(value)

    def _take(self, made: Any, values: Value) -> None:
        """Copies the parameters that training, or a file, gave the module into the object."""
        session = self._session
        listed, _ = session.parameters(made)
        numbers = flat(to_torch(values))
        changed = False
        for handle, value in zip(listed, numbers, strict=True):
            value = value.reshape(handle.value.shape)
            if not bool(((handle.value == value) | (value != value)).all()):
                handle.value.copy_(value)
                changed = True
        if changed:
            self._fresh_children()  # those before had the old numbers

    def _fresh_children(self) -> None:
        self._session.children = _Steady(self._session.runtime)
        self._session.runtime.child_of = self._session.children.run

    def _backward(self, kept: _Object, _request: dict[str, Any], task: LuaTable) -> Value:
        session = self._session
        _, gradients = session.parameters(kept.made)
        for gradient in gradients:
            gradient.value.zero_()
        found = session.call(kept.made, "backward", kept.given, session.value(task["gradOutput"]))
        made = [self._numbers(session.host.wrap(gradient)) for gradient in gradients]
        return LuaTable([("gradInput", self._numbers(found)), ("gradParameters", LuaTable.from_list(made))])


class _Steady(Children):
    """Modules of nn in a layer; those that do something else in training are refused there."""

    def run(self, how: str, child: Any, inherited: str | None, given: Any, grad: Any = None, scale: Any = 1.0) -> Any:
        """A pass of a child, as in `Children`."""
        found = super().run(how, child, inherited, given, grad, scale)
        if how == "output" and bool(child["train"]):
            child["train"] = False
            try:
                other = super().run(how, child, inherited, given, grad, scale)
            finally:
                child["train"] = True
            pairs = zip(_flat_handles(found), _flat_handles(other), strict=True)
            if any(not bool((a.value == b.value).all()) for a, b in pairs):
                raise LuaFault(
                    "a module that it runs computes something else in training, such as Dropout, which is not run here"
                )
        return found


def _flat_handles(value: Any) -> list[TensorHandle]:
    return [value] if isinstance(value, TensorHandle) else [one for part in value for one in _flat_handles(part)]


def _handles(session: Session, value: Any) -> list[TensorHandle]:
    """The tensors of a value of Lua, in order."""
    kind = session.host.kind(value)
    if isinstance(kind, tuple) and kind[0] == "tensor":
        return [kind[1]] if isinstance(kind[1], TensorHandle) else []
    return [one for part in entries(value) for one in _handles(session, part)] if is_table(value) else []
