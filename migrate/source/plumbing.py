"""Modules that only move, join or combine tensors, as Python expressions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..converters.pointwise import dropout, elementwise
from ..converters.projects import various as projects
from ..converters.recurrent import masks as recurrent_masks
from ..converters.reshaping import reductions, shapes, slices
from ..converters.tables import containers, graph
from ..converters.tables import entries as tables
from .scopes import Scope, Sym, Value, argument, at, examples

#: Modules that take or give a list.
TABLES: tuple[type[nn.Module], ...] = (
    containers.ConcatTable,
    containers.ParallelTable,
    containers.MapTable,
    tables.AddEntries,
    tables.SubtractEntries,
    tables.MultiplyEntries,
    tables.DivideEntries,
    tables.MaxEntries,
    tables.MinEntries,
    tables.AddToEach,
    tables.JoinTable,
    tables.SplitTable,
    tables.SelectTable,
    tables.NarrowTable,
    tables.FlattenTable,
    tables.ReverseTable,
    tables.ZipTable,
    tables.ZipOneToMany,
    graph.FirstEntry,
    graph.ListOfOne,
)

#: Tables that make one tensor of a list.
REDUCERS: tuple[type[nn.Module], ...] = (tables.AddEntries, tables.MultiplyEntries, tables.JoinTable)


def does_nothing(module: nn.Module) -> bool:
    """Does it give the very tensor that it gets, in training too?"""
    dropouts = (nn.Dropout, dropout.MaskDropout)
    return isinstance(module, (nn.Identity, shapes.Contiguous)) or (isinstance(module, dropouts) and module.p == 0)


def is_expression(module: nn.Module) -> bool:
    """Does it read better as an operator or a method of a tensor?"""
    plain = isinstance(module, (elementwise.MulConstant, elementwise.AddConstant)) and not module.inplace
    return plain or type(module) in _REDUCTIONS or isinstance(module, slices.Transpose)


def plumb(module: nn.Module, value: Value, scope: Scope) -> Value | None:
    """What the module does with `value` as Python; None if it has to be called."""
    if isinstance(value, list):
        if _is_flat(value):
            made = _of_tensors(module, value, scope)
            if made is not None:
                return made
        return _of_list(module, value, scope)
    if does_nothing(module):
        return value
    if isinstance(module, graph.ListOfOne):
        return [value]
    return _of_tensor(module, value, scope)


def _is_flat(value: list[Value]) -> bool:
    return bool(value) and all(isinstance(item, Sym) and item.shapes for item in value)


def _of_list(module: nn.Module, value: list[Value], scope: Scope) -> Value | None:
    if isinstance(module, nn.Identity):
        return value
    if isinstance(module, tables.SelectTable) and isinstance(module.index, int):
        return value[module.index]
    if isinstance(module, graph.FirstEntry):
        return value[0]
    if isinstance(module, tables.NarrowTable):
        return value[module.offset : module.offset + module.length]
    if isinstance(module, tables.ReverseTable):
        return value[::-1]
    if isinstance(module, tables.FlattenTable):
        return _flat(value)
    if isinstance(module, tables.ZipTable) and all(isinstance(item, list) for item in value):
        return [list(items) for items in zip(*value, strict=True)]
    if isinstance(module, tables.ZipTable) and all(isinstance(item, Sym) and item.values for item in value):
        names = ", ".join(f"{{{i}}}" for i in range(len(value)))
        zipped = tuple([list(items) for items in zip(*at(value, i), strict=True)] for i in range(examples(value)))
        return scope.op(f"[list(items) for items in zip({names}, strict=True)]", value, zipped, fresh=False)
    if isinstance(module, tables.ZipOneToMany) and len(value) == 2 and isinstance(value[1], list):
        return [[value[0], item] for item in value[1]]
    return None


def _flat(value: Value) -> list[Value]:
    return [item for part in value for item in _flat(part)] if isinstance(value, list) else [value]


_OPERATORS: dict[type[nn.Module], str] = {
    tables.AddEntries: " + ",
    tables.MultiplyEntries: " * ",
    tables.SubtractEntries: " - ",
    tables.DivideEntries: " / ",
}


def _of_tensors(module: nn.Module, value: list[Sym], scope: Scope) -> Value | None:
    operator = _OPERATORS.get(type(module))
    if operator is not None:
        terms = value[:2] if isinstance(module, (tables.SubtractEntries, tables.DivideEntries)) else value
        if len(terms) < 2 or any(term.shapes != terms[0].shapes for term in terms):
            return None
        template = operator.join(f"{{{i}}}" for i in range(len(terms)))
        results = _results(module, value)
        if getattr(module, "inplace", False):
            added = "".join(f".add_({{{i}}})" for i in range(1, len(terms)))
            return scope.op("{0}" + added, terms, results, barrier=True)
        return scope.op(template, terms, results, atomic=False)
    if isinstance(module, tables.JoinTable):
        dims = value[0].dims
        batch = module.dim >= 0 and module.num_input_dims is not None and dims == module.num_input_dims + 1
        ins: list[Sym] = []
        text = argument(value, ins)
        return scope.op(f"torch.cat({text}, {module.dim + batch})", ins, _results(module, value))
    return None


def _results(module: nn.Module, value: Value) -> tuple[Any, ...]:
    results = []
    for i in range(examples(value)):
        given = at(value, i)
        results.append(module([x.clone() for x in given] if isinstance(given, list) else given.clone()))
    return tuple(results)


def _of_tensor(module: nn.Module, value: Sym, scope: Scope) -> Value | None:
    if value.values and all(isinstance(v, list) and v for v in value.values):
        return _of_long_list(module, value, scope)
    if not value.shapes:
        return None
    if isinstance(module, tables.SplitTable):
        results = _results(module, value)
        batch = module.dim >= 0 and module.num_input_dims is not None and value.dims == module.num_input_dims + 1
        if len({len(result) for result in results}) > 1:  # as long as the input is
            return scope.op(f"list({{0}}.unbind({module.dim + batch}))", [value], results, fresh=False)
        if len({len(result) for result in results}) == 1:
            if len(results[0]) == 1:
                part = scope.op(f"{{0}}.select({module.dim + batch}, 0)", [value], tuple(r[0] for r in results))
                return [part]
            return scope.unpack(f"{{0}}.unbind({module.dim + batch})", [value], results)
        return None
    if isinstance(module, (shapes.View, shapes.Reshape)):
        return _reshaped(module, value, scope)
    if type(module) in _REDUCTIONS:
        return _reduced(module, value, scope)
    if isinstance(module, slices.Transpose) and value.dims is not None:
        moved = 0 if module.num_input_dims is None else value.dims - module.num_input_dims
        swaps = "".join(f".transpose({first + moved}, {second + moved})" for first, second in module.swaps)
        return scope.op(f"{{0}}{swaps}.contiguous()", [value], _results(module, value), fresh=False)
    if isinstance(module, projects.OneHot):
        return _one_hot(module, value, scope)
    handler = _EXPRESSIONS.get(type(module))
    if handler is None or getattr(module, "inplace", False):
        return None
    template, atomic = handler(module)
    return scope.op(template, [value], _results(module, value), atomic=atomic)


def _one_hot(module: projects.OneHot, value: Sym, scope: Scope) -> Sym | None:
    """As PyTorch has it, if numbers of every type become the same."""
    method = {torch.float32: "float", torch.float64: "double"}.get(module.number_type)
    if method is None or any(example.dtype != module.number_type for example in value.values):
        return None
    template = f"nn.functional.one_hot({{0}}.long() - 1, {module.depth}).{method}()"
    return scope.op(template, [value], _results(module, value))


def _of_long_list(module: nn.Module, value: Sym, scope: Scope) -> Value | None:
    """The same for a list whose length follows from the input."""
    if isinstance(module, nn.Identity):
        return value
    if isinstance(module, tables.ReverseTable):
        return scope.op("{0}[::-1]", [value], tuple(v[::-1] for v in value.values), fresh=False)
    if isinstance(module, tables.SelectTable) and isinstance(module.index, int):
        return scope.op(f"{{0}}[{module.index}]", [value], tuple(v[module.index] for v in value.values), fresh=False)
    return None


#: Layers that reduce one dimension, as methods of tensors.
_REDUCTIONS: dict[type[nn.Module], str] = {
    reductions.Max: "max({dim}{keep}).values",
    reductions.Min: "min({dim}{keep}).values",
    reductions.Sum: "sum({dim}{keep})",
}


def _reduced(module: nn.Module, value: Sym, scope: Scope) -> Sym:
    template = _REDUCTIONS[type(module)]
    if getattr(module, "average", False):
        template = template.replace("sum", "mean")
    results = _results(module, value)
    keep = ", keepdim=True" if results[0].dim() == value.dims else ""
    dim, inputs = module.dim, module.num_input_dims
    assert isinstance(dim, int)
    assert inputs is None or isinstance(inputs, int)
    batch = dim >= 0 and inputs is not None and value.dims == inputs + 1
    return scope.op(f"{{0}}.{template.format(dim=dim + batch, keep=keep)}", [value], results)


def _reshaped(module: nn.Module, value: Sym, scope: Scope) -> Value | None:
    """A view that keeps the batch, where the examples (of two batch sizes) show that."""
    results = _results(module, value)
    given = value.shapes
    if given is None or len({shape[0] for shape in given}) < 2:
        return None
    if all(result.shape == shape for result, shape in zip(results, given, strict=True)):
        return value
    if all(result.shape == (shape_size,) for result, shape_size in zip(results, map(math.prod, given), strict=True)):
        return scope.op("{0}.flatten()", [value], results, fresh=False)
    for kept in range(1, len(given[0])):
        pairs = list(zip(results, given, strict=True))
        if all(r.dim() == kept + 1 and tuple(r.shape[:kept]) == shape[:kept] for r, shape in pairs):
            return scope.op(f"{{0}}.flatten({kept})", [value], results, fresh=False)
    if any(result.shape[0] != shape[0] for result, shape in zip(results, given, strict=True)):
        return None
    size = tuple(results[0].shape[1:])
    if any(tuple(result.shape[1:]) != size for result in results):
        return None
    if len(size) == 1:
        return scope.op("{0}.flatten(1)", [value], results, fresh=False)
    if len(given[0]) == 2:
        return scope.op(f"{{0}}.unflatten(1, {size})", [value], results, fresh=False)
    sizes = ", ".join(str(n) for n in size)
    return scope.op(f"{{0}}.reshape(-1, {sizes})", [value], results, fresh=False)


def _constant(operator: str, name: str) -> Callable[[nn.Module], tuple[str, bool]]:
    def expression(module: nn.Module) -> tuple[str, bool]:
        return f"{{0}} {operator} {getattr(module, name)!r}", False

    return expression


def _added(module: nn.Module) -> tuple[str, bool]:
    addend, negate = module.addend, module.negate
    assert isinstance(addend, float)
    return (f"{-addend!r} - {{0}}" if negate else f"{{0}} + {addend!r}"), False


def _function(template: str) -> Callable[[nn.Module], tuple[str, bool]]:
    def expression(module: nn.Module) -> tuple[str, bool]:
        return template, True

    return expression


#: Python for modules that have no state; (text, can it stand anywhere without parentheses).
_EXPRESSIONS: dict[type[nn.Module], Callable[[nn.Module], tuple[str, bool]]] = {
    elementwise.MulConstant: _constant("*", "constant"),
    elementwise.AddConstant: _constant("+", "constant"),
    recurrent_masks.SAdd: _added,
    elementwise.Exp: _function("{0}.exp()"),
}
