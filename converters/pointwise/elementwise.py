"""Elementary functions of each element, and constants added or multiplied."""

from __future__ import annotations

import ast

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts, converts_to, module_form
from ...model.traits import Traits
from ...source.expressions import Variable, python
from ...source.forms import Structure
from .activations import is_inplace


class Abs(nn.Module):
    """The absolute value; its gradient at zero is 1, as in Torch7."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x >= 0, x, -x)


converts_to(Abs, "nn.Abs", traits=Traits(safe_on_own_output=True))


class Exp(nn.Module):
    """The exponential function."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.exp(x)


@module_form("python", Exp)
@module_form("python of any size", Exp)
def _exp(module: Exp, x: Variable) -> ast.expr:
    return python("x.exp()", x=x)


converts_to(Exp, "nn.Exp", traits=Traits(safe_on_own_output=True))


class Log(nn.Module):
    """The natural logarithm."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(x)


converts_to(Log, "nn.Log", traits=Traits(safe_on_own_output=True))


class Sqrt(nn.Module):
    """The square root; its gradient at zero is 0, as in Torch7."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        zero = x == 0
        return torch.where(zero, 0, torch.sqrt(torch.where(zero, 1, x)))


converts_to(
    Sqrt, "nn.Sqrt", ignore=("eps",), traits=Traits(safe_on_own_output=True)
)  # stored, but Torch7 does not add it


class Square(nn.Module):
    """The square."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x


converts_to(Square, "nn.Square", traits=Traits(safe_on_own_output=True))


class Power(nn.Module):
    """The power with a constant exponent."""

    def __init__(self, exponent: float) -> None:
        super().__init__()
        self.exponent = exponent

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.pow(x, self.exponent)

    def extra_repr(self) -> str:
        return f"exponent={self.exponent}"


@converts("nn.Power", traits=Traits(safe_on_own_output=True))
def power(layer: Layer) -> Power:
    """nn.Power(p)"""
    return Power(layer.number("pow"))


class AddConstant(nn.Module):
    """Adds a number."""

    def __init__(self, constant: float, inplace: bool = False) -> None:
        super().__init__()
        self.constant = constant
        self.inplace = inplace

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.add_(self.constant) if self.inplace else x + self.constant

    def extra_repr(self) -> str:
        return f"{self.constant}, inplace={self.inplace}"


class AddConstantVector(nn.Module):
    """Adds a constant vector to a vector, or to each row of a matrix."""

    constant: torch.Tensor

    def __init__(self, size: int, inplace: bool = False) -> None:
        super().__init__()
        self.size = size
        self.inplace = inplace
        self.register_buffer("constant", torch.empty(size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() > 2 or x.shape[-1] != self.size:
            raise ValueError(f"a constant of size {self.size} can't be added to an input of size {tuple(x.shape)}")
        return x.add_(self.constant) if self.inplace else x + self.constant

    def extra_repr(self) -> str:
        return f"{self.size}, inplace={self.inplace}"


@converts("nn.AddConstant", traits=Traits(keeps_size=True, undoes=True))
def add_constant(layer: Layer) -> AddConstant | AddConstantVector:
    """nn.AddConstant(constant, [inplace = false])"""
    inplace = is_inplace(layer)
    if isinstance(layer.value("constant_scalar"), float):
        return AddConstant(layer.number("constant_scalar"), inplace)
    constant = layer.tensor("constant_scalar")
    if constant.dim() != 1:
        layer.refuse(f"its constant has {constant.dim()} dimensions; a number or a vector is supported")
    module = layer.make(AddConstantVector, constant.shape[0], inplace)
    return layer.put(module, "constant", constant, field="constant_scalar")


class MulConstant(nn.Module):
    """Multiplies by a number."""

    def __init__(self, constant: float, inplace: bool = False) -> None:
        super().__init__()
        self.constant = constant
        self.inplace = inplace

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mul_(self.constant) if self.inplace else x * self.constant

    def extra_repr(self) -> str:
        return f"{self.constant}, inplace={self.inplace}"


@module_form("structure", AddConstant, MulConstant)
def _structure(module: AddConstant | MulConstant) -> Structure:
    zeros = isinstance(module, MulConstant) and module.constant == 0
    return Structure(operator=not module.inplace, zeros=zeros)


@module_form("python", AddConstant, MulConstant)
@module_form("python of any size", AddConstant, MulConstant)
def _operator(module: AddConstant | MulConstant, x: Variable) -> ast.expr | None:
    text = "x + n" if isinstance(module, AddConstant) else "x * n"
    return None if module.inplace else python(text, x=x, n=module.constant)


@converts("nn.MulConstant", traits=Traits(keeps_size=True, undoes=True))
def mul_constant(layer: Layer) -> MulConstant:
    """nn.MulConstant(constant, [inplace = false])"""
    return MulConstant(layer.number("constant_scalar"), is_inplace(layer))
