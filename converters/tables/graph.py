"""Package nngraph: graphs of modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts, module_form
from ...model.traits import Traits
from ...source.expressions import entry as entry_of
from ...source.forms import Picks, Structure
from ...t7 import LuaObject, LuaTable, Value
from .containers import Concat, ConcatTable, DepthConcat, PaddedJoin, Parallel, ParallelTable
from .table_layers import JoinTable


class Graph(nn.ModuleList):
    """A graph of modules.

    Values are numbered: 0 is the graph's input, k the output of the k-th of `nodes`, in the order in which they run.
    A source is a list: the number of a value, then the (0-based) entries to take of it where it is a list itself; or a
    list of sources, which makes a list.

    Args:
        modules: the modules of the graph.
        nodes: [index of the module, its sources] of each node; a module gets a list where it has several sources.
            Index -1 is no module: the node makes a list of its sources. A dotted path is a module inside another.
        outputs: the sources of the graph's output, a list where there are several.
    """

    def __init__(self, modules: list[nn.Module], nodes: list[Any], outputs: list[Any]) -> None:
        super().__init__(modules)
        self.nodes = nodes
        self.outputs = outputs

    def forward(self, x: Any) -> Any:
        values = [x]
        for index, sources in self.nodes:
            value = self.gather(values, sources)
            values.append(value if index == -1 else self.get_submodule(str(index))(value))
        return self.gather(values, self.outputs)

    def gather(self, values: list[Any], sources: list[Any]) -> Any:
        gathered = [self.take(values, source) for source in sources]
        return gathered[0] if len(gathered) == 1 else gathered

    def take(self, values: list[Any], source: list[Any]) -> Any:
        if not source or isinstance(source[0], list):
            return [self.take(values, inner) for inner in source]
        value = values[source[0]]
        for entry in source[1:]:
            value = value[entry]
        return value


module_form("structure", Graph)(Structure(flow="graph"))
module_form("cell part", Graph)("function")
module_form("followed", Graph)(True)
module_form("graph", nn.Sequential, ConcatTable, ParallelTable, Concat, DepthConcat, Parallel, Graph)(Graph)


@module_form("join", Concat)
def _join_of_concat(module: Concat) -> JoinTable:
    return JoinTable(module.dim)


@module_form("join", Parallel)
def _join_of_parallel(module: Parallel) -> JoinTable:
    return JoinTable(module.output_dim)


@module_form("join", DepthConcat)
def _join_of_depth_concat(module: DepthConcat) -> PaddedJoin:
    return PaddedJoin(module.dim)


@module_form("node names", Graph)
def _names(graph: LuaObject) -> Iterator[tuple[Value, str]]:
    """The Torch7 modules of the nodes that were given a name: node:annotate{name = …}."""
    nodes = graph.get("forwardnodes")
    for node in nodes.list() if isinstance(nodes, LuaTable) else []:
        data = node.get("data") if isinstance(node, LuaObject) else None
        annotations = data.get("annotations") if isinstance(data, LuaTable) else None
        name = annotations.get("name") if isinstance(annotations, LuaTable) else None
        if isinstance(data, LuaTable) and isinstance(name, str):
            yield data.get("module"), name


@converts("nn.gModule", "nn.TripletNet", traits=Traits(output="children", flow="graph"))
def graph_module(layer: Layer) -> Graph:
    """nn.gModule(inputs, outputs); nn.TripletNet(EmbeddingNet, num, distMetric, collectFeat), of eladhoffer/TripletNet

    The children have the numbers of Torch7's `modules`.
    """
    if layer.typename == "nn.TripletNet":  # its graph holds these
        layer.ignore("num", "distMetric", "EmbeddingNet", "nets")
    # fg, bg and backwardnodes hold the same wiring; name and verbose are for printing
    layer.ignore("fg", "bg", "backwardnodes", "innode", "nInputs", "verbose", "name")
    nodes = [_fields(layer, node) for node in _list(layer, layer.value("forwardnodes"), "forwardnodes")]
    modules, index = _modules(layer, nodes)
    inner = _fields(layer, layer.value("innode"))
    outer = _fields(layer, layer.value("outnode"))
    sources: dict[int, list[int]] = {id(inner): [0]}
    steps: list[Any] = []
    for node in nodes:
        if node is inner or node is outer:
            continue
        inputs = _sources(layer, node, sources)
        module = node.get("module")
        entry = node.get("selectindex")
        if isinstance(entry, float):
            sources[id(node)] = [*inputs[0], int(entry) - 1]
        elif module is None and len(inputs) == 1:
            sources[id(node)] = inputs[0]
        else:
            steps.append([-1 if module is None else index[id(module)], inputs])
            sources[id(node)] = [len(steps)]
    outputs = _sources(layer, outer, sources)
    return Graph(modules, steps, outputs)


def _fields(layer: Layer, node: Value) -> Mapping[Any, Any]:
    """The `data` table of a node: what identifies it, since Torch7 makes several nodes around one."""
    data = node.get("data") if isinstance(node, LuaObject) else None
    if not isinstance(data, LuaTable):
        layer.refuse(f"a node of its graph is {node!r}")
    return cast("Mapping[Any, Any]", data)


def _list(layer: Layer, value: Value, name: str) -> list[Value]:
    if not isinstance(value, LuaTable):
        layer.refuse(f"its {name} should be a list and is {value!r}")
    found: list[Value] = []
    while value.get(float(len(found) + 1)) is not None:  # `mapindex` has other keys too
        found.append(value[float(len(found) + 1)])
    return found


def _modules(layer: Layer, nodes: list[Mapping[Any, Any]]) -> tuple[list[nn.Module], dict[int, int]]:
    """The converted modules, and the place of each Lua module among them."""
    held = _list(layer, layer.value("modules"), "modules") if layer.has("modules") else []  # old files have none
    modules = [layer.convert(value, str(i)) for i, value in enumerate(held, 1)]
    index: dict[int, int] = {}
    for i, value in enumerate(held):
        index.setdefault(id(value), i)
    for node in nodes:
        value = node.get("module")
        if value is not None and id(value) not in index:
            index[id(value)] = len(modules)
            modules.append(layer.convert(value, str(len(modules) + 1)))
    return modules, index


def _sources(layer: Layer, node: Mapping[Any, Any], sources: dict[int, list[int]]) -> list[list[int]]:
    """Where the inputs of a node come from, in order."""
    found = _list(layer, node.get("mapindex"), "mapindex")
    if any(id(data) not in sources for data in found):
        layer.refuse("a node of its graph comes before its own input")
    return [sources[id(data)] for data in found]


class FirstEntry(nn.Module):
    """Returns the only entry of a list."""

    def forward(self, x: list[Any]) -> Any:
        return x[0]


module_form("followed", FirstEntry)(True)
module_form("structure", FirstEntry)(Structure(lists=True, picks=Picks(0)))


@module_form("python of a list", FirstEntry)
def _first(module: FirstEntry, value: Any) -> Any:
    return entry_of(value, 0)


@converts("nngraph.JustElement", traits=Traits(reuses="nothing", safe_on_own_output=True, output="pass"))
def just_element(layer: Layer) -> FirstEntry:
    """nngraph.JustElement(), made by node:split(1)"""
    return FirstEntry()


class ListOfOne(nn.Module):
    """Returns its input as the only entry of a list."""

    def forward(self, x: Any) -> list[Any]:
        return [x]


module_form("followed", ListOfOne)(True)


@module_form("python", ListOfOne)
@module_form("python of a list", ListOfOne)
def _list_of_one(module: ListOfOne, value: Any) -> Any:
    return [value]


@converts("nngraph.JustTable", traits=Traits(output="pass"))
def just_table(layer: Layer) -> ListOfOne:
    """nngraph.JustTable(), made by nngraph.nest({node})"""
    return ListOfOne()


class ModuleFromCriterion(nn.Module):
    """Gives the two entries of its input, prediction and target, to a criterion; returns the loss as one element."""

    def __init__(self, criterion: nn.Module) -> None:
        super().__init__()
        self.criterion = criterion

    def forward(self, x: list[Any]) -> torch.Tensor:
        loss: torch.Tensor = self.criterion(x[0], self.detached(x[1]))
        return loss.reshape(1)

    def detached(self, target: Any) -> Any:
        """The target, which gets no gradient."""
        return target.detach() if isinstance(target, torch.Tensor) else [self.detached(item) for item in target]


@converts("nn.ModuleFromCriterion", traits=Traits(criterion=True))
def module_from_criterion(layer: Layer) -> ModuleFromCriterion:
    """nn.ModuleFromCriterion(criterion)"""
    return ModuleFromCriterion(layer.module("criterion"))
