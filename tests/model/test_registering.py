"""Converters of users: a cell of a notebook may run again, another function may not take a class by accident."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from torch import nn

import torchmigrate as tm
from torchmigrate.model import registry

NAME = "my.RunAgain"


@pytest.fixture(autouse=True)
def forget_it() -> Iterator[None]:
    yield
    registry._converters.pop(NAME, None)
    registry._traits.pop(NAME, None)


def cell(module: str, name: str = "twice") -> Callable[..., nn.Module]:
    """What a cell defines, each time it runs."""

    def function(layer: tm.Layer) -> nn.Module:
        return nn.Identity()

    function.__module__, function.__name__, function.__qualname__ = module, name, name
    return function


def test_a_cell_of_a_notebook_runs_again() -> None:
    tm.converts(NAME)(cell("__main__"))
    second = tm.converts(NAME)(cell("__main__"))
    assert registry.find(NAME) is second


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("__main__", "twice"), ("__main__", "thrice")),
        (("one", "twice"), ("one", "twice")),
        (("one", "f"), ("__main__", "f")),
    ],
)
def test_another_function_needs_to_say_so(first: tuple[str, str], second: tuple[str, str]) -> None:
    tm.converts(NAME)(cell(*first))
    with pytest.raises(ValueError, match=r"already has a converter, .*override=True"):
        tm.converts(NAME)(cell(*second))
