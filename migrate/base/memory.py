"""Errors that say that a file asks for more memory, or deeper calls, than there are, and which layer asked for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import FrameType
from typing import Any

from .errors import LimitExceeded, TorchMigrateError

#: PyTorch raises a RuntimeError where the memory of the machine is spent, ONNX Runtime an exception of its own.
_SAID = re.compile(r"can't allocate memory|not enough memory|bad_alloc|Failed to allocate memory|CUDA out of memory")
_ASKED = re.compile(r"(?:tried to allocate|Unable to allocate|buffer of size) (\d[\d.]* ?\w*)")


def is_out_of_memory(error: BaseException) -> bool:
    """Was there not enough memory, of the machine or of a GPU?"""
    if isinstance(error, MemoryError) or is_out_of_device_memory(error):
        return True
    return not isinstance(error, TorchMigrateError) and _SAID.search(str(error)) is not None


def is_out_of_device_memory(error: BaseException) -> bool:
    """Was there not enough memory of a GPU?"""
    return type(error).__name__ == "OutOfMemoryError"


def memory_refusal(error: BaseException) -> LimitExceeded | None:
    """What a user is told of an error that says that memory, or Python's stack, did not suffice; None for others."""
    if isinstance(error, RecursionError):
        layer = layer_that_asked(error)
        return LimitExceeded(
            f"The file is nested deeper than Python's calls go{f': it was at {layer}' if layer else ''}",
            hint="A network that is not nested so deep converts; if this one is not, please report it.",
        )
    if not is_out_of_memory(error):
        return None
    asked = _ASKED.search(str(error))
    layer = layer_that_asked(error)
    amount = f"{asked[1].strip()} were asked for" if asked else ""
    what = ": ".join(part for part in (f" for {layer}" if layer else "", amount) if part)
    return LimitExceeded(
        f"There is not enough memory{what if layer else f': {what}' if what else ''}",
        hint="Pass a smaller input with --input-shape, or take a machine with more memory.",
    )


def layer_that_asked(error: BaseException) -> str:
    """The innermost layer in whose converter or whose run an error was raised; "" if there is none."""
    found = ""
    root: Any = None
    names: dict[str, str] = {}
    for frame in _frames(error):
        here = frame.f_locals
        if layer := next((value for value in here.values() if type(value).__name__ == "Layer"), None):
            found = f"{layer.typename} at {layer.path or 'the top'}"
        for value in here.values():
            if hasattr(type(value), "module_names"):  # a converted model
                names = {name: f"{path or 'the top'}" for path, name in reversed(value.module_names().items())}
        module = here.get("self")
        if hasattr(type(module), "named_modules"):
            root = module if root is None else root
            name = next((name for name, part in root.named_modules() if part is module), "")
            found = f"{type(module).__name__} at {names.get(name) or name or 'the top'}"
    return found


def _frames(error: BaseException) -> Iterator[FrameType]:
    """What was running, the outermost first."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next
