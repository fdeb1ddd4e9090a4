"""Runs a network that a definition built so far: some files do, to learn a size."""

from __future__ import annotations

from typing import Any

import torch

from ..base.errors import TorchMigrateError
from ..model.convert import convert_model
from ..t7 import LuaObject
from .result import CantLeave, Results
from .runtime import Runtime
from .tensors.handles import LuaFault, TensorHandle, entries, is_table


def outputs_of(runtime: Runtime, module: Any, given: Any) -> Any:
    """The output in evaluation, by the converters.

    Args:
        runtime: the Lua in which the network is.
        module: the network, an object of Lua.
        given: its input, a tensor or a table of tensors.

    Returns:
        A tensor, or a list.

    Raises:
        LuaFault: a layer has no converter, or the input does not fit.
    """
    try:
        value = Results(runtime).value(module)
        if not isinstance(value, LuaObject):
            raise LuaFault("it is no module")
        network = convert_model(value).module
        with torch.no_grad():
            output = network(_input(given))
        return _output(output)
    except (CantLeave, TorchMigrateError, RuntimeError, TypeError, ValueError, IndexError) as error:
        first = (str(error).splitlines() or [""])[-1 if isinstance(error, TorchMigrateError) else 0]
        raise LuaFault(f"a network is run while another is built: {first}") from error


def _input(given: Any) -> Any:
    if isinstance(given, TensorHandle):
        return given.value.clone()
    if is_table(given):
        return [_input(part) for part in entries(given)]
    raise LuaFault("its input is neither a tensor nor a table of tensors")


def _output(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        kind = {torch.float32: "Float", torch.float64: "Double", torch.int64: "Long"}.get(value.dtype)
        if kind is None:
            raise LuaFault(f"its output is of the type {value.dtype}")
        return TensorHandle(value.contiguous().clone(), kind)
    return [_output(part) for part in value]
