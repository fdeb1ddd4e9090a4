"""What the process of an author's Lua does: it builds the model twice and says what came out, and what differs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..t7 import LuaObject, LuaTable, Value
from .callers import NoCall, from_caller, from_variable, is_expression, lua_text
from .differences import differences
from .folders import Folders
from .limits import LuaLimits
from .loading import loaded
from .result import Results
from .running import outputs_of
from .runtime import DIALECTS, LuaStopped, Runtime, told
from .search import search
from .sizes import counted_as, give_options
from .ways import Tools, Way

#: Packages that a file may use without requiring them, since the script that it belongs to did.
_LOADED_BY_SCRIPTS = ("cudnn", "cunn", "cutorch", "optim", "paths", "xlua", "sys", "image", "rnn", "dpnn", "nngraph")
_UNKNOWN_GLOBAL = re.compile(r"global '(\w+)' \(a nil value\)")
#: A class of nn's that one of these packages brings; the last of them brings those before.
_UNKNOWN_CLASS = re.compile(r"call field '(\w+)' \(a nil value\)|unknown parent class <(?:nn|cudnn)\.(\w+)>")
#: Seconds of the processor that a search gives a script of the author's; where it reads data, more.
_RUNS, _READS = 10, 30
#: How much of the time may be over when the last search ends: the network is built twice after it.
_OF_THE_TIME = 0.7
_BRING_CLASSES = ("stn", "inn", "nnx", "dpnn", "rnn")


def build(job: dict[str, Any], folders: Folders, limits: LuaLimits) -> tuple[dict[str, Any], Value]:
    """Builds what a job asks for, twice; with the files of data below the folders where nothing comes of it without.

    A number that is given for what only data tell is taken in their place: they may be others than the author's.

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
    until = time.monotonic() + limits.seconds * _OF_THE_TIME
    try:
        return _build(job, folders, limits, limits.seconds / 3)
    except (LuaStopped, NoCall) as error:
        if not folders.asked_for_data:
            raise
        without = error
    try:
        return _build(job | {"data": True}, folders, limits, until - time.monotonic())
    except LuaStopped:
        raise without from None
    except NoCall as error:
        raise error if error.ways and not error.unknown else without from None


def _build(job: dict[str, Any], folders: Folders, limits: LuaLimits, seconds: float) -> tuple[dict[str, Any], Value]:
    require = list(job.get("require") or ())

    def attempt(changed: dict[str, Any], bounds: LuaLimits) -> tuple[Runtime, LuaTable]:
        while True:
            try:
                return _one(changed, require, folders, bounds, 0)
            except LuaStopped as error:
                package = _package_of(str(error), folders, limits)
                if package is None or package in require:
                    raise
                require.append(package)

    found = ""
    try:
        runtime, first = attempt(job, limits)
    except (LuaStopped, NoCall) as error:
        if job.get("call") or job.get("global_name") or not job.get("search"):
            raise
        way = _searched(job, require, folders, limits, seconds, attempt, error)
        job, found = job | way.job, way.said
        runtime, first = attempt(job, limits)
    _, second = _one(job, require, folders, limits, 1)
    drawn, structure = differences(first, second)
    first["drawn"] = LuaTable.from_list(tensor for tensor, _ in drawn)
    first["drawn_paths"] = LuaTable.from_list(path for _, path in drawn)
    said = {
        "printed": runtime.printed,
        "missing": runtime.missing,
        "data": runtime.data_files,
        "own_classes": runtime.own_classes,
        "class_files": runtime.class_files,
        "required": require,
        "differences": structure[:20],
        "found": found,
    }
    return said, first


def _searched(
    job: dict[str, Any],
    require: list[str],
    folders: Folders,
    limits: LuaLimits,
    seconds: float,
    attempt: Callable[[dict[str, Any], LuaLimits], tuple[Runtime, LuaTable]],
    error: LuaStopped | NoCall,
) -> Way:
    require = list(require)  # what failed attempts asked for is not asked for in the end
    bounds = replace(limits, cpu_seconds=max(1, min(20, limits.cpu_seconds)))

    def brings(message: str) -> bool:
        package = _package_of(message, folders, limits)
        if package is None or package in require:
            return False
        require.append(package)
        return True

    def built(changed: dict[str, Any]) -> int | None:
        made = attempt(changed, bounds)[1]
        if not isinstance(made.get("model"), LuaObject) or not made.get("parameters"):
            return None
        return counted_as(job.get("wanted") or {}, made["parameters"].list())

    def started(changed: dict[str, Any]) -> Runtime:
        # a script that has its networks may go on for ever
        most = bounds.cpu_seconds
        if changed.get("caller"):
            most = min(_READS if job.get("data") else _RUNS, most)
        return _started(job | changed, require, folders, replace(bounds, cpu_seconds=most), 0)

    tools = Tools(
        start=started,
        build=built,
        brings=brings,
    )
    return search(job, folders, tools, seconds, error)


def _package_of(error: str, folders: Folders, limits: LuaLimits) -> str | None:
    """The package whose global or class an author's file uses, and that the calling script required."""
    found = _UNKNOWN_GLOBAL.search(error)
    if found is not None:
        if found[1] in ("lapp", "path"):
            return f"pl.{found[1]}"
        known = found[1] in _LOADED_BY_SCRIPTS or folders.is_own_package(found[1])
        return found[1] if known else None
    found = _UNKNOWN_CLASS.search(error)
    if found is None:
        return None
    if "<cudnn." in found[0]:
        return "cudnn"
    runtime = Runtime(folders, limits)
    for package in _BRING_CLASSES:
        runtime.guarded(runtime.host.require, package)
        if runtime.guarded(runtime.host.is_class, f"nn.{found[1] or found[2]}"):
            return package
    return None


def _started(job: dict[str, Any], require: list[str], folders: Folders, limits: LuaLimits, run: int) -> Runtime:
    """A Lua with all that comes before the author's file."""
    dialect, data = job.get("dialect") or DIALECTS[0], bool(job.get("data"))
    runtime = Runtime(folders, limits, run, dialect=dialect, data=data)
    runtime.outputs_of = outputs_of
    runtime.loaded = loaded
    host = runtime.host
    runtime.guarded(runtime.text, f"torch.setdefaulttensortype('{_TYPES[job.get('default_type', 'float')]}')", "setup")
    if job.get("arguments") is not None:
        host.set_global("arg", runtime.value(job["arguments"]))
    elif job.get("options") is not None and not (job.get("caller") and _are_told(job)):
        host.set_global(lua_text(job.get("options_as") or "opt"), runtime.value(job["options"]))
    for name in ("nn", "nngraph", *require):
        runtime.guarded(host.require, lua_text(name))
    if job.get("setup"):
        runtime.text(lua_text(job["setup"]), "setup")
    host.go_on()
    host.remember_globals()
    for name in job.get("named") or ():
        host.tell(lua_text(name), runtime.value((job.get("options") or {}).get(name)))
    for name in job.get("before") or ():
        runtime.guarded(host.run_file, lua_text(name))
    return runtime


def _are_told(job: dict[str, Any]) -> bool:
    """Do the options stand for what only data tell a script, or names in an expression?"""
    return is_expression(job.get("call") or "") or set(job["options"]) <= set(job.get("named") or ())


def _one(
    job: dict[str, Any], require: list[str], folders: Folders, limits: LuaLimits, run: int
) -> tuple[Runtime, LuaTable]:
    runtime = _started(job, require, folders, limits, run)
    host = runtime.host

    def complete(error: str) -> None:
        package = _package_of(error, folders, limits)
        if package is not None and package not in require:
            raise LuaStopped(error)

    model = from_caller(runtime, job, complete) if job.get("caller") else _model(runtime, job, folders)
    if (cause := runtime.guarded(host.not_whole, model)) is not None:
        raise LuaStopped(f"the network is not whole where a statement stopped: {told(cause)}")
    made = _parts(runtime, model)
    if (method := host.replaced_method()) is not None:
        raise LuaStopped(f"the files put a method of their own in place of {method}: a network of that is not nn's")
    return runtime, made


def _model(runtime: Runtime, job: dict[str, Any], folders: Folders) -> Any:
    """What the file gives, or an expression, or a variable."""
    host = runtime.host
    if job.get("global_name"):
        return from_variable(runtime, job, folders.text(job["file"]))
    returned = runtime.guarded(host.run_file, lua_text(job["file"])) if job.get("file") else None
    if isinstance(returned, tuple):
        returned = returned[0]
    name = job.get("returns") or _head(job.get("call") or "")
    if name and returned is not None and (job.get("returns") or host.get_global(lua_text(name)) is None):
        host.set_global(lua_text(name), returned)
    if job.get("call"):
        give_options(runtime, job, job["call"])
        return runtime.text(f"return {lua_text(job['call'])}", "call")
    if not runtime.guarded(host.is_a, returned, "nn.Module"):
        found, count = host.candidates(returned)
        raise NoCall([told(found[index]) for index in range(1, count + 1)])
    return returned


#: Tensor types by the word for them.
_TYPES = {"float": "torch.FloatTensor", "double": "torch.DoubleTensor"}


def _head(call: str) -> str:
    """The name with which an expression begins."""
    found = re.match(r"\s*([A-Za-z_]\w*)", call)
    return found[1] if found else ""


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
