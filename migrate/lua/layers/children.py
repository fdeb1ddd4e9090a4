"""Modules of nn that an author's layer holds and runs: their converters compute them, with gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...base.errors import TorchMigrateError
from ...model.build import ParameterOrigin
from ...model.conversion import ConvertedModel
from ...model.convert import convert_model
from ...t7 import LuaObject, LuaTable, Tensor
from ..result import CantLeave, Results
from ..runtime import Runtime
from ..tensors.handles import LuaFault, TensorHandle, entries, is_table
from .fields import fields_of

#: So many states of one module are kept as they were converted.
_MOST_KEPT = 8

_KINDS = {torch.float32: "Float", torch.float64: "Double", torch.int64: "Long"}


class Children:
    """Runs the children of a layer.

    Args:
        runtime: the Lua in which the layer is.

    Attributes:
        unsure: why a backward pass that was asked for is not known; "" if none is unknown.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._made: dict[Any, list[tuple[Any, ConvertedModel, list[torch.Tensor]]]] = {}
        self.unsure = ""
        self._affine: dict[str, bool] = {}
        self._places: dict[float, Any] = {}
        self._kept: list[Any] = []

    def know(self, places: dict[float, Any]) -> None:
        """Says where modules are in an object of the layer: those alike of another object are not converted again."""
        self._places |= places

    def converted(self, child: Any, inherited: str | None = None) -> ConvertedModel:
        """A child as it is converted.

        Args:
            child: a module of nn, or an author's layer.
            inherited: the class of Torch7 that an author's layer inherits from, whose passes are meant.

        Raises:
            LuaFault: no converter knows it, or it refuses.
        """
        if inherited is not None:  # its fields are the author's, and may be others at the next call
            return self._made_of(Results(self._runtime), child, inherited)
        return self._converted(child)[0]

    def _converted(self, child: Any) -> tuple[ConvertedModel, list[torch.Tensor]]:
        identity = self._runtime.host.identity(child)
        place = self._places.get(identity, identity)
        results = Results(self._runtime)
        state = fields_of(self.value(results, child), numbers=True)  # its layer may have changed them since
        known = self._made.setdefault(place, [])
        for one in known:
            if one[0] == state:
                return one[1:]
        made = self._made_of(results, child, None)
        known.append((state, made, self._leaves(child, made, results)))
        del known[:-_MOST_KEPT]
        self._kept.append(child)
        return known[-1][1:]

    def _made_of(self, results: Results, child: Any, inherited: str | None) -> ConvertedModel:
        try:
            return convert_model(self.value(results, child, inherited), track_gradients=True)
        except (CantLeave, TorchMigrateError) as error:
            last = (str(error).splitlines() or [""])[-1]
            raise LuaFault(f"a module that it runs is not converted: {last}") from None

    def value(self, results: Results, child: Any, inherited: str | None = None) -> LuaObject:
        """A child as a value of a `.t7`, of the class that an author's layer inherits from."""
        value = results.value(child)
        if not isinstance(value, LuaObject):
            raise LuaFault("it is no module")
        if inherited is None:
            return value
        hidden = ("output", "gradInput") if value.get("modules") is None else ()
        return LuaObject(inherited, LuaTable([(key, held) for key, held in value.items() if key not in hidden]))

    def _leaves(self, child: Any, made: ConvertedModel, results: Results) -> list[torch.Tensor]:
        """The parameters of a child in Torch7's layout, in the order of its `parameters()`."""
        found = []
        for handle in self._listed(child)[0]:
            value = results.value(self._runtime.host.wrap(handle))
            assert isinstance(value, Tensor)
            region = (id(value.storage), value.offset, value.size, value.stride)
            if region not in made.build.sources:
                raise LuaFault("a parameter of a module that it runs is not one of the converted module")
            found.append(made.build.sources[region].leaf)
        return found

    def _listed(self, child: Any) -> list[list[TensorHandle]]:
        """What `parameters()` of a child lists: parameters, and the tensors in which their gradients are added up."""
        host = self._runtime.host
        if host.is_criterion(child):
            return [[], []]
        listed = self._runtime.guarded(host.call, child, "parameters")
        if not isinstance(listed, tuple) or listed[1] is None:
            return [[], []]
        return [[host.kind(table[index])[1] for index in range(1, len(table) + 1)] for table in listed[:2]]

    def run(self, how: str, child: Any, inherited: str | None, given: Any, grad: Any = None, scale: Any = 1.0) -> Any:
        """A pass of a child: its output, the gradient of its input, or that of its parameters, which is added up.

        A criterion gets its input and its target as a list.
        """
        conv = self.converted(child, inherited)
        conv.module.train(bool(child["train"]))
        try:
            x = leaves(given, how in ("gradient", "loss gradient"))
            if how == "output":
                with torch.no_grad():
                    return handles(conv.module(x))
            if how == "loss":
                with torch.no_grad():
                    return float(conv.module(*x))
            added = self._accumulated(child, conv, inherited) if how == "accumulate" else []
            if how == "accumulate" and not added:
                return None
            with torch.enable_grad():
                output = flat(conv.run_tracked(*(x if how == "loss gradient" else [x])))
            if how != "loss gradient":
                self._check_output(child, inherited or self._runtime.host.kind(child)[1], conv, x, output)
            if how == "loss gradient":
                return handles(rebuilt(x[0], iter(_gradients(output, [torch.ones_like(output[0])], flat(x[0])))))
            grads = flat(leaves(grad, False))
            if how == "gradient":
                return handles(rebuilt(x, iter(_gradients(output, grads, flat(x)))))
            for leaf, into in added:
                into.value += (float(scale) * _gradients(output, grads, [leaf])[0]).reshape(into.value.shape)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise LuaFault(f"a module that it runs failed: {(str(error).splitlines() or [''])[0]}") from None
        return None

    def _check_output(
        self, child: Any, typename: str, conv: ConvertedModel, x: Any, output: list[torch.Tensor]
    ) -> None:
        """Refuses to run a class of Torch7 backward that may read its output, where the layer has another there.

        Another is there where the layer writes into what it gave, or has run it on something else since.
        """
        held = [handle.value for handle in self.tensors_in(child["output"])]
        same = len(held) == len(output) and all(
            one.shape == other.shape and torch.allclose(one, other.detach(), rtol=1e-5, atol=1e-6, equal_nan=True)
            for one, other in zip(held, output, strict=True)
        )
        if same:
            return
        key = f"{typename} {conv.module} {[part.dim() for part in flat(x)]}"
        if key not in self._affine:
            self._affine[key] = _is_affine(conv.module, x)
        if not self._affine[key]:
            self.unsure = f"the backward pass of {typename} may read its output, which the layer changes"
            raise LuaFault(self.unsure)

    def tensors_in(self, value: Any) -> list[TensorHandle]:
        """The tensors of a value of Lua, a tensor or nested lists of such."""
        kind = self._runtime.host.kind(value)
        if isinstance(kind, tuple):
            return [kind[1]] if isinstance(kind[1], TensorHandle) else []
        if kind != "table":
            return []
        return [part for place in range(1, len(value) + 1) for part in self.tensors_in(value[place])]

    def _accumulated(
        self, child: Any, conv: ConvertedModel, inherited: str | None
    ) -> list[tuple[torch.Tensor, TensorHandle]]:
        """The parameters of a child in Torch7's layout, each with the tensor in which its gradient is added up."""
        if inherited is None:
            return list(zip(self._converted(child)[1], self._listed(child)[1], strict=True))
        return [(origin.leaf, self._gradient_of(child, origin.field)) for origin in self._own(conv)]

    def with_gradients(self, child: Any, inherited: str | None) -> list[tuple[TensorHandle, TensorHandle]]:
        """The parameters of a child, each with the tensor in which its gradient is added up."""
        if inherited is None:
            parameters, gradients = self._listed(child)
            return list(zip(parameters, gradients, strict=True))
        fields = [origin.field for origin in self._own(self.converted(child, inherited))]
        return [(self._runtime.host.kind(child[name])[1], self._gradient_of(child, name)) for name in fields]

    def _own(self, conv: ConvertedModel) -> list[ParameterOrigin]:
        """The parameters of a class of Torch7 that an author's layer inherits from."""
        parameters = {id(parameter) for parameter in conv.module.parameters()}
        live = {id(value) for module, name, value in conv.build.live if id(getattr(module, name)) in parameters}
        origins = list(conv.build.sources.values())
        if any(origin.path for origin in origins):
            raise LuaFault("a container that it inherits from is not run backward")
        return [origin for origin in origins if live and not origin.field.startswith("running")]

    def _gradient_of(self, child: Any, field: str) -> TensorHandle:
        kind = self._runtime.host.kind(child[f"grad{field[:1].upper()}{field[1:]}"])
        if not isinstance(kind, tuple) or not isinstance(kind[1], TensorHandle):
            raise LuaFault(f"it has no gradient of its {field}")
        return kind[1]


def _is_affine(module: nn.Module, x: Any) -> bool:
    """Is it, or the last one in it, a sum of its inputs times numbers, plus numbers?

    Then its derivative is the same whatever it gives.
    """
    if isinstance(module, nn.Sequential) and len(module):
        with torch.no_grad():
            return _is_affine(module[-1], module[:-1](x))
    generator = torch.Generator().manual_seed(1)
    given = flat(x)
    if not all(part.is_floating_point() for part in given):
        return False
    first, second = ([torch.randn(part.shape, generator=generator, dtype=part.dtype) for part in given] for _ in "12")
    inputs = [first, second, [a + b for a, b in zip(first, second, strict=True)], [part * 0 for part in given]]
    with torch.no_grad():
        a, b, both, zero = (flat(module(rebuilt(x, iter(parts)))) for parts in inputs)
    return all(
        torch.allclose(one + other, whole + start, rtol=1e-4, atol=1e-4)
        for one, other, whole, start in zip(a, b, both, zero, strict=True)
    )


def _gradients(
    outputs: list[torch.Tensor], grads: list[torch.Tensor], wanted: list[torch.Tensor]
) -> list[torch.Tensor]:
    """The gradients of some tensors; zero where none arrives."""
    asked = [tensor for tensor in wanted if tensor.requires_grad]
    found = iter(torch.autograd.grad(outputs, asked, grads, allow_unused=True, retain_graph=True) if asked else ())
    given = [next(found) if tensor.requires_grad else None for tensor in wanted]
    return [torch.zeros_like(t) if grad is None else grad for t, grad in zip(wanted, given, strict=True)]


def leaves(given: Any, with_gradient: bool) -> Any:
    """Copies of Lua's tensors, in lists as they are in tables."""
    if isinstance(given, TensorHandle):
        value = given.value.detach().clone()
        return value.requires_grad_() if with_gradient and value.is_floating_point() else value
    if is_table(given):
        return [leaves(part, with_gradient) for part in entries(given)]
    if isinstance(given, (int, float)):
        return torch.tensor(float(given))
    raise LuaFault("the input of a module is neither a tensor nor a table of tensors")


def flat(value: Any) -> list[torch.Tensor]:
    """The tensors of nested lists, in order."""
    return [tensor for part in value for tensor in flat(part)] if isinstance(value, (list, tuple)) else [value]


def rebuilt(like: Any, tensors: Any) -> Any:
    """The same nesting with other tensors."""
    return [rebuilt(part, tensors) for part in like] if isinstance(like, (list, tuple)) else next(tensors)


def handles(value: Any) -> Any:
    """PyTorch's tensors as Lua's."""
    if isinstance(value, torch.Tensor):
        if not value.dim():
            raise LuaFault("a module that it runs gives a number where Torch7 has no tensor")
        if value.dtype not in _KINDS:
            raise LuaFault(f"a module that it runs gives numbers of the type {value.dtype}")
        return TensorHandle(value.detach().contiguous().clone(), _KINDS[value.dtype])
    return [handles(part) for part in value]
