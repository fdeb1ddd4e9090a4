"""Copied classes are written without what a model does not use; the sources here were written by hand."""

from __future__ import annotations

import ast
from textwrap import dedent
from typing import Any

import pytest

from torchmigrate.source.writing.specialized import attributes_of, specialized

NORMALIZE = dedent('''\
    class Normalize(nn.Module):
        """Divides each row by its norm.

        Args:
            p: of the norm.
            eps: added before the root.
        """

        def __init__(self, p: float, eps: float = 1e-10, affine: bool = False) -> None:
            super().__init__()
            self.p = p
            self.eps = eps
            self.affine = affine
            if affine:
                self.weight = nn.Parameter(torch.empty(3))

        def forward(self, x: Tensor) -> Tensor:
            # a comment
            if self.p == float("inf"):
                return self.largest(x)
            powers = x.pow(self.p) if self.p % 2 == 0 else x.abs().pow(self.p)
            y = x / (powers.sum(-1, keepdim=True) + self.eps).pow(1 / self.p)
            if not self.affine:
                return y
            return y * self.weight

        def largest(self, x: Tensor) -> Tensor:
            return x / x.abs().amax(-1)
    ''')


def same(a: str, b: str) -> bool:
    return ast.dump(ast.parse(a)) == ast.dump(ast.parse(dedent(b)))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param(
            {"p": 2.0, "eps": 1e-10, "affine": False},
            '''\
            class Normalize(nn.Module):
                """Divides each row by its norm."""
                def forward(self, x: Tensor) -> Tensor:
                    powers = x.pow(2.0)
                    y = x / (powers.sum(-1, keepdim=True) + 1e-10).pow(0.5)
                    return y
            ''',
            id="all",
        ),
        pytest.param(
            {"p": float("inf")},
            '''\
            class Normalize(nn.Module):
                """Divides each row by its norm.

                Args:
                    eps: added before the root.
                """
                def __init__(self, eps: float = 1e-10, affine: bool = False) -> None:
                    super().__init__()
                    if affine:
                        self.weight = nn.Parameter(torch.empty(3))
                def forward(self, x: Tensor) -> Tensor:
                    return self.largest(x)
                def largest(self, x: Tensor) -> Tensor:
                    return x / x.abs().amax(-1)
            ''',
            id="the norm is infinite",
        ),
        pytest.param(
            {"affine": True},
            '''\
            class Normalize(nn.Module):
                """Divides each row by its norm.

                Args:
                    p: of the norm.
                    eps: added before the root.
                """
                def __init__(self, p: float, eps: float = 1e-10) -> None:
                    super().__init__()
                    self.p = p
                    self.eps = eps
                    self.weight = nn.Parameter(torch.empty(3))
                def forward(self, x: Tensor) -> Tensor:
                    if self.p == float("inf"):
                        return self.largest(x)
                    powers = x.pow(self.p) if self.p % 2 == 0 else x.abs().pow(self.p)
                    y = x / (powers.sum(-1, keepdim=True) + self.eps).pow(1 / self.p)
                    return y * self.weight
                def largest(self, x: Tensor) -> Tensor:
                    return x / x.abs().amax(-1)
            ''',
            id="a weight",
        ),
    ],
)
def test_branches_that_are_never_taken_go(known: dict[str, Any], expected: str) -> None:
    made = specialized(NORMALIZE, known, "")
    assert same(made, expected), made


def test_a_method_that_others_call_stays() -> None:
    assert "def largest" in specialized(NORMALIZE, {"p": 2.0}, "x.largest(y)")
    assert "def largest" not in specialized(NORMALIZE, {"p": 2.0}, "")


def test_an_attribute_that_the_last_line_reads_stays() -> None:
    """What is written beside the class does not continue its last word."""
    source = dedent("""\
        class MulConstant(nn.Module):
            def __init__(self, constant: float) -> None:
                super().__init__()
                self.constant = constant

            def forward(self, x: Tensor) -> Tensor:
                return x * self.constant
        """)
    assert same(specialized(source, {}, "class Other(nn.Module):\n    pass\n"), source)


def test_a_method_that_stays_as_it_is_keeps_its_comments() -> None:
    made = specialized(NORMALIZE.replace("amax(-1)", "amax(-1)  # of each row"), {"eps": 0.5}, "")
    assert "amax(-1)  # of each row" in made


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (NORMALIZE, {"p": "p", "eps": "eps", "affine": "affine"}),
        (NORMALIZE.replace("nn.Module", "nn.BatchNorm2d"), {}),
        (NORMALIZE.replace("powers = ", "self.p = 3; powers = "), {"eps": "eps", "affine": "affine"}),
        (NORMALIZE.replace("self.eps = eps", "eps = 2 * eps; self.eps = eps"), {"p": "p", "affine": "affine"}),
        ("def f(x: int) -> int:\n    return x\n", {}),
    ],
)
def test_arguments_that_are_only_kept(source: str, found: dict[str, str]) -> None:
    assert attributes_of(source) == found


@pytest.mark.parametrize(
    ("said", "known", "expected"),
    [
        ("Drops maps of `dims` dimensions; times 1-p.", {"dims": 2}, "Drops maps of 2 dimensions; times 1-p."),
        ("Adds 1 along `dim` (0-based).", {"dim": 1}, "Adds 1 along dimension 1 (0-based)."),
        ("Picks `index` along dimension `dim`.", {"index": 3, "dim": 0}, "Picks 3 along dimension 0."),
        ("A product; `trans` transposes first.", {"trans": False}, "A product."),
        ("At `position` of it; it has `dims` axes.", {"position": 2, "dims": None}, "At position 2 of it."),
    ],
)  # fmt: skip
def test_a_docstring_says_values_of_arguments_that_are_no_more(said: str, known: dict[str, Any], expected: str) -> None:
    names = ", ".join(known)
    init = "\n".join(f"        self.{name} = {name}" for name in known)
    source = f"""class Layer(nn.Module):
    \"\"\"{said}

    Args:
        {names}: said in one line,
            and the next.
    \"\"\"

    def __init__(self, {names}) -> None:
        super().__init__()
{init}

    def forward(self, x: Tensor) -> Tensor:
        return x * 2
"""
    found = specialized(source, known, "")
    assert f'"""{expected}"""' in found
    assert "Args" not in found


def test_tuples_stand_without_brackets() -> None:
    source = """class Layer(nn.Module):
    def __init__(self, p: int) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        a, b = x + self.p, (x, self.p)
        return a
"""
    assert "        a, b = x + 3, (x, 3)\n" in specialized(source, {"p": 3}, "")


def test_numbers_that_a_constructor_works_out_stand_where_they_are_read() -> None:
    source = """class View(nn.Module):
    def __init__(self, size: list[int]) -> None:
        super().__init__()
        self.size = size
        self.elements = math.prod(size)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x.reshape(self.size) if x.numel() == self.elements else x.reshape([-1] + self.size)
"""
    text = specialized(source, {"size": [3, 4]}, "")
    assert "return x.reshape([3, 4]) if x.numel() == 12 else x.reshape([-1, 3, 4])" in text
    assert "self.elements" not in text
    assert "self.calls = 0" in text  # it changes
    assert "self.elements = 12" in specialized(source, {"size": [3, 4]}, "model.view.elements")
    assert "self.elements" not in specialized(source, {"size": [3, 4]}, "self.elements")  # that of another class
