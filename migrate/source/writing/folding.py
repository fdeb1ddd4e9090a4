"""Python as it reads where some values are known: branches that are never taken, and names that are constant, go."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Mapping
from typing import Any


def _is_in(value: Any, values: Any) -> bool:
    return value in values


def _is_not_in(value: Any, values: Any) -> bool:
    return value not in values


_COMPARISONS: dict[type[ast.cmpop], Any] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: _is_in,
    ast.NotIn: _is_not_in,
}
_ARITHMETIC: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.FloorDiv: operator.floordiv,
}

#: A number is written as what it is the result of, if it is longer than that.
_LONGEST = 6


class Folder(ast.NodeTransformer):
    """Puts constants in place of names, and works out what follows.

    Args:
        names: name -> its value.
        attributes: attribute of `self` -> its value.
    """

    def __init__(self, names: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
        self.names = names
        self.attributes = attributes

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """A name whose value is known."""
        known = isinstance(node.ctx, ast.Load) and node.id in self.names
        return constant(self.names[node.id]) if known else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """An attribute of `self` whose value is known."""
        if isinstance(node.value, ast.Name) and node.value.id == "self" and isinstance(node.ctx, ast.Load):
            return constant(self.attributes[node.attr]) if node.attr in self.attributes else node
        self.generic_visit(node)
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        """`not` of what is known."""
        self.generic_visit(node)
        if isinstance(node.op, ast.Not):
            node.operand = _tested(node.operand)
        known, value = value_of(node.operand)
        return ast.Constant(not value) if known and isinstance(node.op, ast.Not) else node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        """`and` and `or`, of which some operands are known."""
        self.generic_visit(node)
        stops = isinstance(node.op, ast.Or)
        kept: list[ast.expr] = []
        for place, operand in enumerate(node.values):
            known, value = value_of(operand)
            if known and bool(value) == stops:  # those behind it are not asked
                kept.append(operand)
                break
            if not known or place == len(node.values) - 1:
                kept.append(operand)
        return kept[0] if len(kept) == 1 else ast.BoolOp(node.op, kept)

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        """A comparison of what is known."""
        self.generic_visit(node)
        compare = _COMPARISONS.get(type(node.ops[0])) if len(node.ops) == 1 else None
        (left, a), (right, b) = value_of(node.left), value_of(node.comparators[0])
        if not (compare and left and right):
            return node
        try:
            return ast.Constant(bool(compare(a, b)))
        except TypeError:  # None beside a number, behind an `is not None` that ends the condition
            return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        """Arithmetic of what is known, if the result reads as well."""
        self.generic_visit(node)
        match node:
            case ast.BinOp(ast.Tuple(elts), ast.Mult(), ast.Constant(int() as times)):
                return ast.Tuple(elts * times, ast.Load())
            case ast.BinOp(ast.Tuple(elts), ast.Add(), ast.Tuple(others)):
                return ast.Tuple([*elts, *others], ast.Load())
            case ast.BinOp(ast.List(elts), ast.Add(), ast.List(others)):
                return ast.List([*elts, *others], ast.Load())
        compute = _ARITHMETIC.get(type(node.op))
        (left, a), (right, b) = value_of(node.left), value_of(node.right)
        if compute and left and right and isinstance(a, (int, float)) and isinstance(b, (int, float)):
            try:
                result = compute(a, b)
            except ArithmeticError:
                return node
            return ast.Constant(result) if len(repr(result)) <= _LONGEST else node
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """A call with the members of a known list, and a product of known numbers."""
        self.generic_visit(node)
        match node:
            case ast.Call(ast.Attribute(ast.Name("math"), "prod"), [of], []):
                known, numbers = value_of(of)
                return constant(math.prod(numbers)) if known else node
        spread = [arg.value.elts if _is_spread(arg) else [arg] for arg in node.args]  # type: ignore[attr-defined]
        node.args = [arg for group in spread for arg in group]
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        """A choice that is known."""
        self.generic_visit(node)
        node.test = _tested(node.test)
        known, value = value_of(node.test)
        return (node.body if value else node.orelse) if known else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        """A text with known parts."""
        self.generic_visit(node)
        parts: list[ast.expr] = []
        for part in node.values:
            match part:
                case ast.FormattedValue(ast.Constant(int() | str() as value), -1, None):
                    part = ast.Constant(str(value))
            if isinstance(part, ast.Constant) and parts and isinstance(last := parts[-1], ast.Constant):
                parts[-1] = ast.Constant(str(last.value) + str(part.value))
            else:
                parts.append(part)
        return ast.JoinedStr(parts)

    def visit_If(self, node: ast.If) -> Any:
        """A branch that is always, or never, taken."""
        self.generic_visit(node)
        node.test = _tested(node.test)
        known, value = value_of(node.test)
        return (node.body if value else node.orelse) if known else node


def _tested(node: ast.expr) -> ast.expr:
    """A condition without the operands that change nothing, where only its truth is asked."""
    if not isinstance(node, ast.BoolOp):
        return node
    neutral = isinstance(node.op, ast.And)
    kept = [operand for operand in node.values if not (isinstance(operand, ast.Constant) and operand.value is neutral)]
    return kept[0] if len(kept) == 1 else ast.BoolOp(node.op, kept) if kept else ast.Constant(neutral)


def _is_spread(node: ast.expr) -> bool:
    return isinstance(node, ast.Starred) and isinstance(node.value, (ast.List, ast.Tuple))


def constant(value: Any) -> ast.expr:
    """A value as an expression."""
    endless = isinstance(value, float) and value - value != 0
    return ast.parse(f'float("{value}")' if endless else repr(value), mode="eval").body


def value_of(node: ast.expr) -> tuple[bool, Any]:
    """Is the value of an expression known, and what is it?"""
    match node:
        case ast.Constant(value):
            return True, value
        case ast.Call(ast.Name("float"), [ast.Constant(str() as text)], []):
            return True, float(text)
        case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as value)):
            return True, -value
        case ast.List() | ast.Tuple():
            parts = [value_of(item) for item in node.elts]
            return all(known for known, _ in parts), [value for _, value in parts]
    return False, None


def folded(method: ast.FunctionDef, names: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    """Puts constants into a method, in place, with all that follows."""
    known, before = dict(names), ast.dump(method)
    while True:
        folder = Folder(known, attributes)
        method.body = _reachable([found for statement in method.body for found in _several(folder.visit(statement))])
        known |= _locals(method)
        after = ast.dump(method)
        if after == before:
            break
        before = after
    method.body = [s for s in method.body if not _assigns(s, known)] or [ast.Pass()]


def return_at_once(method: ast.FunctionDef) -> None:
    """Returns what is computed, instead of a variable whose type is said for a checker."""
    match method.body[-2:]:
        case [ast.AnnAssign(ast.Name(name), value=ast.expr() as value), ast.Return(ast.Name(returned))] if (
            name == returned
        ):
            method.body[-2:] = [ast.Return(value)]


def _several(found: Any) -> list[ast.stmt]:
    return found if isinstance(found, list) else [found]


def _reachable(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements up to the first that leaves the method."""
    for place, statement in enumerate(body):
        if isinstance(statement, (ast.Return, ast.Raise)):
            return body[: place + 1]
    return body


def _locals(method: ast.FunctionDef) -> dict[str, Any]:
    """The variables that are given a value once, which is known and plain."""
    stored = [n.id for n in ast.walk(method) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    found = {}
    for statement in method.body:
        match statement:
            case ast.Assign([ast.Name(name)], ast.Constant(bool() | int() | float() | None as value)):
                if stored.count(name) == 1:
                    found[name] = value
    return found


def _assigns(statement: ast.stmt, known: Mapping[str, Any]) -> bool:
    """Does a statement do no more than to give a variable a value that stands wherever that was read?"""
    match statement:
        case ast.Assign([ast.Name(name)], ast.Constant()):
            return name in known
    return False
