"""A layer that runs its author's Lua: a module of PyTorch around a process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import nn

from ....base.errors import TorchMigrateError
from ....model.convert import to_torch
from ....model.recurrent_state import Remembering
from ....t7 import LuaTable, Tensor
from ..children import flat, rebuilt
from ..run import to_lua
from .process import LuaProcess
from .serving import BACKWARD, COPY, FORWARD, PROBE

#: Numbers for the process, which go as a `.t7`; the rest goes as JSON.
_VALUES = (LuaTable, Tensor)

#: Others stand for numbers that are not there.
_PLAIN = (torch.Tensor, nn.Parameter)

#: Larger inputs are not tried for the sizes that come of them.
_MOST_PROBED = 1 << 22


class RunsLua(Remembering):
    """A layer that runs its author's Lua in a process of its own.

    Its parameters are those that the Lua's `parameters()` lists; each run takes them as they are. What else it keeps
    from run to run is in the process: it is not in the state dict, and is lost with the process. Where `state` is None,
    the next run is one of the object as the file holds it.

    Args:
        typename: the Torch7 class.
        names: the parameters, in the order of `parameters()`.
        sizes: their sizes.
    """

    #: Says that no source and no graph can hold it.
    runs_lua = True

    def __init__(self, typename: str, names: Sequence[str], sizes: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.typename = typename
        self.names = list(names)
        self.sizes = [list(size) for size in sizes]
        for name, size in zip(self.names, self.sizes, strict=True):
            setattr(self, name, nn.Parameter(torch.empty(size)))
        self._process: LuaProcess | None = None
        self._object = 0
        self._runs = 0

    def starts(self, process: LuaProcess) -> None:
        """Says which process runs it."""
        self._process = process
        self._object = process.number()

    def forward(self, x: Any) -> Any:
        inputs = flat(x)
        if torch.compiler.is_compiling() or any(type(tensor) not in _PLAIN for tensor in inputs):
            raise RuntimeError(f"{self.typename} runs its Lua, which takes numbers: it can't be traced or exported")
        if any(tensor.device.type == "meta" for tensor in inputs):
            return self._sizes(x, inputs)
        nesting: list[Any] = []
        given = [*inputs, *(getattr(self, name) for name in self.names)]
        outputs = cast(Any, _Run).apply(self, x, nesting, len(inputs), *given)
        return rebuilt(nesting[0], iter(outputs))

    def _sizes(self, x: Any, inputs: Sequence[torch.Tensor]) -> Any:
        """What it gives for an input without numbers: an object of the file runs on ones."""
        if sum(tensor.numel() for tensor in inputs) > _MOST_PROBED:
            raise RuntimeError(f"{self.typename} runs its Lua, which is not tried on more than {_MOST_PROBED} numbers")
        kind = _kind(inputs)
        ones = [torch.ones(t.shape, dtype=kind[1] if t.is_floating_point() else t.dtype) for t in inputs]
        found = self.ask(PROBE, kind=kind[0], training=False, input=to_lua(rebuilt(x, iter(ones))))
        made = to_torch(found["output"])
        like = next((t.dtype for t in inputs if t.is_floating_point()), kind[1])
        empty = [
            torch.empty(part.shape, dtype=like if part.is_floating_point() else part.dtype, device="meta")
            for part in flat(made)
        ]
        return rebuilt(made, iter(empty))

    def ask(self, what: str, **entries: Any) -> LuaTable:
        """What the process gives.

        Raises:
            RuntimeError: the Lua ended with an error, or there is no process.
        """
        if self._process is None:
            raise RuntimeError(
                f"{self.typename} runs its Lua, which is not in a folder: convert the .t7 again with --run-lua"
            )
        numbers = LuaTable([(name, value) for name, value in entries.items() if isinstance(value, _VALUES)])
        rest = {name: value for name, value in entries.items() if not isinstance(value, _VALUES)}
        try:
            found: LuaTable = self._process.ask({"what": what, "object": self._object, **rest}, numbers)
        except TorchMigrateError as error:
            raise RuntimeError(f"{self.typename} runs its Lua: {error}") from error
        return found

    def close(self) -> None:
        """Ends the process; the next run starts another, with the object of the file."""
        self.state = None
        if self._process is not None:
            self._process.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> RunsLua:
        made = RunsLua(self.typename, self.names, self.sizes)
        memo[id(self)] = made
        for name in self.names:
            parameter = getattr(self, name)
            if id(parameter) not in memo:
                memo[id(parameter)] = nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
            setattr(made, name, memo[id(parameter)])
        made.train(self.training)
        if self._process is not None:
            made.starts(self._process)
            if self._process.runs and self.state is not None:
                self._process.ask({"what": COPY, "object": made._object, "of": self._object})
                made.state = True
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            f"{self.typename} runs its Lua in a process, and can't be pickled; keep its state_dict(), and convert again"
        )

    def __del__(self) -> None:
        process = self.__dict__.get("_process")
        if process is not None:
            process.forget(self._object)

    def extra_repr(self) -> str:
        return self.typename


class _Run(torch.autograd.Function):
    """One run of the Lua, and its own backward pass."""

    @staticmethod
    def forward(ctx: Any, layer: RunsLua, x: Any, nesting: list[Any], count: int, *tensors: torch.Tensor) -> Any:
        inputs, parameters = tensors[:count], tensors[count:]
        floating = [tensor for tensor in tensors if tensor.is_floating_point()]
        kind, dtype = _kind(floating)
        device = tensors[0].device if tensors else torch.device("cpu")
        layer._runs += 1
        found = layer.ask(
            FORWARD,
            fresh=layer.state is None,
            kind=kind,
            training=layer.training,
            input=to_lua(rebuilt(x, _of_type(inputs, dtype))),
            parameters=to_lua(list(_of_type(parameters, dtype))),
        )
        layer.state = True
        if found.get("input") is not None:  # it works in place, and others may read what it left
            for tensor, part in zip(inputs, flat(to_torch(found["input"])), strict=True):
                tensor.copy_(part)
        made = to_torch(found["output"])
        numbers = flat(made)
        if not numbers or not all(isinstance(part, torch.Tensor) for part in numbers):
            raise RuntimeError(f"{layer.typename} runs its Lua, which gave neither a tensor nor a table of tensors")
        wanted = floating[0].dtype if floating else dtype
        outputs = [part.to(device, wanted) if part.is_floating_point() else part.to(device) for part in numbers]
        nesting.append(made)
        ctx.layer, ctx.run, ctx.count, ctx.dtype = layer, layer._runs, count, dtype
        ctx.nesting = made
        ctx.like = [(tensor.shape, tensor.dtype, tensor.device) for tensor in tensors]
        ctx.mark_non_differentiable(*[part for part in outputs if not part.is_floating_point()])
        ctx.sizes = [(part.shape, part.is_floating_point()) for part in outputs]
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> Any:
        layer: RunsLua = ctx.layer
        if layer._runs != ctx.run:
            raise RuntimeError(
                f"{layer.typename} runs its Lua, which has run again since: its backward pass belongs to its last run"
            )
        given = [
            torch.zeros(size, dtype=ctx.dtype) if grad is None else grad.detach().cpu().to(ctx.dtype)
            for grad, (size, _) in zip(grads, ctx.sizes, strict=True)
        ]
        found = layer.ask(BACKWARD, gradOutput=to_lua(rebuilt(ctx.nesting, iter(given))))
        inputs = _gradients(found.get("gradInput"))
        parameters = _gradients(found.get("gradParameters"))
        wanted = ctx.needs_input_grad[4:]
        results: list[torch.Tensor | None] = []
        for place, (shape, dtype, device) in enumerate(ctx.like):
            of_input = place < ctx.count
            there = inputs if of_input else parameters
            at = place if of_input else place - ctx.count
            if not wanted[place]:
                results.append(None)
                continue
            grad = there[at] if at < len(there) else None
            if grad is None or grad.numel() != shape.numel():
                what = "its input" if of_input else f"its parameter {layer.names[at]}"
                raise RuntimeError(f"{layer.typename} runs its Lua, which gives no gradient of {what}")
            results.append(grad.reshape(shape).to(device, dtype))
        return (None, None, None, None, *results)


def _kind(tensors: Sequence[torch.Tensor]) -> tuple[str, torch.dtype]:
    """In which of Torch7's types it runs."""
    first = next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)
    return ("Double", torch.float64) if first == torch.float64 else ("Float", torch.float32)


def _gradients(value: Any) -> list[torch.Tensor]:
    return [] if value is None else [part for part in flat(to_torch(value)) if isinstance(part, torch.Tensor)]


def _of_type(tensors: Sequence[torch.Tensor], dtype: torch.dtype) -> Iterator[torch.Tensor]:
    for tensor in tensors:
        own = tensor.detach().cpu()
        yield own.to(dtype) if own.is_floating_point() else own
