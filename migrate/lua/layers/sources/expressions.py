"""Writes a graph as statements of Python. They are made as trees; `ast.unparse` sets the parentheses."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ..graph import CHILD, FIELD, GRADIENT, INPUT, ITEM, VARIABLE, Node, nodes_in, ordered
from .lockstep import Explanations, Unexplained, Varying, number, shapes_of
from .loops import CARRIED, LOOP, TURN, free_levels
from .operations import (
    COMPARISONS,
    FUNCTIONS,
    KEYWORDS,
    METHODS,
    OF_MODULES,
    OPERATORS,
    PLAIN,
    REVERSED,
    VARIABLES,
    WORDS,
)

_DTYPES = {"int64": "long", "bool": "bool", "uint8": "byte", "int32": "int", "float64": "double", "float32": "float"}
#: The numbers of turns of loops, from the innermost.
_TURNS = ("i", "j", "k", "m", "n")
#: Longer functions are not written in one expression.
_LONGEST_LAMBDA = 400
#: Longer expressions get a name of their own.
_LONGEST = 88


class Body:
    """The statements of one graph.

    Args:
        output: the merged graph.
        inputs: the variables that hold the tensors of the input.
        fields: path of a tensor of the object -> attribute.
        children: path of a module in it -> attribute.
        explanations: what numbers that change are.
        dtype: the type of the layer's numbers, such as "float32".

    Raises:
        Unexplained: something can't be written.
    """

    def __init__(
        self,
        output: Any,
        inputs: Sequence[str],
        fields: Callable[[tuple[Any, ...]], str],
        children: Callable[[tuple[Any, ...]], str],
        explanations: Explanations,
        dtype: str,
    ) -> None:
        self._inputs = inputs
        self._fields = fields
        self._children = children
        self._explanations = explanations
        self._dtype = dtype
        self._written: dict[int, ast.expr] = {}
        self._names: Counter[str] = Counter()
        self._turns: dict[int, str] = {}
        self._states: dict[int, list[str]] = {}
        self._active: frozenset[int] = frozenset()
        self.statements: list[ast.stmt] = []
        self._all = ordered(output)
        used: Counter[int] = Counter(id(source) for node in self._all for source in node.sources())
        used.update(id(node) for node in nodes_in(output))
        for node in self._all:
            # what is written comes from the process of the Lua: nothing of it is taken as text of Python
            if node.dtype not in _DTYPES and node.dtype != "":
                raise Unexplained(f"numbers of the type {node.dtype!r} can't be written")
            if odd := {name for name in node.kwargs if node.op not in OF_MODULES or name[:1] != "_"} - KEYWORDS - PLAIN:
                raise Unexplained(f"the argument {min(odd)!r} of {node.op!r} can't be written")
            if node.op in (INPUT, FIELD):
                self._written[id(node)] = self._expression(node)
        self._used = used
        self._of_variables: set[int] = set()
        self._levels = free_levels(output)
        self._write(self._all, frozenset())
        self.statements.append(ast.Return(self._value(output)))
        self.gives_list = not isinstance(output, Node)

    def _write(self, nodes: Sequence[Node], levels: frozenset[int]) -> None:
        """Writes the statements of nodes outside of loops, or in loops of some levels."""
        for node in nodes:
            if id(node) in self._written or not self._levels[id(node)] <= levels:
                continue
            expression = self._expression(node)
            if node.op == VARIABLE or (
                node.op != GRADIENT and any(id(source) in self._of_variables for source in node.sources())
            ):
                # a part of a lambda: it has no statements of its own
                self._of_variables.add(id(node))
                self._written[id(node)] = expression
                if len(ast.unparse(expression)) > _LONGEST_LAMBDA:
                    raise Unexplained("a module that it runs backward computes too much")
                continue
            several = self._used[id(node)] > 1 and not (node.op in (ITEM, TURN, CARRIED) or _is_small(expression))
            if several or len(ast.unparse(expression)) > _LONGEST or (node.op == CHILD and self._used[id(node)] > 1):
                expression = self._named(node, expression)
            self._written[id(node)] = expression

    def _loop(self, node: Node) -> ast.expr:
        """A loop: a list of its parts, which are joined behind it."""
        join, axis, count, backwards, level, part, first, following = node.args
        if join not in ("stack", "cat"):
            raise Unexplained(f"the operation {join!r} can't be written")
        outside, inside = self.statements, []  # type: tuple[list[ast.stmt], list[ast.stmt]]
        parts = self._new_name("parts")
        outside.append(ast.Assign([ast.Name(parts)], ast.List([]), lineno=0))
        turn, names = _TURNS[(level - 1) % len(_TURNS)], [self._new_name("state") for _ in first]
        for name, start in zip(names, first, strict=True):
            outside.append(ast.Assign([ast.Name(name)], self._value(start), lineno=0))
        self._turns[level], self._states[level] = turn, names
        self.statements = inside
        body = ordered([part, *following])
        before, self._active = self._active, self._active | {level}
        self._write(body, self._active)
        self._active = before
        inside.append(ast.Expr(_call(ast.Name(parts), "append", self._value(part))))
        if names:
            targets: list[ast.expr] = [ast.Name(name) for name in names]
            values = [self._value(value) for value in following]
            one = len(names) == 1
            target = targets[0] if one else ast.Tuple(targets)
            inside.append(ast.Assign([target], values[0] if one else ast.Tuple(values), lineno=0))
        self.statements = outside
        counted = ast.Call(ast.Name("range"), [self._value(count)], [])
        outside.append(ast.For(ast.Name(turn), counted, inside, [], lineno=0))
        given: ast.expr = ast.Name(parts)
        if backwards:
            given = ast.Subscript(given, ast.Slice(step=ast.UnaryOp(ast.USub(), ast.Constant(1))))
        return ast.Call(ast.Attribute(ast.Name("torch"), join), [given, self._value(axis)], [])

    def _new_name(self, stem: str) -> str:
        self._names[stem] += 1
        return stem if self._names[stem] == 1 else f"{stem}{self._names[stem]}"

    def _named(self, node: Node, expression: ast.expr) -> ast.expr:
        name = self._new_name(VARIABLES.get(node.op, "y"))
        self.statements.append(ast.Assign([ast.Name(name)], expression, lineno=0))
        return ast.Name(name)

    def _value(self, value: Any) -> ast.expr:
        """An argument."""
        if isinstance(value, Node):
            return self._written[id(value)]
        if isinstance(value, Varying):
            return self._explanations.explain(value.values)
        if isinstance(value, (list, tuple)):
            return ast.List([self._value(part) for part in value])
        if value is None:
            return ast.Constant(None)
        if isinstance(value, str):
            raise Unexplained(f"an argument {value!r} can't be written")
        return number(value)

    def _expression(self, node: Node) -> ast.expr:
        args = list(node.args)
        if node.op == INPUT:
            place, run = args
            if run != 0:
                raise Unexplained("it keeps state: what it gives depends on what it was run on before")
            return ast.Name(self._inputs[place])
        if node.op == FIELD:
            return ast.Attribute(ast.Name("self"), self._fields(tuple(args)))
        if node.op == CHILD:
            return ast.Call(ast.Attribute(ast.Name("self"), self._children(tuple(args[0]))), [self._value(args[1])], [])
        if node.op == VARIABLE:
            return ast.Name(self._new_name("given"))
        if node.op == LOOP:
            return self._loop(node)
        if node.op == CARRIED:
            return ast.Name(self._states[args[0]][args[1]])
        if node.op == TURN:
            return self._turn(*args)
        if node.op == GRADIENT:
            return self._gradient(node)
        if node.op == ITEM and _is_one_gradient(args[0]):
            return self._value(args[0])
        if node.op == ITEM:
            return ast.Subscript(self._value(args[0]), ast.Constant(int(args[1])))
        if node.op in COMPARISONS and len(args) == 2 and not node.kwargs:
            return ast.Compare(self._value(args[0]), [COMPARISONS[node.op]()], [self._value(args[1])])
        if node.op in REVERSED and len(args) == 2 and not node.kwargs:
            return ast.BinOp(self._value(args[1]), REVERSED[node.op](), self._value(args[0]))
        if node.op in OPERATORS and len(args) == 2 and not node.kwargs:
            return ast.BinOp(self._value(args[0]), OPERATORS[node.op](), self._value(args[1]))
        if node.op == "to":
            return self._converted(node)
        if node.op == "full":
            return self._full(node)
        if node.op in ("zeros", "ones", "eye", "arange", "tensor"):
            return self._constant(node)
        if node.op == "linalg_vector_norm":
            callee: ast.expr = ast.Attribute(ast.Attribute(ast.Name("torch"), "linalg"), "vector_norm")
            return ast.Call(callee, [self._value(arg) for arg in args], self._keywords(node))
        if node.op == "div":
            return self._function(node, keep_text=("rounding_mode",))
        if node.op == "select" and isinstance(args[1], int) and 0 <= args[1] <= 2:
            return self._selected(node)
        if node.op in ("reshape", "expand"):
            return ast.Call(ast.Attribute(self._value(args[0]), node.op), self._size(node, args[1]), [])
        if node.op in METHODS and isinstance(args[0], Node):
            return ast.Call(
                ast.Attribute(self._value(args[0]), node.op), [self._value(a) for a in args[1:]], self._keywords(node)
            )
        if node.op in FUNCTIONS:
            return self._function(node)
        if node.op in OF_MODULES:
            return self._of_module(node)
        raise Unexplained(f"the operation {node.op} can't be written")

    def _turn(self, level: int, factor: Any, added: Any) -> ast.expr:
        """The number of a turn times a factor, plus a number."""
        made: ast.expr = ast.Name(self._turns[level])
        if isinstance(factor, Varying) or factor != 1:
            made = ast.BinOp(made, ast.Mult(), self._value(factor))
        if isinstance(added, int) and added < 0:
            return ast.BinOp(made, ast.Sub(), ast.Constant(-added))
        return made if added == 0 else ast.BinOp(made, ast.Add(), self._value(added))

    def _gradient(self, node: Node) -> ast.expr:
        """The gradients of what a function gives."""
        outputs, variables, at, grads = node.args
        names = [ast.arg(self._value(variable).id) for variable in variables]  # type: ignore[attr-defined]
        body = self._value(outputs[0]) if len(outputs) == 1 else ast.Tuple([self._value(part) for part in outputs])
        function = ast.Lambda(ast.arguments([], names, None, [], [], None, []), body)
        of = ast.Attribute(ast.Name("torch"), "func")
        if not grads:
            places = [] if len(at) == 1 else [ast.Tuple([ast.Constant(place) for place in range(len(at))])]
            made = ast.Call(ast.Attribute(of, "grad"), [function, *places], [])
            return ast.Call(made, [self._value(part) for part in at], [])
        made = ast.Call(ast.Attribute(of, "vjp"), [function, *[self._value(part) for part in at]], [])
        given = self._value(grads[0]) if len(grads) == 1 else ast.Tuple([self._value(part) for part in grads])
        return ast.Call(ast.Subscript(made, ast.Constant(1)), [given], [])

    def _keywords(self, node: Node, keep_text: Sequence[str] = ()) -> list[ast.keyword]:
        made = []
        for name, value in node.kwargs.items():
            kept = name in keep_text and value in ("trunc", "floor")
            made.append(ast.keyword(name, ast.Constant(value) if kept else self._value(value)))
        return made

    def _function(self, node: Node, keep_text: Sequence[str] = ()) -> ast.expr:
        callee = ast.Attribute(ast.Name("torch"), node.op)
        return ast.Call(callee, [self._value(arg) for arg in node.args], self._keywords(node, keep_text))

    def _of_module(self, node: Node) -> ast.expr:
        """A function of nn.functional."""

        def one(value: Any) -> ast.expr:
            return ast.Constant(value) if isinstance(value, str) and value in WORDS else self._value(value)

        kwargs = {name: value for name, value in node.kwargs.items() if not name.startswith("_") and value is not None}
        if kwargs.get("inplace") is True:
            raise Unexplained(f"{node.op} works in place")
        callee = ast.Attribute(ast.Attribute(ast.Name("nn"), "functional"), node.op)
        keywords = [ast.keyword(name, one(value)) for name, value in kwargs.items() if name != "inplace"]
        return ast.Call(callee, [one(arg) for arg in node.args], keywords)

    def _size(self, node: Node, given: Any) -> list[ast.expr]:
        """The arguments for a size: that of a tensor of the input where it is the same."""
        for other in self._all:
            if other.op == INPUT and shapes_of(other) == shapes_of(node) and len(set(shapes_of(node))) > 1:
                return [ast.Attribute(self._written[id(other)], "shape")]
        return [self._value(part) for part in given] or [ast.Tuple([])]

    def _selected(self, node: Node) -> ast.expr:
        """`x[0]` or `x[:, 0]`."""
        value, axis, place = node.args
        if isinstance(place, int) and place < 0:
            raise Unexplained("a place before the first one is read")
        index = self._value(place)
        whole: list[ast.expr] = [ast.Slice() for _ in range(axis)]
        return ast.Subscript(self._value(value), ast.Tuple([*whole, index]) if whole else index)

    def _converted(self, node: Node) -> ast.expr:
        source, dtype = self._value(node.args[0]), node.args[1]
        if dtype == self._dtype:
            wanted = ast.Attribute(ast.Name(self._inputs[0]), "dtype")
            return ast.Call(ast.Attribute(source, "to"), [wanted], [])
        if dtype not in _DTYPES:
            raise Unexplained(f"numbers of the type {dtype} can't be written")
        return ast.Call(ast.Attribute(source, _DTYPES[dtype]), [], [])

    def _full(self, node: Node) -> ast.expr:
        if node.dtype not in (self._dtype, "int64", "bool", "uint8", "float64"):
            raise Unexplained(f"numbers of the type {node.dtype} can't be written")
        size = self._size(node, node.args[0])
        known = isinstance(size[0], ast.Tuple) or (isinstance(size[0], ast.Attribute) and size[0].attr == "shape")
        whole = size[0] if known else ast.Tuple(size)
        return ast.Call(
            ast.Attribute(ast.Name(self._inputs[0]), "new_full"),
            [whole, self._value(node.args[1])],
            self._type_of(node),
        )

    def _type_of(self, node: Node) -> list[ast.keyword]:
        if node.dtype == self._dtype:
            return []
        return [ast.keyword("dtype", ast.Attribute(ast.Name("torch"), node.dtype))]

    def _constant(self, node: Node) -> ast.expr:
        """Constants, on the device of the input."""
        if node.op == "tensor":
            values = node.args[0]
            if any(isinstance(part, Varying) for part in _flat(values)):
                raise Unexplained("a table of numbers changes with the sizes of its input")
            made = ast.Call(ast.Attribute(ast.Name(self._inputs[0]), "new_tensor"), [self._value(values)], [])
            made.keywords = self._type_of(node)
            return made
        dtype = ast.Attribute(ast.Name(self._inputs[0]), "dtype")
        typed: ast.expr = dtype if node.dtype == self._dtype else ast.Attribute(ast.Name("torch"), node.dtype)
        keywords = [
            ast.keyword("dtype", typed),
            ast.keyword("device", ast.Attribute(ast.Name(self._inputs[0]), "device")),
        ]
        return ast.Call(ast.Attribute(ast.Name("torch"), node.op), [self._value(arg) for arg in node.args], keywords)


def _is_one_gradient(node: Any) -> bool:
    """Is it the gradient of a loss for one tensor, which `torch.func.grad` gives without a tuple?"""
    return isinstance(node, Node) and node.op == GRADIENT and not node.args[3] and len(node.args[1]) == 1


def _call(value: ast.expr, name: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(ast.Attribute(value, name), list(arguments), [])


def _flat(value: Any) -> list[Any]:
    return [one for part in value for one in _flat(part)] if isinstance(value, (list, tuple)) else [value]


def _is_small(expression: ast.expr) -> bool:
    return isinstance(expression, (ast.Name, ast.Attribute, ast.Constant))
