"""What the process of Torch7's own Lua does: it runs a model, as dump_reference.lua has a Torch7 run it."""

from __future__ import annotations

import io
import warnings
from typing import Any

from ...t7 import LuaObject, LuaTable, Value, load
from ..folders import Folders
from ..limits import LuaLimits
from ..result import CantLeave, Results
from ..runtime import LuaStopped, Runtime
from ..tensors.handles import LuaFault
from .reading import Reading

#: What the script calls its files.
MODEL, INPUT, OUTPUT = "model.t7", "input.t7", "output.t7"

#: What is in memory that nothing was written to: a number that shows in what is computed from it.
FRESH = 117.0


def start(folders: Folders, limits: LuaLimits) -> Runtime:
    """A Lua that takes Torch7's packages from the user's checkouts, and runs their layers.

    Raises:
        LuaStopped: nn is not there.
    """
    if folders.torch7_package("nn") is None:
        raise LuaStopped("there is no checkout of Torch7's nn: no file nn/init.lua below the folder of --torch7-source")
    runtime = Runtime(folders, limits, computes=True)
    runtime.engine.fresh = FRESH
    return runtime


def answer_witness(
    job: dict[str, Any], folders: Folders, limits: LuaLimits, given: bytes
) -> tuple[dict[str, Any], Value]:
    """Runs a model.

    Args:
        job: `witness` is the text of dump_reference.lua, `files` are the author's Lua files.
        folders: the files that Lua may read.
        limits: what it may use.
        given: the model and its input, as a `.t7`.

    Returns:
        What is said of it, and what the script wrote.

    Raises:
        LuaStopped: the Lua ended with an error.
    """
    task = load(io.BytesIO(given))
    if not isinstance(task, LuaTable) or not isinstance(task.get("model"), LuaObject):
        raise CantLeave("no model was given")
    runtime = start(folders, limits)
    unknown: list[str] = []

    def loaded(lua: Runtime, name: str) -> Any:
        reading = Reading(lua)
        try:
            if name == MODEL:
                return reading.value(task["model"])
            if name == INPUT:
                lua.host.begin()
                return reading.value(task["input"])
        except LuaFault:
            unknown.extend([reading.unknown] if reading.unknown else [])
            raise
        raise LuaFault(f"no file {name}")

    runtime.loaded = loaded
    files = [_text(file) for file in job["files"]]
    words = [MODEL, OUTPUT, "--input", INPUT, "--cpu", "--layers", "--quiet", *job["options"]]
    for file in files:
        words += ["--require", file]
    runtime.host.reference(runtime.lua.table_from([MODEL, INPUT, *files]), runtime.lua.table_from(words))
    with warnings.catch_warnings():  # one number has no deviation, for example
        warnings.simplefilter("ignore")
        try:
            runtime.text(_text(job["witness"]), "dump_reference.lua")
        except LuaStopped as error:
            if unknown:
                raise LuaStopped(
                    f"the model has the class {unknown[0]}, which neither the checkouts of --torch7-source nor the "
                    "files of --lua define"
                ) from None
            raise LuaStopped(_reason(str(error))) from None
    saved = Results(runtime).value(runtime.host.saved())
    return {"printed": runtime.printed, "missing": runtime.missing}, saved


def _reason(message: str) -> str:
    """An error without the lines about the stack that nn's containers put around it."""
    lines = [line for line in message.removeprefix("dump_reference: ").splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("stack traceback:", "\t", "WARNING: If you see"))]
    return " ".join(said)


def _text(text: str) -> str:
    """Text as bytes are in Lua."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")
