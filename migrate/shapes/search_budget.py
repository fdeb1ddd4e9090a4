"""Ends a search after a certain amount of work, counted so that it comes out the same on every machine."""

from __future__ import annotations

import math
import threading
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ..base.tensor_trees import count_tensors
from ..t7.limits import DEFAULT_LIMITS, Limits

#: How many operators a search may run; on a usual processor that takes up to 20 seconds.
_OPERATORS = 60_000

#: So much arithmetic, or so many numbers that are written to new memory, take as long as one operator more.
_ARITHMETIC, _NUMBERS = 10_000_000, 50_000

#: No value with numbers has more while sizes are looked for: several are held at once.
MOST_HELD = 1 << 25

#: So many tensors in tables take as long to go through as one operator takes to run.
_TENSORS = 20


class Spent(BaseException):
    """The work that was allowed is done. No error of a model, so whatever ignores these does not ignore it."""


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators that run in its context, and ends a run of more than are left.

    Args:
        left: how many may run.
    """

    def __init__(self, left: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left = left

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.left -= 1
        if self.left < 0:
            raise Spent
        return func(*args, **(kwargs or {}))


#: So many dimensions PyTorch works with; each operator takes longer with each of them.
MOST_DIMENSIONS = 64

#: Windows are moved over the numbers, which takes less time than to write so many.
_WINDOWS_PER_NUMBER = 4

_POOLING = {
    getattr(torch.ops.aten, name)
    for name in ("avg_pool2d", "avg_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices")
}


#: The same for the multiplications of one run of a model: some minutes of one processor.
_PRODUCTS_PER_NUMBER = 1 << 14

_META = torch.device("meta")


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, (tuple, list)) and output else output


def _arithmetic(func: Any, args: Any, kwargs: Any, output: Any) -> int:
    """How many additions and multiplications an operator takes that has many of them."""
    if func.overloadpacket == torch.ops.aten.mkldnn_rnn_layer:
        x, *weights = args[:3]
        return int(2 * prod(x.shape[:-1]) * sum(weight.numel() for weight in weights))
    count = flop_registry.get(func.overloadpacket)
    return int(count(*args, **kwargs, out_val=output)) if count and isinstance(output, torch.Tensor) else 0


def _on_meta(item: Any) -> Any:
    if isinstance(item, torch.Tensor):
        return torch.empty_strided(item.shape, item.stride(), dtype=item.dtype, device=_META)
    if isinstance(item, list):
        return [_on_meta(part) for part in item]
    return _META if isinstance(item, torch.device) else item


class TooLarge(Exception):
    """A value of a run would have, or be computed from, more numbers than the limits allow, or too many dimensions.

    Attributes:
        sizes: of the value.
        window: how many numbers each of its elements is computed from.
    """

    def __init__(self, sizes: tuple[int, ...], window: int = 1) -> None:
        self.sizes, self.window = sizes, window
        super().__init__(self.text)

    @property
    def has_many_dimensions(self) -> bool:
        """Is it not the count of numbers?"""
        return len(self.sizes) > MOST_DIMENSIONS

    @property
    def text(self) -> str:
        """What would be computed."""
        if self.has_many_dimensions:
            return f"a tensor of {len(self.sizes):,} dimensions, of which PyTorch works with {MOST_DIMENSIONS}"
        count, size = prod(self.sizes), "x".join(map(str, self.sizes))
        if self.window > 1:
            return f"{size} numbers, each from {self.window:,}"
        return f"{size} numbers ({count / 2**28:.1f} GiB as float32)"


class TooManyTensors(Exception):
    """The tables that the layers of a run give have more tensors than the limits allow.

    Attributes:
        text: what would be given.
    """

    def __init__(self, count: int, total: int) -> None:
        before = f", {total:,} with those of the tables before it" if total > count else ""
        self.text = f"a table of {count:,} tensors{before}"
        super().__init__(self.text)


class TooManyProducts(Exception):
    """The convolutions and products of matrices of a run would multiply more often than the limits allow.

    Attributes:
        text: what would be computed.
    """

    def __init__(self, count: int, total: int) -> None:
        before = f", {total:,} with those of the layers before it" if total > count else ""
        self.text = f"{count:,} multiplications{before}"
        super().__init__(self.text)


class Budget(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators that run in its context, what they compute, and the tensors in the tables of layers.

    Args:
        operators: how many may run.
        limits: how many numbers one value may have, and how many tensors the tables of one run.
        held: a run with numbers ends, without a refusal, where one value has more.

    Attributes:
        left: how many may still run.
        products: how many multiplications the convolutions and products of matrices of this run have, if it were one
            with numbers.
        refused: what had more; None if nothing had.
    """

    def __init__(self, operators: float = _OPERATORS, limits: Limits = DEFAULT_LIMITS, held: float = math.inf) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left = operators
        self.held = held
        self.most = limits.expanded_elements
        self.most_tensors = limits.runs
        self.most_products = self.most * _PRODUCTS_PER_NUMBER
        self.refused: TooLarge | TooManyTensors | TooManyProducts | None = None
        self.products = 0
        self._tensors = 0
        self._thread = 0
        self._hook: Any = None

    def __enter__(self) -> Any:
        self._tensors, self.products, self._thread = 0, 0, threading.get_ident()
        # of all modules, since layers are run by many and in copies
        self._hook = register_module_forward_hook(self._see)
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: object) -> Any:
        self._hook.remove()
        return super().__exit__(*error)  # type: ignore[no-untyped-call]

    def _see(self, module: nn.Module, args: Any, output: Any) -> None:
        """Counts the tensors of a table before anything goes through them, and products that run without operators."""
        if threading.get_ident() != self._thread:
            return
        x = args[0] if args and isinstance(module, (nn.Linear, nn.RNNBase)) else None
        if isinstance(x, torch.Tensor) and x.is_meta:
            weights = sum(weight.numel() for weight in module.parameters(recurse=False) if weight.dim() > 1)
            self._multiply(prod(x.shape[:-1]) * weights)
        if isinstance(output, torch.Tensor):
            return
        count = count_tensors(output)
        self._tensors += count
        self.left -= count / _TENSORS
        if self._tensors > self.most_tensors:
            self.refused = TooManyTensors(count, self._tensors)
            raise self.refused
        if self.spent:
            raise Spent

    @property
    def spent(self) -> bool:
        """Is nothing left?"""
        return self.left <= 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.spent:
            raise Spent
        kwargs = kwargs or {}
        counted = self._try(func, args, kwargs)
        output = func(*args, **kwargs)
        self.left -= 1
        first = _first(output)
        if isinstance(first, torch.Tensor):
            self._check(func, first, args)
            if first.is_meta and (arithmetic := _arithmetic(func, args, kwargs, output)):
                self._multiply(arithmetic // 2)  # the rest are additions
            elif not first.is_meta and not counted:
                self.left -= first.numel() / _NUMBERS
        return output

    def _multiply(self, count: int) -> None:
        self.products += count
        if self.products > self.most_products:
            self.refused = TooManyProducts(count, self.products)
            raise self.refused

    def _try(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Runs an operator that has numbers without them first: it would take memory and time before it is counted."""
        given = [part for item in (*args, *kwargs.values()) for part in (item if isinstance(item, list) else [item])]
        given = [part for part in given if isinstance(part, torch.Tensor)]
        if any(tensor.is_meta for tensor in given) or kwargs.get("device") == _META:
            return False
        sized = tuple(map(_on_meta, args))
        named = {name: _on_meta(item) for name, item in kwargs.items()} | ({} if given else {"device": _META})
        try:
            output = func(*sized, **named)
        except Exception:  # it needs numbers
            return False
        first = _first(output)
        if not isinstance(first, torch.Tensor):
            return False
        self._check(func, first, args)
        if first.numel() > self.held:
            raise TooLarge(tuple(first.shape))  # no refusal: others may do
        written = 0 if func.is_view else first.numel()
        self.left -= written / _NUMBERS + _arithmetic(func, sized, named, output) / _ARITHMETIC
        if self.spent:
            raise Spent
        return True

    def _check(self, func: Any, output: torch.Tensor, args: tuple[Any, ...]) -> None:
        window = 1
        if output.dim() > MOST_DIMENSIONS:
            self.refused = TooLarge(tuple(output.shape))
            raise self.refused
        if func.overloadpacket in _POOLING:
            sizes = args[0].shape[-len(args[1]) :]
            # what lies outside is not read, but PyTorch counts one by one up to where the image begins
            window = max(prod(map(min, args[1], sizes)), sum(args[3]) if len(args) > 3 else 0)
        if output.numel() > self.most or output.numel() * window > self.most * _WINDOWS_PER_NUMBER:
            self.refused = TooLarge(tuple(output.shape), window)
            raise self.refused
