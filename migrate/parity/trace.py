"""Watches every converted layer while the model runs, and feeds the reference's values forward on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from ..build import LayerRecord

#: Told a layer, which run of it this is (1-based), and its output; may return another output to go on with.
Visit = Callable[[LayerRecord, int, Any], Any]


@contextmanager
def watched(layers: Sequence[LayerRecord], root: nn.Module, visit: Visit) -> Iterator[None]:
    """Calls `visit` after each layer of `root` that runs, in the order of execution, inside the block."""
    present = {id(module) for module in root.modules()}
    handles = [
        record.module.register_forward_hook(_Hook(record, visit)) for record in layers if id(record.module) in present
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Hook:
    """A forward hook of one layer, which counts its runs."""

    def __init__(self, record: LayerRecord, visit: Visit) -> None:
        self.record = record
        self.visit = visit
        self.calls = 0

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        self.calls += 1
        return self.visit(self.record, self.calls, output)
