"""ONNX Runtime: sessions that run what was exported."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from ..base.errors import ExportError
from ..base.memory import is_out_of_memory
from ..base.messages import cause
from ..model.running.answers import Answers


def open_session(
    model: bytes | str | Path,
    provider: str = "CPUExecutionProvider",
    weights: Mapping[str, np.ndarray[Any, Any]] | None = None,
) -> Any:
    """An ONNX Runtime session.

    Args:
        model: a file, or its bytes.
        provider: what runs it.
        weights: numbers of weights that are not in `model`; they are used where they lie, and must live as long as
            the session.

    Raises:
        ExportError: ONNX Runtime refuses the model.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if weights:
        # rearranged copies of weights and a store of free memory only pay for many runs
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        options.add_session_config_entry("session.disable_prepacking", "1")
        values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(numbers) for name, numbers in weights.items()}
        # the first call says what the numbers are, the second that they may be used where they lie
        options.add_external_initializers(list(values), list(values.values()))
        for name, value in values.items():
            options.add_initializer(name, value)
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=[provider])
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ExportError(f"ONNX Runtime refuses the model: {cause(error)}") from error


def run_session(session: Any, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Runs a session; inputs that the graph lost because the model never uses them are left out.

    Raises:
        ExportError: ONNX Runtime fails.
    """
    wanted = {value.name for value in session.get_inputs()}
    feeds = {name: tensor.detach().cpu().numpy() for name, tensor in inputs.items() if name in wanted}
    try:
        return [torch.from_numpy(np.array(item)) for item in session.run(None, feeds)]
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ExportError(f"ONNX Runtime fails on the model: {cause(error)}") from error


def ask_session(
    known: Answers | None,
    file: Path,
    session: Any,
    inputs: dict[str, torch.Tensor],
    provider: str = "CPUExecutionProvider",
) -> list[torch.Tensor]:
    """What `run_session` gives, or has given.

    Args:
        known: what is kept; None: nothing is.
        file: that the session was opened on, or the name that it will have.
        session: of ONNX Runtime.
        inputs: as of `run_session`.
        provider: what runs it.

    Raises:
        ExportError: ONNX Runtime fails.
    """
    if known is None:
        return run_session(session, inputs)
    wanted = {value.name for value in session.get_inputs()}
    feeds = {name: tensor for name, tensor in inputs.items() if name in wanted}
    found: list[torch.Tensor] = known.of(f"{provider} {file}", feeds, partial(run_session, session, feeds))
    return found
