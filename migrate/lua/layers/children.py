"""Modules of nn that an author's layer holds and runs: their converters compute them, with gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from ...base.errors import TorchMigrateError
from ...model.conversion import ConvertedModel
from ...model.convert import convert_model
from ...t7 import LuaObject, Tensor
from ..result import CantLeave, Results
from ..runtime import Runtime
from ..tensors.handles import LuaFault, TensorHandle, entries, is_table

_KINDS = {torch.float32: "Float", torch.float64: "Double", torch.int64: "Long"}


class Children:
    """Runs the children of a layer.

    Args:
        runtime: the Lua in which the layer is.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._made: dict[float, tuple[ConvertedModel, Results]] = {}
        self._kept: list[Any] = []

    def converted(self, child: Any) -> ConvertedModel:
        """A child as it is converted.

        Raises:
            LuaFault: no converter knows it, or it refuses.
        """
        return self._converted(child)[0]

    def _converted(self, child: Any) -> tuple[ConvertedModel, Results]:
        identity = self._runtime.host.identity(child)
        if identity not in self._made:
            results = Results(self._runtime)
            try:
                value = results.value(child)
                if not isinstance(value, LuaObject):
                    raise LuaFault("it is no module")
                made = convert_model(value, track_gradients=True)
            except (CantLeave, TorchMigrateError) as error:
                raise LuaFault(
                    f"a module that it runs is not converted: {(str(error).splitlines() or [''])[-1]}"
                ) from None
            self._made[identity] = made, results
            self._kept.append(child)
        return self._made[identity]

    def run(self, how: str, child: Any, given: Any, grad: Any = None, scale: Any = 1.0) -> Any:
        """A pass of a child: its output, the gradient of its input, or that of its parameters, which is added up."""
        conv = self.converted(child)
        conv.module.train(bool(child["train"]))
        try:
            x = leaves(given, how == "gradient")
            if how == "output":
                with torch.no_grad():
                    return handles(conv.module(x))
            with torch.enable_grad():
                output = flat(conv.run_tracked(x))
            grads = flat(leaves(grad, False))
            if how == "gradient":
                return handles(rebuilt(x, iter(_gradients(output, grads, flat(x)))))
            for leaf, into in self._parameters(child):
                into.value += (float(scale) * _gradients(output, grads, [leaf])[0]).reshape(into.value.shape)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise LuaFault(f"a module that it runs failed: {(str(error).splitlines() or [''])[0]}") from None
        return None

    def _parameters(self, child: Any) -> Iterator[tuple[torch.Tensor, TensorHandle]]:
        """The parameters of a child in Torch7's layout, and the tensors in which Lua adds up their gradients."""
        conv, results = self._converted(child)
        host = self._runtime.host
        listed = self._runtime.guarded(host.call, child, "parameters")
        if not isinstance(listed, tuple) or listed[1] is None:
            return
        for index in range(1, len(listed[0]) + 1):
            value = results.value(listed[0][index])
            assert isinstance(value, Tensor)
            region = (id(value.storage), value.offset, value.size, value.stride)
            if region not in conv.build.sources:
                raise LuaFault("a parameter of a module that it runs is not one of the converted module")
            yield conv.build.sources[region].leaf, host.kind(listed[1][index])[1]


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
        if value.dtype not in _KINDS:
            raise LuaFault(f"a module that it runs gives numbers of the type {value.dtype}")
        return TensorHandle(value.detach().contiguous().clone(), _KINDS[value.dtype])
    return [handles(part) for part in value]
