"""A converted module as TorchScript, which wants to know of each value whether it is a tensor or a list."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import fx, nn

from ..model.registry import form_of
from ..model.running.recorded_calls import TypedTracer
from ..source.forms import annotated, is_chain, stock_layer, structure_of
from ..source.input_tree import Tree, tree_of, type_taken

#: What torch.jit.script calls, where a module has it, for what to compile in its place.
_ASKED = "__prepare_scriptable__"


def make_scriptable(network: nn.Module) -> None:
    """Lets torch.jit.script compile a converted module: its containers say what they take and give."""
    for module in network.modules():
        if is_chain(module) or structure_of(module).flow:
            module.__dict__[_ASKED] = partial(typed, module)


def typed(module: nn.Module) -> nn.Module:
    """A module that runs the same layers, and says the type of what it takes.

    Raises:
        torch.fx.proxy.TraceError: what its layers do depends on the numbers or the sizes of an input.
    """
    tree = tree_of(module)
    graph = _Tracer(tree).trace(module)
    made = fx.GraphModule(module, graph, type(module).__name__)
    made.training = module.training  # not that of its layers, each of which has its own
    types: dict[Any, str] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            node.type = _type(tree) if tree is not None else _TYPES.get(type_taken(module), torch.Tensor)
            types[node] = "Tensor" if node.type is torch.Tensor else "list[Tensor]"
        elif node.op == "call_module":
            layer = made.get_submodule(node.target)
            plain = _typed_layer(layer, _type_of(node.args[0], types))
            if plain is not layer:
                made.set_submodule(node.target, plain)
            types[node] = annotated(type(plain).forward)
        elif node.op == "output":
            node.args, node.type = (_given(node.args[0]),), None
    made.recompile()
    # its class is its own; torch.jit.script reads the constructor, and warns of what it finds in fx.GraphModule's
    type.__setattr__(type(made), "__init__", nn.Module.__init__)
    return made


_TYPES: dict[str, Any] = {"list[Tensor]": list[torch.Tensor]}


def _type_of(value: Any, types: dict[Any, str]) -> str:
    """What a layer is given, as an annotation."""
    if isinstance(value, (list, tuple)):
        return f"list[{_type_of(value[0], types)}]" if value else "list[Tensor]"
    return types.get(value, "Tensor")


def _typed_layer(layer: nn.Module, taken: str) -> nn.Module:
    """What is compiled in place of a layer that takes, or may take, both a tensor and a list."""
    if structure_of(layer).nothing:
        return nn.Identity()
    lstm = None if taken != "Tensor" else stock_layer("recurrent", layer)
    if lstm is not None:
        return FirstResult(lstm)
    form = form_of("typed", layer)
    return (form(layer, taken) if form else None) or layer


class FirstResult(nn.Module):
    """The first of what a layer gives, such as the outputs of an LSTM without its state."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The first result, for x."""
        y: torch.Tensor = self.module(x)[0]
        return y


class _Tracer(TypedTracer):
    """Follows containers into their layers, with a list of values for a table of known members."""

    def __init__(self, tree: Tree) -> None:
        super().__init__()
        self.tree = tree

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) is not nn.Identity and super().is_leaf_module(m, module_qualified_name)

    def knows(self, module: nn.Module, args: tuple[Any, ...]) -> bool:
        """Lists of lists are made flat here, where they hold tensors only."""
        return form_of("flattens", module) is not None and all(map(self._is_tensor, _values(args)))

    def _is_tensor(self, value: fx.Proxy) -> bool:
        if value.node.op != "call_module":
            return value.node.op == "call_function"  # an entry of a list
        assert isinstance(self.root, nn.Module)
        return not annotated(type(self.root.get_submodule(str(value.node.target))).forward).startswith(("list", "Any"))

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> Any:
        function, (root, given) = super().create_args_for_root(root_fn, is_module, concrete_args)
        return function, [root, _members(given, self.tree)]


def _values(value: Any) -> list[Any]:
    return [item for part in value for item in _values(part)] if isinstance(value, (list, tuple)) else [value]


def _members(value: Any, tree: Tree) -> Any:
    return value if tree is None else [_members(value[i], part) for i, part in enumerate(tree)]


def _type(tree: Tree) -> Any:
    """The type of a table of known members: a list, or where they are of several types a tuple."""
    if tree is None:
        return torch.Tensor
    if all(part is None for part in tree):
        return list[torch.Tensor]
    return tuple[tuple(_type(part) for part in tree)]  # type: ignore[misc]


def _given(value: Any) -> Any:
    """What a network gives: a list that holds lists becomes a tuple, as TorchScript wants it."""
    if not isinstance(value, (list, tuple)):
        return value
    parts = [_given(part) for part in value]
    return tuple(parts) if any(isinstance(part, (list, tuple)) for part in parts) else parts
