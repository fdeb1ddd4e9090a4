"""The check at the entry of a model that refuses inputs of sizes which it does not take."""

from __future__ import annotations

import ast
from dataclasses import replace

from ..expressions import Variable, python, tree_of
from ..size_trials import Axis
from ..sizes import Sizes, letters_of, notes_of, tupled

#: With so many conditions, sizes get names in the check of them, so that it stays short.
_WITH_NAMES = range(3, 7)

#: With more conditions, inputs that have to fulfil the same are checked in a loop.
_MOST = 4


def size_check(sizes: Sizes, parameters: list[Variable]) -> list[ast.stmt]:
    """Statements that refuse inputs of other sizes; fx, export, compile and script take them.

    There are none where the model may take an input of another number of dimensions, which they would refuse.
    """
    if not all(sizes.sure):
        return []
    conditions = [c for number, parameter in enumerate(parameters) for c in _of_input(sizes, number, parameter)]
    x_is_free = not any(parameter.hint for parameter in parameters)  # they are x1, x2, … then
    if len(conditions) > _MOST and x_is_free and _is_alike(sizes):
        check = _each(replace(sizes, inputs=sizes.inputs[:1]), ast.Name("x"))
        return [ast.For(ast.Name("x"), tree_of(tuple(parameters)), check, [], lineno=0)]
    if len(sizes.inputs) == 1:
        return _each(sizes, parameters[0])
    return [_assertion(_all_of(conditions), sizes)]


def _of_input(sizes: Sizes, number: int, parameter: ast.expr) -> list[ast.expr]:
    """What an input has to fulfil."""
    shape = sizes.inputs[number]
    free = _free(sizes, number)
    if len(shape) > 1 and set(free) <= {0}:
        fixed = python("x.shape[1:] == torch.Size(fixed)", x=parameter, fixed=[int(size) for size in shape[1:]])
        if not free:
            return [fixed, python("x.size(0) == n", x=parameter, n=int(shape[0]))]
        step = free[0].step
        return [fixed, python("x.size(0) % n == 0", x=parameter, n=step)] if step > 1 else [fixed]
    conditions = [python("x.dim() == n", x=parameter, n=len(shape))]
    for dim in range(len(shape)):
        conditions += _conditions(sizes, number, dim, python("x.size(d)", x=parameter, d=dim))
    return conditions


def _is_alike(sizes: Sizes) -> bool:
    """Has each input to fulfil the same?"""
    found = [[ast.unparse(c) for c in _of_input(sizes, n, ast.Name("x"))] for n in range(len(sizes.inputs))]
    return all(conditions == found[0] for conditions in found)


def _each(sizes: Sizes, parameter: ast.expr) -> list[ast.stmt]:
    """The check of the only input, with names for its sizes where that makes it short."""
    conditions = _of_input(sizes, 0, parameter)
    named = _named(sizes) if len(conditions) in _WITH_NAMES else {}
    if not named:
        return [_assertion(_all_of(conditions), sizes)]
    targets = ast.Tuple([ast.Name(named.get(dim, "_")) for dim in range(len(sizes.inputs[0]))])
    conditions = [c for dim, name in named.items() for c in _conditions(sizes, 0, dim, ast.Name(name))]
    return [
        _assignment(targets, python("x.shape", x=parameter)),
        _assignment(ast.Name("fits"), _all_of(conditions)),
        _assertion(ast.Name("fits"), sizes),
    ]


def in_words(sizes: Sizes) -> str:
    """The sizes of the inputs, and what they have to be."""
    shapes = ", ".join(map(tupled, sizes.inputs))
    notes = notes_of([axis for axis in sizes.axes if axis.step > 1 or axis.high is not None])
    return f"not {shapes}{' with ' if notes else ''}{notes}"


def _free(sizes: Sizes, number: int) -> dict[int, Axis]:
    """The dimensions of an input that may vary."""
    return {dim: axis for axis in sizes.axes for place, dim in axis.places if place == number}


def _named(sizes: Sizes) -> dict[int, str]:
    """The dimensions of the only input that may not have any size -> a name; none where that would be taken."""
    if len(sizes.inputs) > 1:
        return {}
    letters = letters_of(len(sizes.inputs[0]), sizes.readers[0].kind if sizes.readers else "")
    found = {d: letters[d].lower() for d in range(len(sizes.inputs[0])) if _conditions(sizes, 0, d, ast.Name("n"))}
    return {} if "x" in found.values() else found


def _conditions(sizes: Sizes, number: int, dim: int, size: ast.expr) -> list[ast.expr]:
    """What a size of an input, which stands as this expression, has to fulfil."""
    axis = _free(sizes, number).get(dim)
    if axis is None:
        return [python("size == n", size=size, n=int(sizes.inputs[number][dim]))]
    if axis.step > 1:
        return [python("size % n == 0", size=size, n=axis.step)]
    if axis.high is not None:
        return [python("size >= n", size=size, n=axis.low), python("size <= n", size=size, n=axis.high)]
    return []


def _all_of(conditions: list[ast.expr]) -> ast.expr:
    """All of several conditions, without the `and` that fx does not take."""
    found = conditions[0]
    for condition in conditions[1:]:
        found = python("a & b", a=found, b=condition)
    return found


def _assignment(target: ast.expr, value: ast.expr) -> ast.stmt:
    return ast.Assign([target], value, lineno=0)


def _assertion(condition: ast.expr, sizes: Sizes) -> ast.stmt:
    return ast.Expr(python("torch._assert(condition, message)", condition=condition, message=in_words(sizes)))
