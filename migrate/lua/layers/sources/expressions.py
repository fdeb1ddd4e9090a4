"""Writes a graph as statements of Python. They are made as trees; `ast.unparse` sets the parentheses."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ..graph import CHILD, FIELD, INPUT, ITEM, Node, nodes_in, ordered
from .lockstep import Explanations, Unexplained, Varying, number, shapes_of

_OPERATORS: dict[str, Any] = {
    "add": ast.Add, "sub": ast.Sub, "mul": ast.Mult, "div": ast.Div, "pow": ast.Pow, "mm": ast.MatMult,
    "mv": ast.MatMult, "bmm": ast.MatMult, "matmul": ast.MatMult, "floor_divide": ast.FloorDiv,
}  # fmt: skip
_COMPARISONS: dict[str, Any] = {
    "gt": ast.Gt, "ge": ast.GtE, "lt": ast.Lt, "le": ast.LtE, "eq": ast.Eq, "ne": ast.NotEq,
}  # fmt: skip
#: Written as methods of their first argument.
_METHODS = frozenset(
    [
        "abs",
        "acos",
        "asin",
        "atan",
        "ceil",
        "cos",
        "cosh",
        "exp",
        "floor",
        "log",
        "log1p",
        "lgamma",
        "neg",
        "rsqrt",
        "sigmoid",
        "sign",
        "sin",
        "sinh",
        "sqrt",
        "tan",
        "tanh",
        "trunc",
        "reciprocal",
        "clamp",
        "sum",
        "mean",
        "prod",
        "std",
        "var",
        "max",
        "min",
        "cumsum",
        "cumprod",
        "transpose",
        "t",
        "permute",
        "squeeze",
        "unsqueeze",
        "expand",
        "reshape",
        "narrow",
        "select",
        "repeat",
        "unfold",
        "gather",
        "index_select",
        "masked_fill",
        "scatter",
        "topk",
        "sort",
        "median",
        "kthvalue",
        "index_add",
        "index_copy",
        "index_fill",
        "masked_scatter",
        "tril",
        "triu",
        "diag",
        "mode",
        "renorm",
        "logical_not",
    ]
)
#: Written as functions of torch.
_FUNCTIONS = frozenset(
    [
        "cat",
        "stack",
        "maximum",
        "minimum",
        "where",
        "remainder",
        "fmod",
        "atan2",
        "outer",
        "slice_scatter",
        "select_scatter",
        "dot",
        "addmm",
    ]
)
_DTYPES = {"int64": "long", "bool": "bool", "uint8": "byte", "int32": "int", "float64": "double", "float32": "float"}
_VARIABLES = {
    "sum": "total", "mean": "mean", "mm": "product", "cat": "joined", "std": "deviation", "sqrt": "root",
    "exp": "power", "max": "largest", "min": "smallest", "gt": "mask", "ge": "mask", "lt": "mask", "le": "mask",
    "eq": "mask", CHILD: "inner", "topk": "largest", "sort": "sorted_values", "narrow": "part", "select": "part",
}  # fmt: skip
#: Arguments that are given by name.
_KEYWORDS = frozenset(
    [
        "dim",
        "keepdim",
        "descending",
        "stable",
        "largest",
        "sorted",
        "correction",
        "min",
        "max",
        "rounding_mode",
        "dtype",
    ]
)
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
        self.statements: list[ast.stmt] = []
        self._all = ordered(output)
        used: Counter[int] = Counter(id(source) for node in self._all for source in node.sources())
        used.update(id(node) for node in nodes_in(output))
        for node in self._all:
            # what is written comes from the process of the Lua: nothing of it is taken as text of Python
            if node.dtype not in _DTYPES and node.dtype != "":
                raise Unexplained(f"numbers of the type {node.dtype!r} can't be written")
            if odd := node.kwargs.keys() - _KEYWORDS:
                raise Unexplained(f"the argument {min(odd)!r} of {node.op!r} can't be written")
            if node.op in (INPUT, FIELD):
                self._written[id(node)] = self._expression(node)
        for node in self._all:
            if node.op in (INPUT, FIELD):
                continue
            expression = self._expression(node)
            several = used[id(node)] > 1 and not (node.op == ITEM or _is_small(expression))
            if several or len(ast.unparse(expression)) > _LONGEST or (node.op == CHILD and used[id(node)] > 1):
                expression = self._named(node, expression)
            self._written[id(node)] = expression
        self.statements.append(ast.Return(self._value(output)))
        self.gives_list = not isinstance(output, Node)

    def _named(self, node: Node, expression: ast.expr) -> ast.expr:
        stem = _VARIABLES.get(node.op, "y")
        self._names[stem] += 1
        name = stem if self._names[stem] == 1 else f"{stem}{self._names[stem]}"
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
        if node.op == ITEM:
            return ast.Subscript(self._value(args[0]), ast.Constant(int(args[1])))
        if node.op in _COMPARISONS and len(args) == 2 and not node.kwargs:
            return ast.Compare(self._value(args[0]), [_COMPARISONS[node.op]()], [self._value(args[1])])
        if node.op == "rsub" and len(args) == 2 and not node.kwargs:
            return ast.BinOp(self._value(args[1]), ast.Sub(), self._value(args[0]))
        if node.op in _OPERATORS and len(args) == 2 and not node.kwargs:
            return ast.BinOp(self._value(args[0]), _OPERATORS[node.op](), self._value(args[1]))
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
        if node.op in ("reshape", "expand"):
            return ast.Call(ast.Attribute(self._value(args[0]), node.op), self._size(node, args[1]), [])
        if node.op in _METHODS and isinstance(args[0], Node):
            return ast.Call(
                ast.Attribute(self._value(args[0]), node.op), [self._value(a) for a in args[1:]], self._keywords(node)
            )
        if node.op in _FUNCTIONS:
            return self._function(node)
        raise Unexplained(f"the operation {node.op} can't be written")

    def _keywords(self, node: Node, keep_text: Sequence[str] = ()) -> list[ast.keyword]:
        made = []
        for name, value in node.kwargs.items():
            kept = name in keep_text and value in ("trunc", "floor")
            made.append(ast.keyword(name, ast.Constant(value) if kept else self._value(value)))
        return made

    def _function(self, node: Node, keep_text: Sequence[str] = ()) -> ast.expr:
        callee = ast.Attribute(ast.Name("torch"), node.op)
        return ast.Call(callee, [self._value(arg) for arg in node.args], self._keywords(node, keep_text))

    def _size(self, node: Node, given: Any) -> list[ast.expr]:
        """The arguments for a size: that of a tensor of the input where it is the same."""
        for other in self._all:
            if other.op == INPUT and shapes_of(other) == shapes_of(node) and len(set(shapes_of(node))) > 1:
                return [ast.Attribute(self._written[id(other)], "shape")]
        return [self._value(part) for part in given]

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
        whole = size[0] if isinstance(size[0], ast.Attribute) and size[0].attr == "shape" else ast.Tuple(size)
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


def _flat(value: Any) -> list[Any]:
    return [one for part in value for one in _flat(part)] if isinstance(value, (list, tuple)) else [value]


def _is_small(expression: ast.expr) -> bool:
    return isinstance(expression, (ast.Name, ast.Attribute, ast.Constant))
