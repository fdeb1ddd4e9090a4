"""The modules of a model: parameters, recorded outputs, what they share, whether they can be converted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from ..model.contents.children import children_of, parameters_of
from ..model.contents.kinds import size_text
from ..model.leftover_fields import RECORDED, author_name
from ..t7 import LuaObject, LuaTable, Tensor, Value
from ..t7.nested import nested_count

#: Deeper than any network; it bounds the recursion.
_MAX_DEPTH = 200
_MAX_TABLES = 8
_MAX_TENSORS = 10_000


@dataclass
class ModuleNode:
    """One module of a model.

    Attributes:
        path: Torch7 path, "" for the model itself.
        typename: its class.
        parameters: numbers in its own parameters (children not counted, shared ones counted where they come first).
        bytes: what these numbers take.
        tensors: name -> size, such as {"weight": "16x3x3x3"}.
        dtype: element type of its parameters, such as "Float"; None if it has none.
        convertible: has the class a converter?
        name: what its author, or loadcaffe, called it; "" if it has no name.
        train: its `train` field; None if it has none.
        output: size of the output that its last run left in the file, or that was computed; None if not known.
        became: class of the PyTorch module that it was converted to; None if it was not converted.
        recorded: names of the fields with what a run left in them.
        tied: name of a tensor -> path.name of the tensor whose numbers it shares.
        shared: path at which the same object was met before; None for the first.
        children: the modules that it holds.
    """

    path: str
    typename: str
    parameters: int
    bytes: int
    tensors: dict[str, str]
    dtype: str | None
    convertible: bool
    name: str = ""
    train: bool | None = None
    output: str | None = None
    became: str | None = None
    recorded: list[str] = field(default_factory=list)
    tied: dict[str, str] = field(default_factory=dict)
    shared: str | None = None
    children: list[ModuleNode] = field(default_factory=list)

    def walk(self) -> Iterator[ModuleNode]:
        """This node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass
class Model:
    """A model in a file.

    Attributes:
        key: where it is, "" for the top.
        typename: its class.
        parameters: distinct numbers in the parameters of all its modules.
        bytes: what these numbers take.
        classes: how many modules of each class.
        unsupported: class -> paths, for the classes that have no converter.
        recorded: how many modules hold the output of their last run.
        input: what is known of its input, in words; "" if nothing was asked or found.
        tree: its modules.
        held: does an object of a class that nobody knows hold it? Then `convert` takes it by its key.
    """

    key: str
    typename: str
    parameters: int
    bytes: int
    classes: dict[str, int]
    unsupported: dict[str, list[str]]
    recorded: int
    input: str
    tree: ModuleNode
    held: bool = False


def read_model(key: str, obj: LuaObject, known: Collection[str]) -> Model:
    """The tree of a model.

    Args:
        key: where it is in the file.
        obj: the model.
        known: classes that have a converter.
    """
    walk = _ModelWalk(known)
    tree = walk.node(obj, "", 0)
    recorded = sum(node.output is not None for node in tree.walk())
    classes = dict(sorted(walk.classes.items()))
    return Model(key, obj.typename, walk.parameters, walk.bytes, classes, walk.unsupported, recorded, "", tree)


def nested_size(value: Value) -> str | None:
    """The sizes of a recorded tensor, or of a table of them; None if there are no numbers in it, or it is too deep."""
    return _nested_size(value) if nested_count(value) <= _MAX_TENSORS else None


def _nested_size(value: Value, depth: int = 0) -> str | None:
    if isinstance(value, Tensor):
        return size_text(value) if value.numel() else None
    if isinstance(value, LuaTable) and value.is_list and len(value) and depth < _MAX_TABLES:
        sizes = [_nested_size(item, depth + 1) for item in value.list()[:9]]
        if any(size is None for size in sizes):
            return None
        shown = ",".join(str(size) for size in sizes[:8])
        return "{" + shown + (",…" if len(value) > 8 else "") + "}"
    return None


class _ModelWalk:
    """Collects the modules below one object, each once."""

    def __init__(self, known: Collection[str]) -> None:
        self.known = known
        self.parameters = 0
        self.bytes = 0
        self.classes: Counter[str] = Counter()
        self.unsupported: dict[str, list[str]] = {}
        self._paths: dict[int, str] = {}
        self._regions: dict[tuple[int, int, tuple[int, ...]], str] = {}

    def node(self, obj: LuaObject, path: str, depth: int) -> ModuleNode:
        convertible = obj.typename in self.known
        if id(obj) in self._paths:
            return ModuleNode(path, obj.typename, 0, 0, {}, None, convertible, shared=self._paths[id(obj)])
        self._paths[id(obj)] = path
        self.classes[obj.typename] += 1
        if not convertible:
            self.unsupported.setdefault(obj.typename, []).append(path)
        own = parameters_of(obj)
        train = obj.get("train")
        node = ModuleNode(
            path,
            obj.typename,
            0,
            0,
            {name: size_text(tensor) for name, tensor in own.items()},
            None,
            convertible,
            name=author_name(obj),
            train=train if isinstance(train, bool) else None,
            output=nested_size(obj.get("output")),
            recorded=[str(name) for name, value in obj.items() if name in RECORDED and nested_size(value)],
        )
        kinds = {tensor.kind for tensor in own.values()}
        node.dtype = kinds.pop() if len(kinds) == 1 else None
        for name, tensor in own.items():
            self._count(node, name, tensor)
        if depth < _MAX_DEPTH:
            for name, child in children_of(obj, self.known):
                node.children.append(self.node(child, f"{path}.{name}" if path else name, depth + 1))
        return node

    def _count(self, node: ModuleNode, name: str, tensor: Tensor) -> None:
        region = (id(tensor.storage), tensor.offset, tensor.size)
        here = f"{node.path}.{name}" if node.path else name
        first = self._regions.setdefault(region, here)
        if first != here:
            node.tied[name] = first
            return
        node.parameters += tensor.numel()
        node.bytes += tensor.nbytes
        self.parameters += tensor.numel()
        self.bytes += tensor.nbytes
