"""Records what a layer computes while its Lua runs: each tensor knows from which operations its numbers came.

The numbers are computed as always. Beside them goes a graph without memory: a tensor that is written to gets another
node, and so do all views of its memory. What would make the graph depend on the numbers themselves is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ...tensors.handles import VALUES, LuaFault, NumberHandle
from ..graph import FRESH, ITEM, Node
from .memory import ALIASES, VIEWS, Memory, View, steps_to

#: Questions about a tensor that its numbers do not answer.
_ABOUT = frozenset(
    [
        "dim",
        "numel",
        "size",
        "stride",
        "is_contiguous",
        "storage_offset",
        "element_size",
        "is_floating_point",
        "untyped_storage",
        "nbytes",
        "is_complex",
        "__len__",
        "data_ptr",
        "is_signed",
        "ndimension",
        "nelement",
    ]
)
#: What gives numbers to Lua.
_READS = frozenset(
    [
        "item",
        "tolist",
        "__bool__",
        "__float__",
        "__int__",
        "__index__",
        "numpy",
        "equal",
        "nonzero",
        "allclose",
        "__contains__",
        "__iter__",
        "__format__",
        "__array__",
        "unique",
    ]
)
#: They pass their input on in evaluation.
DROPOUTS = frozenset(("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"))
#: Other names of one operation; those that begin with "r" have the operands the other way round.
_NAMES = {
    "__add__": "add", "__radd__": "add", "__sub__": "sub", "__rsub__": "rsub", "__mul__": "mul", "__rmul__": "mul",
    "__truediv__": "div", "__rtruediv__": "rdiv", "__rpow__": "rpow", "__mod__": "remainder",
    "__matmul__": "matmul", "__neg__": "neg", "__pow__": "pow", "__gt__": "gt", "__ge__": "ge",
    "__lt__": "lt", "__le__": "le", "__eq__": "eq", "__ne__": "ne", "__floordiv__": "floor_divide", "__iadd__": "add_",
    "__isub__": "sub_", "__imul__": "mul_", "__itruediv__": "div_", "true_divide": "div", "negative": "neg",
    "double": "to", "float": "to", "long": "to", "bool": "to", "int": "to",
}  # fmt: skip
_OF_BATCH_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training")
#: What a batch normalization has gathered; it can't be written.
STATISTICS = "running statistics"
_TO = {"double": "float64", "float": "float32", "long": "int64", "bool": "bool", "int": "int32"}


class Recorder(TorchFunctionMode):
    """Records while it is active.

    Attributes:
        refused: why what ran can't be recorded; the first reason.
        gave_numbers: was Lua given numbers that depend on those of tensors?
    """

    def __init__(self) -> None:
        super().__init__()
        self.refused = ""
        self.gave_numbers = False
        self._memories: dict[int, View] = {}
        self._alive: list[Any] = []

    def refuse(self, reason: str) -> LuaFault:
        """The error to raise; it is remembered, since Lua may catch it."""
        self.refused = self.refused or reason
        return LuaFault(reason)

    # ------------------------------------------------------------------ what is known

    def source(self, value: torch.Tensor, op: str, *args: Any, kept: str = "") -> Node:
        """Makes a tensor one whose numbers come from outside of the graph."""
        node = Node(op, args, None, tuple(value.shape), _dtype(value.dtype))
        self._mark(value, View(Memory(node, kept)))
        return node

    def node(self, value: torch.Tensor) -> Node:
        """The numbers that a tensor has now."""
        return self._view(value).node()

    def part(self, value: torch.Tensor) -> None:
        """Makes a view memory of its own, with the numbers that it has."""
        value._recorded = View(Memory(self.node(value)))  # type: ignore[attr-defined]

    def view(self, value: torch.Tensor) -> View | None:
        """What is known of a tensor."""
        found = getattr(value, "_recorded", None)
        return found if isinstance(found, View) else None

    def _mark(self, value: torch.Tensor, view: View | None) -> None:
        value._recorded = view  # type: ignore[attr-defined]
        if view is not None and not view.steps:
            storage = value.untyped_storage()
            self._alive.append(storage)
            self._memories[storage._cdata] = view

    def _view(self, value: torch.Tensor) -> View:
        known = self.view(value)
        if known is not None and tuple(value.shape) != (known.steps[-1][2] if known.steps else known.memory.shape):
            del value._recorded  # type: ignore[attr-defined]
            if (over := self._over(value)) is not None:
                value._recorded = over  # type: ignore[attr-defined]
        if not hasattr(value, "_recorded"):
            # made before, by the file itself: a constant
            if value.numel() > _LITERAL:
                raise self.refuse(f"it uses a tensor of {value.numel()} numbers that is no field of the layer")
            with torch._C.DisableTorchFunction():
                numbers = value.detach().clone().tolist()
            self.source(value, "tensor", numbers)
        view = self.view(value)
        if view is None:
            raise self.refuse("it uses numbers that were read for a check only")
        return view

    def number(self, value: torch.Tensor) -> NumberHandle:
        """One element, as a number of Lua that is a part of the graph."""
        self.gave_numbers = True
        with self:
            return NumberHandle((value.reshape(()) if value.dim() else value).double(), self.refuse)

    # ------------------------------------------------------------------ what runs

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _ABOUT or name == "__get__":
            found = func(*args, **kwargs)
            if isinstance(found, torch.Tensor):
                raise self.refuse("it looks at a tensor in a way that can't be recorded")
            return found
        if name in ("_set_grad_enabled", "is_grad_enabled"):
            return func(*args, **kwargs)
        if name == "detach":
            value = func(*args)
            value._recorded = None
            return value
        tensors = list(_tensors((args, kwargs)))
        if any(getattr(tensor, "_recorded", 0) is None for tensor in tensors):  # a check: whatever comes of it
            return _each(func(*args, **kwargs), _as_check)
        if name in _READS:
            if any(self._view(tensor).node().depends for tensor in tensors):
                if name == "item":
                    return self.number(tensors[0])
                raise self.refuse(VALUES)
            return func(*args, **kwargs)
        if name == "__setitem__":
            return self._element(func, args)
        if name == "__getitem__":
            return self._item(func, args)
        before = [(tensor, tensor.untyped_storage()._cdata) for tensor in tensors]
        op = _NAMES.get(name, name)
        if op.startswith("__"):
            raise self.refuse(f"{name} can't be recorded")
        if op.endswith("_"):
            node_args = self._arguments(args, kwargs, name)
            result = func(*args, **kwargs)
            self._written(op, result, *node_args, args)
            return result
        node_args = self._arguments(args, kwargs, name)
        result = func(*args, **kwargs)
        self._made(op, result, before, *node_args)
        if name == "batch_norm":
            self._gathered(args, kwargs)
        return result

    def _gathered(self, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """What a batch normalization gathers in training: Torch7 changes it, to what is not known here."""
        given = dict(zip(_OF_BATCH_NORM, args, strict=False)) | kwargs
        for name in ("running_mean", "running_var") if given.get("training") else ():
            if given.get(name) is not None and (view := self.view(given[name])) is not None:
                view.memory.node = Node(STATISTICS, (view.memory.node,), None, view.memory.shape, "")

    def _arguments(
        self, args: Sequence[Any], kwargs: dict[str, Any], name: str
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        def one(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                return self.node(value)
            if isinstance(value, torch.dtype):
                return _dtype(value)
            if isinstance(value, torch.memory_format) or value is None or isinstance(value, (bool, int, float, str)):
                return None if isinstance(value, torch.memory_format) else value
            if isinstance(value, (list, tuple)):
                return [one(part) for part in value]
            raise self.refuse(f"{name} can't be recorded with {type(value).__name__}")

        named = {key: one(value) for key, value in kwargs.items() if key not in ("copy", "memory_format", "device")}
        given = tuple(one(value) for value in args)
        return ((*given, _TO[name]) if name in _TO else given), named

    def _made(
        self,
        op: str,
        result: Any,
        before: list[tuple[torch.Tensor, int]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        """Says what new tensors are."""
        if isinstance(result, torch.Tensor):
            shared = next((tensor for tensor, storage in before if result.untyped_storage()._cdata == storage), None)
            if shared is None or not result.numel():
                self._mark(result, View(Memory(self._new(op, args, kwargs, result))))
                return
            if result is shared:
                return
            view = self._view(shared)
            if op in ALIASES:
                if (result.shape, result.stride()) != (shared.shape, shared.stride()):
                    raise self.refuse("it looks at memory by strides of its own")
                self._mark(result, View(view.memory, view.steps))
                return
            if op not in VIEWS or kwargs.keys() - {"dim"}:
                raise self.refuse(f"views by {op} can't be recorded")
            given = (*args[1:], *kwargs.values())
            if op == "squeeze" and not given:  # of all dimensions of one place
                op = "reshape"
            step = (op, _listed(op, given, result), tuple(result.shape))
            self._mark(result, View(view.memory, (*view.steps, step)))
            return
        if op in ("split", "chunk"):  # parts: views, one after another
            axis = int(args[2]) if len(args) > 2 else int(kwargs.get("dim", 0))
            view, first = self._view(before[0][0]), 0
            for part in result:
                length = part.shape[axis]
                self._mark(part, View(view.memory, (*view.steps, ("narrow", (axis, first, length), tuple(part.shape)))))
                first += length
            return
        whole = Node(op, args, kwargs)
        for place, part in enumerate(result):
            if not isinstance(part, torch.Tensor):
                raise self.refuse(f"{op} can't be recorded")
            node = Node(ITEM, (whole, place), None, tuple(part.shape), _dtype(part.dtype))
            self._mark(part, View(Memory(node)))

    def _new(self, op: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: torch.Tensor) -> Node:
        if op in ("contiguous", "clone") or (op == "to" and args and args[-1] == args[0].dtype):
            node: Node = args[0]
            return node
        if op in DROPOUTS and not kwargs.get("training", args[2] if len(args) > 2 else True):
            passed: Node = args[0]
            return passed
        if op == "batch_norm" and (args[5] if len(args) > 5 else kwargs.get("training")):
            kwargs = {name: value for name, value in kwargs.items() if not name.startswith("running")}
            args = (args[0], None, None, *args[3:])  # in training it reads none of what it gathers
        if op == "empty":
            return Node(FRESH, (), None, tuple(result.shape), _dtype(result.dtype))
        if op in ("reshape", "view", "repeat", "permute"):
            args = (args[0], *_listed(op, args[1:], result))
        return Node(op, args, kwargs, tuple(result.shape), _dtype(result.dtype))

    def _written(
        self, op: str, target: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], raw: Sequence[Any]
    ) -> None:
        """A tensor was written to in place."""
        view = self._view(target)
        shape, dtype = tuple(target.shape), _dtype(target.dtype)
        if op == "copy_":
            node: Node = args[1]
            if node.dtype != dtype:
                node = Node("to", (node, dtype), None, node.shape, dtype)
            if node.shape != shape:
                node = Node("expand", (node, list(shape)), None, shape, dtype)
        elif op in ("fill_", "zero_"):
            value = 0 if op == "zero_" else args[1]
            if isinstance(value, Node):
                raise self.refuse("it fills a tensor with a number of another")
            node = Node("full", (list(shape), value), {"dtype": dtype}, shape, dtype)
        else:
            if op == "index_copy_" and _is_whole(args[1], args[2], raw, shape):
                args = (Node("full", (list(shape), 0), {"dtype": dtype}, shape, dtype), *args[1:])
            node = Node(op.removesuffix("_"), args, kwargs, shape, dtype)
        try:
            view.write(node)
        except LuaFault as fault:
            raise self.refuse(str(fault)) from None

    def _over(self, value: torch.Tensor) -> View | None:
        """A tensor over memory that is there, of which PyTorch tells nobody (`set_`)."""
        with torch._C.DisableTorchFunction():
            storage = value.untyped_storage()
            total = storage.nbytes() // value.element_size()
            geometry = tuple(value.shape), value.stride(), int(value.storage_offset())
        view = self._memories.get(storage._cdata)
        if view is None:  # memory from before: numbers of the file itself, such as a LongStorage
            return None
        memory = view.memory
        steps = steps_to(memory.shape, *geometry) if math.prod(memory.shape) == total else None
        if steps is not None:
            return View(memory, steps)
        if not memory.node.depends and memory.node.op == "tensor":
            return None
        raise self.refuse("it looks at the memory of a tensor by its places")

    def _element(self, func: Any, args: Any) -> Any:
        """`storage[i] = number`, of constants only."""
        target = args[0]
        view = self._view(target)
        if view.steps or any(self.node(tensor).depends for tensor in _tensors(args)):
            raise self.refuse("it writes into the memory of a tensor by its places")
        result = func(*args)
        with torch._C.DisableTorchFunction():
            view.memory.node = Node("tensor", (target.tolist(),), None, view.memory.shape, _dtype(target.dtype))
        return result

    def _item(self, func: Any, args: Any) -> Any:
        """`x[i]` and `x[i, j]` with numbers; with tensors the size would depend on numbers."""
        value, key = args
        if not all(isinstance(part, int) for part in (key if isinstance(key, tuple) else (key,))):
            if not any(self._view(t).node().depends for t in _tensors((value, key))):
                result = func(*args)
                self._mark(result, View(Memory(Node("tensor", (result.tolist(),), None, tuple(result.shape), ""))))
                return result
            raise self.refuse(f"{VALUES}: what a mask chooses")
        result = value
        for part in key if isinstance(key, tuple) else (key,):
            before = [(result, result.untyped_storage()._cdata)]
            node = self.node(result)
            with torch._C.DisableTorchFunction():
                made = result.select(0, part)
            self._made("select", made, before, (node, 0, part), {})
            result = made
        return result


#: Constants of more numbers are not written into source.
_LITERAL = 64


def _is_whole(axis: int, index: Node, given: Sequence[Any], shape: tuple[int, ...]) -> bool:
    """Are these, by constants, all places of a dimension?"""
    if index.depends:
        return False
    with torch._C.DisableTorchFunction():
        return sorted(given[2].tolist()) == list(range(shape[axis]))


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _as_check(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value._recorded = None  # type: ignore[attr-defined]
    return value


def _each(value: Any, do: Callable[[Any], Any]) -> Any:
    for part in value if isinstance(value, (list, tuple)) else [value]:
        do(part)
    return value


def _listed(op: str, args: tuple[Any, ...], result: torch.Tensor) -> tuple[Any, ...]:
    """Sizes in one list, as they are in the result."""
    if op in ("view", "reshape", "expand", "squeeze", "unsqueeze", "view_as", "flatten", "unflatten"):
        return args if op in ("squeeze", "unsqueeze") and args else (list(result.shape),)
    if op in ("permute", "repeat") and not (args and isinstance(args[0], list)):
        return (list(args),)
    return args
