"""Layers of torchmigrate's own that do one thing to what they get, as the expression that their method returns."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

from torch import nn

from ...model.registry import ENTRY_POINTS, form_of
from ..expressions import Value, Variable, replaced, tree_of, variables
from ..writing.folding import Folder, folded, return_at_once

#: Longest expression that stands in place of a call.
_LONGEST = 80


def expression_of(module: nn.Module, value: Value) -> ast.expr | None:
    """What a layer without tensors makes of a value; None if that is no single expression.

    Args:
        module: the layer.
        value: a variable, or a list of variables.
    """
    cls = type(module)
    if not cls.__module__.startswith(f"{ENTRY_POINTS}.") or cls.__mro__[1] is not nn.Module:
        return None
    if any(True for _ in module.state_dict()) or any(True for _ in module.children()):
        return None
    once = isinstance(value, Variable) and len(value.values) == 1  # no stock layer is tried then
    if any(form_of(form, module) for form in ("plain", "recurrent", "loop", *(() if once else ("stock",)))):
        return None
    source = textwrap.dedent(inspect.getsource(cls.forward))
    method = ast.parse(source).body[0]
    if "#" in source or not isinstance(method, ast.FunctionDef) or len(method.args.args) != 2 or method.decorator_list:
        return None  # a comment says what an expression would not
    name = method.args.args[1].arg
    method.body = [_Sizes(name, value).visit(statement) for statement in method.body]
    folded(method, {}, {n: v for n, v in vars(module).items() if n[0] != "_" and n != "training" and _is_plain(v)})
    return_at_once(method)
    made = _returned(method.body, {name: value})
    return None if made is None or _length(made) > _LONGEST else made


class _Sizes(ast.NodeTransformer):
    """Puts in how many dimensions a tensor has, and how long a list is."""

    def __init__(self, name: str, value: Value) -> None:
        self.name, self.value = name, value

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """`x.dim()`, `x[0].dim()`, `len(x)`."""
        self.generic_visit(node)
        match node:
            case ast.Call(ast.Attribute(of, "dim"), []):
                found = self._named(of)
                return ast.Constant(found.dims) if isinstance(found, Variable) and found.dims is not None else node
            case ast.Call(ast.Name("len"), [of]):
                found = self._named(of)
                return ast.Constant(len(found)) if isinstance(found, list) else node
        return node

    def _named(self, node: ast.expr) -> Value:
        match node:
            case ast.Name(self.name):
                return self.value
            case ast.Subscript(ast.Name(self.name), ast.Constant(int() as place)) if isinstance(self.value, list):
                return self.value[place] if place < len(self.value) else None
        return None


def _returned(body: list[ast.stmt], known: dict[str, Value]) -> ast.expr | None:
    """What statements return, in terms of what is known; None if they do more than that."""
    for place, statement in enumerate(body):
        match statement:
            case ast.Expr(ast.Constant()):
                continue
            case ast.Assign([ast.Tuple(targets)], ast.Name(whole)) if isinstance(known.get(whole), list):
                names = [target.id for target in targets if isinstance(target, ast.Name)]
                if len(names) != len(known[whole]):
                    return None
                known = {**known, **dict(zip(names, known[whole], strict=True))}
            case ast.Assign([ast.Name(name)], value) | ast.AnnAssign(ast.Name(name), value=ast.expr() as value):
                later = [node for other in body[place + 1 :] for node in ast.walk(other)]
                if sum(isinstance(node, ast.Name) and node.id == name for node in later) != 1:
                    return None
                made = _written(value, known)
                if made is None:
                    return None
                known = {**known, name: made}
            case ast.Return(ast.expr() as value):
                return _written(value, known)
            case _:
                return None
    return None


def _written(tree: ast.expr, known: dict[str, Value]) -> ast.expr | None:
    """An expression in terms of what is known; None if it reads anything else, or changes a tensor."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(name) if name not in {*known, *_MODULES}:
                return None
            case ast.Attribute(attr=name) if name.endswith("_"):
                return None
            case ast.Lambda() | ast.comprehension() | ast.Starred():
                return None
    values = {name: tree_of(value) for name, value in known.items()}
    functional = {"functional": ast.Name("F", ast.Load())}
    found: ast.expr = Folder({}, {}).visit(_Members().visit(replaced(tree, {**values, **functional})))
    return found


#: Modules that model.py has under the names that converters give them.
_MODULES = {"torch", "F", "functional", "float"}


class _Members(ast.NodeTransformer):
    """Takes the members of lists that are written out."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        """`[a, b][0]`."""
        self.generic_visit(node)
        match node:
            case ast.Subscript(ast.List(members), ast.Constant(int() as place)) if place < len(members):
                return members[place]
        return node


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def _length(tree: ast.expr) -> int:
    """How long an expression is, with short names for its variables."""
    names = {variable: ast.Name("x2") for variable in variables(tree)}
    return len(ast.unparse(ast.fix_missing_locations(replaced(tree, names))))
