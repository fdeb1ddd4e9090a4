"""What the process of an author's Lua does: it builds the model twice and says what came out, and what differs."""

from __future__ import annotations

import re
from typing import Any

from ..t7 import LuaTable, Value
from .differences import differences
from .folders import Folders
from .limits import LuaLimits
from .loading import loaded
from .result import Results
from .running import outputs_of
from .runtime import LuaStopped, Runtime

#: Packages that a file may use without requiring them, since the script that it belongs to did.
_LOADED_BY_SCRIPTS = ("cudnn", "cunn", "cutorch", "optim", "paths", "xlua", "sys", "image", "rnn", "dpnn", "nngraph")
_UNKNOWN_GLOBAL = re.compile(r"global '(\w+)' \(a nil value\)")
#: A class of nn's that one of these packages brings; the last of them brings those before.
_UNKNOWN_CLASS = re.compile(r"call field '(\w+)' \(a nil value\)|unknown parent class <nn\.(\w+)>")
_BRING_CLASSES = ("stn", "inn", "nnx", "dpnn", "rnn")


def build(job: dict[str, Any], folders: Folders, limits: LuaLimits) -> tuple[dict[str, Any], Value]:
    """Builds what a job asks for, twice.

    Args:
        job: `define` says what is in it.
        folders: the files that the Lua may read.
        limits: what it may use.

    Returns:
        What is said of it; and a table: the model, its parameters as `parameters()` lists them, the pairs of running
        statistics, and the tensors that were others in the second run.

    Raises:
        LuaStopped: the Lua ended with an error.
    """
    require = list(job.get("require") or ())
    while True:
        try:
            runtime, first = _one(job, require, folders, limits, 0)
            break
        except LuaStopped as error:
            package = _package_of(str(error), folders, limits)
            if package is None or package in require:
                raise
            require.append(package)
    _, second = _one(job, require, folders, limits, 1)
    drawn, structure = differences(first, second)
    first["drawn"] = LuaTable.from_list(tensor for tensor, _ in drawn)
    first["drawn_paths"] = LuaTable.from_list(path for _, path in drawn)
    said = {
        "printed": runtime.printed,
        "missing": runtime.missing,
        "own_classes": runtime.own_classes,
        "required": require,
        "differences": structure[:20],
    }
    return said, first


def _package_of(error: str, folders: Folders, limits: LuaLimits) -> str | None:
    """The package whose global or class an author's file uses, and that the calling script required."""
    found = _UNKNOWN_GLOBAL.search(error)
    if found is not None:
        return "pl.lapp" if found[1] == "lapp" else found[1] if found[1] in _LOADED_BY_SCRIPTS else None
    found = _UNKNOWN_CLASS.search(error)
    if found is None:
        return None
    runtime = Runtime(folders, limits)
    for package in _BRING_CLASSES:
        runtime.guarded(runtime.host.require, package)
        if runtime.guarded(runtime.host.is_class, f"nn.{found[1] or found[2]}"):
            return package
    return None


def _one(
    job: dict[str, Any], require: list[str], folders: Folders, limits: LuaLimits, run: int
) -> tuple[Runtime, LuaTable]:
    runtime = Runtime(folders, limits, run)
    runtime.outputs_of = outputs_of
    runtime.loaded = loaded
    host = runtime.host
    runtime.guarded(runtime.text, f"torch.setdefaulttensortype('{_TYPES[job.get('default_type', 'float')]}')", "setup")
    if job.get("arguments") is not None:
        host.set_global("arg", runtime.value(job["arguments"]))
    elif job.get("options") is not None:
        host.set_global(_text(job.get("options_as") or "opt"), runtime.value(job["options"]))
    for name in ("nn", "nngraph", *require):
        runtime.guarded(host.require, _text(name))
    if job.get("setup"):
        runtime.text(_text(job["setup"]), "setup")
    host.remember_globals()
    for name in job.get("before") or ():
        runtime.guarded(host.run_file, _text(name))
    returned = runtime.guarded(host.run_file, _text(job["file"])) if job.get("file") else None
    if isinstance(returned, tuple):
        returned = returned[0]
    name = job.get("returns") or _head(job.get("call") or "")
    if name and returned is not None and (job.get("returns") or host.get_global(_text(name)) is None):
        host.set_global(_text(name), returned)
    if job.get("call"):
        model = runtime.text(f"return {_text(job['call'])}", "call")
    elif job.get("global_name"):
        model = host.get_global(_text(job["global_name"]))
    else:
        model = returned
        if not runtime.guarded(host.is_a, returned, "nn.Module"):
            found, count = host.candidates(returned)
            raise NoCall([_told(found[index]) for index in range(1, count + 1)])
    if (method := host.replaced_method()) is not None:
        raise LuaStopped(f"the files put a method of their own in place of {method}: a network of that is not nn's")
    return runtime, _parts(runtime, model)


#: Tensor types by the word for them.
_TYPES = {"float": "torch.FloatTensor", "double": "torch.DoubleTensor"}


class NoCall(Exception):
    """A file gives no network by itself: an expression must say how.

    Attributes:
        calls: expressions that may be it; what the file returned goes by `model` in them.
    """

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls
        super().__init__(", ".join(calls))


def _head(call: str) -> str:
    """The name with which an expression begins."""
    found = re.match(r"\s*([A-Za-z_]\w*)", call)
    return found[1] if found else ""


def _told(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "replace")


def _text(text: str) -> str:
    """Text as bytes are in Lua."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _parts(runtime: Runtime, model: Any) -> LuaTable:
    """The model, its parameters and its running statistics."""
    host, results = runtime.host, Results(runtime)
    made = LuaTable([("model", results.value(model))])
    if model is None or not runtime.guarded(host.is_a, model, "nn.Module"):
        return made
    listed = runtime.guarded(host.call, model, "parameters")
    listed = listed[0] if isinstance(listed, tuple) else listed
    made["parameters"] = results.value(listed) if listed is not None else LuaTable()
    pairs = runtime.guarded(host.statistics, model)
    made["statistics"] = results.value(pairs)
    return made
