"""What is in a .t7 file, without converting it and without torch: format, models, classes, tensors."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .locate import candidates, join
from .t7 import LuaFunction, LuaObject, LuaTable, Storage, Tensor, Value, load_file

#: Deeper than any network; it bounds the recursion.
_MAX_DEPTH = 200


@dataclass
class Node:
    """One module of a model.

    Attributes:
        path: Torch7 path, "" for the model itself.
        typename: its class.
        parameters: numbers in its own parameters (children not counted, shared ones counted where they come first).
        tensors: name -> size, such as {"weight": "16x3x3x3"}.
        dtype: element type of its parameters, such as "Float"; None if it has none.
        convertible: has the class a converter?
        shared: path at which the same object was met before; None for the first.
        children: the modules that it holds.
    """

    path: str
    typename: str
    parameters: int
    tensors: dict[str, str]
    dtype: str | None
    convertible: bool
    shared: str | None = None
    children: list[Node] = field(default_factory=list)


@dataclass
class Model:
    """A model in a file.

    Attributes:
        key: where it is, "" for the top.
        typename: its class.
        parameters: distinct numbers in the parameters of all its modules.
        classes: how many modules of each class.
        unsupported: class -> paths, for the classes that have no converter.
        tree: its modules.
    """

    key: str
    typename: str
    parameters: int
    classes: dict[str, int]
    unsupported: dict[str, list[str]]
    tree: Node


@dataclass
class Inspection:
    """What is in a file.

    Attributes:
        file: its name.
        size: in bytes.
        format: "binary" or "ascii".
        long_size: bytes of a C long in it; None if it made no difference.
        objects: how many objects stand one after the other.
        functions: how many Lua functions it holds; they are never run.
        contents: key -> one line, for a table at the top; the one line of anything else under "".
        models: the models in it.
    """

    file: str
    size: int
    format: str
    long_size: int | None
    objects: int
    functions: int
    contents: dict[str, str]
    models: list[Model]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


def inspect_file(path: str | os.PathLike[str], known: Collection[str], key: str | None = None) -> Inspection:
    """Looks into a file.

    Args:
        path: of the file.
        known: classes that have a converter.
        key: show only the model at this key.

    Raises:
        T7Error: the file can't be read.
    """
    file = load_file(path)
    value = file.objects[0] if file.objects else None
    found = [c for c in candidates(value, known) if key is None or c.key == key]
    return Inspection(
        file=Path(path).name,
        size=os.stat(path).st_size,
        format=file.format,
        long_size=file.long_size,
        objects=len(file.objects),
        functions=file.functions,
        contents=_contents(value),
        models=[_model(c.key, c.object, known) for c in found],
    )


def _contents(value: Value) -> dict[str, str]:
    if isinstance(value, LuaTable):
        return {join("", key): summary(item) for key, item in value.items()}
    return {"": summary(value)}


def summary(value: Value) -> str:
    """One line about a value."""
    if isinstance(value, Tensor):
        return f"{value.type} {size_text(value)}"
    if isinstance(value, Storage):
        return f"{value.typename} of {len(value)}"
    if isinstance(value, LuaObject):
        return value.typename
    if isinstance(value, LuaTable):
        return f"{'list' if value.is_list else 'table'} of {len(value)}"
    if isinstance(value, LuaFunction):
        return "Lua function (never run)"
    if value is None:
        return "nil"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def size_text(tensor: Tensor) -> str:
    """The size of a tensor as Torch7 people write it: 16x3x3x3."""
    return "x".join(map(str, tensor.size)) or "empty"


def _model(key: str, obj: LuaObject, known: Collection[str]) -> Model:
    walk = _Walk(known)
    tree = walk.node(obj, "", 0)
    return Model(key, obj.typename, walk.parameters, dict(sorted(walk.classes.items())), walk.unsupported, tree)


class _Walk:
    """Collects the modules below one object, each once."""

    def __init__(self, known: Collection[str]) -> None:
        self.known = known
        self.parameters = 0
        self.classes: Counter[str] = Counter()
        self.unsupported: dict[str, list[str]] = {}
        self._paths: dict[int, str] = {}
        self._regions: set[tuple[int, int, tuple[int, ...]]] = set()

    def node(self, obj: LuaObject, path: str, depth: int) -> Node:
        convertible = obj.typename in self.known
        if id(obj) in self._paths:
            return Node(path, obj.typename, 0, {}, None, convertible, shared=self._paths[id(obj)])
        self._paths[id(obj)] = path
        self.classes[obj.typename] += 1
        if not convertible:
            self.unsupported.setdefault(obj.typename, []).append(path)
        own = _parameters(obj)
        count = sum(self._count(tensor) for tensor in own.values())
        kinds = {tensor.kind for tensor in own.values()}
        tensors = {name: size_text(tensor) for name, tensor in own.items()}
        node = Node(path, obj.typename, count, tensors, kinds.pop() if len(kinds) == 1 else None, convertible)
        if depth < _MAX_DEPTH:
            for name, child in _children(obj):
                node.children.append(self.node(child, f"{path}.{name}" if path else name, depth + 1))
        return node

    def _count(self, tensor: Tensor) -> int:
        region = (id(tensor.storage), tensor.offset, tensor.size)
        if region in self._regions:
            return 0
        self._regions.add(region)
        self.parameters += tensor.numel()
        return tensor.numel()


def _parameters(obj: LuaObject) -> dict[str, Tensor]:
    """Weight, bias, and whatever has a gradient beside it (`weight` has `gradWeight`)."""
    found = {}
    for name, value in obj.items():
        if isinstance(value, Tensor) and isinstance(name, str) and value.numel():
            gradient = f"grad{name[:1].upper()}{name[1:]}"
            if name in ("weight", "bias") or (gradient in obj and name not in ("input", "output")):
                found[name] = value
    return found


def _children(obj: LuaObject) -> list[tuple[str, LuaObject]]:
    """The modules that an object holds: those in `modules`, else those in fields of its own."""
    modules = obj.get("modules")
    if isinstance(modules, LuaTable):
        return [(str(i), child) for i, child in enumerate(modules.list(), 1) if isinstance(child, LuaObject)]
    return [
        (str(name), value)
        for name, value in obj.items()
        if isinstance(value, LuaObject) and isinstance(name, str) and _looks_like_module(value)
    ]


def _looks_like_module(obj: LuaObject) -> bool:
    return not obj.typename.startswith(("torch.", "graph.", "nngraph.", "tds.")) and (
        "gradInput" in obj or "modules" in obj
    )
