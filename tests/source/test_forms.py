"""How expressions are written, and the forms of module classes that the source asks for."""

from __future__ import annotations

import ast
from typing import Any

import lua
import pytest
import torch
from torch import nn

import torchmigrate as tm
from torchmigrate.model import registry
from torchmigrate.source.expressions import Variable, is_in_place, python, replaced, variables
from torchmigrate.source.forms import Structure
from torchmigrate.source.generate import generate
from torchmigrate.source.scopes import Scope
from torchmigrate.source.simplify import tidy


def shown(text: str, **operands: Any) -> str:
    tree = python(text, **operands)
    return ast.unparse(replaced(tree, {variable: ast.Name(variable.hint) for variable in variables(tree)}))


def test_operands_get_the_parentheses_that_they_need() -> None:
    x, y = Variable(hint="x"), Variable(hint="y")
    total, product = python("a + b", a=x, b=y), python("a * n", a=x, n=-1.0)
    assert shown("a * b", a=total, b=y) == "(x + y) * y"
    assert shown("a + b", a=y, b=total) == "y + (x + y)"
    assert shown("a + b", a=product, b=total) == "x * -1.0 + (x + y)"
    assert shown("a.flatten(1)", a=total) == "(x + y).flatten(1)"
    assert shown("torch.cat(a, 1)", a=[total, product]) == "torch.cat([x + y, x * -1.0], 1)"
    assert shown("x.reshape(-1, *size)", x=x, size=(3, 5)) == "x.reshape(-1, 3, 5)"


def test_names_of_operands_do_not_meet_those_of_variables() -> None:
    """An operand is put in as a tree, so `b` in the place of `a` is not replaced again."""
    a, b = Variable(hint="b"), Variable(hint="a")
    assert shown("a - b", a=a, b=b) == "b - a"
    assert variables(python("a - b * a", a=a, b=b)) == [a, b, a]


@pytest.mark.parametrize(("text", "in_place"), [("x.transpose(0, 1)", False), ("x.add_(1)", True), ("x + 1", False)])
def test_what_an_expression_changes(text: str, in_place: bool) -> None:
    assert is_in_place(python(text, x=Variable())) == in_place


class Halve(nn.Module):
    """Multiplies by a half."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0.5


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of the user's own, with its forms."""
    for name in ("_converters", "_traits", "_forms"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    registry.converts("my.Halve")(_halve)
    registry.module_form("structure", Halve)(Structure(operator=True))
    registry.module_form("python", Halve)(_half)


def _halve(layer: tm.Layer) -> Halve:
    return Halve()


def _half(module: Halve, x: Variable) -> ast.expr:
    return python("x * 0.5", x=x)


@pytest.mark.usefixtures("halves")
def test_a_class_that_says_how_it_is_written_is_not_copied() -> None:
    network = lua.sequential(lua.linear(3, 4, dtype="f4"), lua.module("my.Halve"))
    text = generate(tm.convert(network), torch.randn(2, 3)).text
    assert "class Halve" not in text
    assert "return self.linear(x) * 0.5" in text


def view(*size: int, dims: int) -> tm.LuaObject:
    return lua.module("nn.View", size=list(size), numElements=1, numInputDims=dims)


def swapped(*swaps: list[int]) -> tm.LuaObject:
    return lua.module("nn.Transpose", permutations=list(swaps))


def narrow(offset: int, length: int) -> tm.LuaObject:
    return lua.module("nn.Narrow", dimension=2, index=offset, length=length)


@pytest.mark.parametrize(
    ("layer", "size", "expression"),
    [
        (swapped([2, 3], [3, 4]), (2, 3, 4, 5), "x.permute(0, 2, 3, 1).contiguous()"),
        (swapped([2, 3]), (2, 3, 4, 5), "x.transpose(1, 2).contiguous()"),
        (narrow(2, 3), (2, 6), "x.narrow(1, 1, 3).clone()"),
        (narrow(2, -1), (2, 6), "x.narrow(1, 1, x.size(1) - 1).clone()"),
        (narrow(2, -3), (2, 6), "x.narrow(1, 1, x.size(1) - 3).clone()"),
        (narrow(1, -1), (2, 6), "x.narrow(1, 0, x.size(1)).clone()"),
        (narrow(-1, 4), (2, 6), "x.narrow(1, 0, x.size(1) - 4).clone()"),
        (view(1, -1, 6, dims=2), (2, 5, 6), "x.reshape(x.size(0), 1, -1, 6)"),
        (view(1, -1, dims=1), (2, 6), "x.unsqueeze(1)"),
        (view(-1, 3, dims=1), (2, 6), "x.reshape(x.size(0), -1, 3)"),
        (view(8, dims=2), (2, 6, 4), "x.reshape(-1, 8)"),
    ],
)
def test_parts_and_shapes_are_expressions(layer: tm.LuaObject, size: tuple[int, ...], expression: str) -> None:
    """Alone, and in a chain of layers, where they stand between others."""
    conversion = tm.convert(lua.sequential(layer))
    assert f"return {expression}\n" in generate(conversion, torch.randn(size)).text
    text = generate(
        tm.convert(lua.sequential(lua.module("nn.Abs"), layer, lua.module("nn.Abs"))), torch.randn(size)
    ).text
    assert "class View" not in text
    assert "class Narrow" not in text


@pytest.mark.parametrize(
    ("made_of_it", "afterwards", "copied"),
    [
        ("p * x", "y + 1", False),
        ("torch.cat([p, x], 1)", "y + 1", False),
        ("p.flatten(1)", "y + 1", True),
        ("torch.tanh(p)", "y + 1", True),
        ("p * x", "x.add_(1)", True),
    ],
)
def test_a_part_is_copied_where_its_memory_counts(made_of_it: str, afterwards: str, copied: bool) -> None:
    """Not in front of a product, which is a new tensor; but where x changes later, and where bits depend on strides."""
    scope, x = Scope(), Variable(given=True)
    part = scope.assign(python("x.narrow(1, 0, 3).clone()", x=x), ())
    y = scope.assign(python(made_of_it, p=part, x=x), ())
    tidy(scope, scope.assign(python(afterwards, x=x, y=y), ()))
    assert ("clone" in ast.unparse(scope.statements[0].expression)) == copied


@pytest.mark.parametrize("experts", [(5, 3), (5, 3, 4), (5,)])
def test_a_mixture_is_a_sum(experts: tuple[int, ...]) -> None:
    conversion = tm.convert(lua.module("nn.MixtureTable"))
    text = generate(conversion, [torch.randn(2, 5), torch.randn(2, *experts)]).text
    weights = "x1" + ".unsqueeze(-1)" * (len(experts) - 1)
    assert f"return ({weights} * x2).sum(1)\n" in text
