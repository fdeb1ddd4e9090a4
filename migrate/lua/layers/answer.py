"""What the process of an author's Lua does for a layer."""

from __future__ import annotations

import io
import warnings
from typing import Any

from ...t7 import LuaObject, LuaTable, Value, load
from ..folders import Folders
from ..limits import LuaLimits
from ..result import CantLeave
from ..runtime import LuaStopped
from .session import Session, of_results, tensor_kind
from .traces.explore import explore


def answer_layer(
    job: dict[str, Any], folders: Folders, limits: LuaLimits, given: bytes
) -> tuple[dict[str, Any], Value]:
    """Runs a layer.

    Args:
        job: the files; `layer` says what is done.
        folders: the files that they may read.
        limits: what they may use.
        given: the layer, and what it is run on, as a `.t7`.

    Returns:
        What is said of it, and its results.

    Raises:
        LuaStopped: the Lua ended with an error.
    """
    if job["layer"] == "classes":
        return {"classes": Session(job["files"], folders, limits).defined}, None
    task = load(io.BytesIO(given))
    if not isinstance(task, LuaTable) or not isinstance(task.get("layer"), LuaObject):
        raise CantLeave("no layer was given")
    layer: LuaObject = task["layer"]
    session = Session(job["files"], folders, limits, tensor_kind(layer))
    with warnings.catch_warnings():  # one number has no deviation, for example
        warnings.simplefilter("ignore")
        return _TASKS[job["layer"]](session, layer, task)


def _run(session: Session, layer: LuaObject, task: LuaTable) -> tuple[dict[str, Any], Value]:
    """Runs the layer once on each input, in a row; every run begins with the fields of the file."""
    results = []
    for run in task["runs"].list():
        made = session.object(layer)
        session.set_mode(made, bool(run.get("training")))
        if run.get("gradOutput") is None:
            output = session.output(made, session.value(run["input"]))
            results.append(LuaTable([("output", of_results(session, output))]))
            continue
        if not session.has_backward(made):
            raise LuaStopped(f"{layer.typename} has no backward pass of its author")
        # a layer that works in place changes its input, so that what the forward pass gave is taken first
        output = of_results(session, session.output(made, session.value(run["input"])))
        session.set_mode(made := session.object(layer), bool(run.get("training")))
        passes = session.passes(made, session.value(run["input"]), session.value(run["gradOutput"]))
        gradients = [of_results(session, session.host.wrap(handle)) for handle in passes.gradients]
        results.append(
            LuaTable(
                [
                    ("output", output),
                    ("gradInput", of_results(session, passes.grad_input)),
                    ("gradParameters", LuaTable.from_list(gradients)),
                ]
            )
        )
    said = {"printed": session.runtime.printed, "missing": session.runtime.missing}
    return said, LuaTable.from_list(results)


_TASKS = {"run": _run, "explore": explore}
