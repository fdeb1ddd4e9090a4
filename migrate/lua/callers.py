"""Gets a network out of an author's script: what it got from the file that defines it, or what its variables hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Any

from .runtime import LuaStopped, Runtime, told
from .script_text import is_whole
from .sizes import give_options


class NoCall(Exception):
    """A file gives no network by itself: an expression must say how.

    Attributes:
        calls: expressions that may be it; what the file returned goes by `model` in them.
        ways: options that were tried and give a network each.
        unknown: names in the calls that only data give a value.
    """

    def __init__(self, calls: list[str], ways: tuple[str, ...] = (), unknown: tuple[str, ...] = ()) -> None:
        self.calls = calls
        self.ways = ways
        self.unknown = unknown
        super().__init__(", ".join(calls))


@dataclass(frozen=True)
class Got:
    """What a script got from a function of the file that defines the network.

    Attributes:
        name: of the function; `model` is what the file returned.
        kinds: how many different networks it gave.
        where: the line that called it first.
    """

    name: str
    kinds: int
    where: str


def run_caller(runtime: Runtime, job: dict[str, Any], wanted: str | None = None) -> str | None:
    """Runs the script that calls a definition, as far as it comes; the error that stopped it.

    Args:
        runtime: the Lua.
        job: its `file` defines the network, its `caller` is the script.
        wanted: the function at whose first network the script ends.
    """
    runtime.guarded(runtime.host.watch, lua_text(job["file"]), None if wanted is None else lua_text(wanted))
    return stop_of(runtime, runtime.host.run_caller, job["caller"])


def lost_by(runtime: Runtime) -> list[str]:
    """What stopped statements of the scripts that ran, in their order."""
    lost, count = runtime.host.lost()
    return [told(lost[index]) for index in range(1, count + 1)]


def asked_by(runtime: Runtime) -> list[str]:
    """The values that layers were to be made with, and that only data tell."""
    found = (re.search(r"only data tell ([A-Za-z_][\w.]*), which \S+ is given$", text) for text in lost_by(runtime))
    return list(dict.fromkeys(name[1] for name in found if name))


def is_of_another_file(runtime: Runtime, script: str, call: str, file: str) -> bool:
    """Does a function that a script calls stand in a file of another folder than that which defines the network?"""
    head = re.match(r"[\w.:]+", call)
    source = None if head is None else runtime.host.source_of(lua_text(script), head[0])
    return source is not None and PurePosixPath(normpath(told(source))).parent != PurePosixPath(file).parent


def choosing_option(runtime: Runtime, file: str, beside: Collection[str]) -> tuple[str, str] | None:
    """The option of a script, and its value, that chooses a file among those beside it; None: none, or several may.

    Args:
        runtime: the Lua, in which the script ran.
        file: the file that is to be chosen.
        beside: the names of the files beside it, without their ending.
    """
    found, number, stem = {}, 1, PurePosixPath(file).stem
    while (option := runtime.host.own_option(number)) is not None:
        name, default = (told(part) for part in option)
        last = re.search(r"(\w[\w-]*)(?:\.lua)?$", default)
        if last and last[1] in beside and last[1] != stem:
            found[name] = default[: last.start(1)] + stem + default[last.end(1) :]
        number += 1
    return next(iter(found.items())) if len(found) == 1 else None


def is_unknown(runtime: Runtime, script: str, name: str) -> bool:
    """Does a variable of a script, or a field of one, stand for what only data tell?"""
    base, *fields = name.split(".")
    value = runtime.host.variable(lua_text(script), lua_text(base))
    for field in fields:
        if not _is_table(runtime, value):
            break
        value = runtime.host.get(value, lua_text(field))
    return bool(runtime.host.is_unknown(value))


def unknown_fields(runtime: Runtime, name: str, options: Any) -> list[str]:
    """The fields of a table of options, called `name`, that only data tell."""
    if not _is_table(runtime, options):
        return []
    keys, values, count = runtime.host.entries(options)
    pairs = ((keys[index], values[index]) for index in range(1, count + 1))
    fields = sorted(told(key) for key, value in pairs if isinstance(key, str) and runtime.host.is_unknown(value))
    return [f"{name}.{field}" for field in fields]


def _is_table(runtime: Runtime, value: Any) -> bool:
    kind = runtime.host.kind(value)
    return bool((kind[0] if isinstance(kind, tuple) else kind) == "table")


def got_by(runtime: Runtime) -> list[Got]:
    """From which functions a script that ran got networks."""
    found: list[Got] = []
    while (got := runtime.host.got(len(found) + 1)) is not None:
        name, kinds, where = got
        found.append(Got(told(name), int(kinds), told(where).rstrip(": ")))
    return found


def stop_of(runtime: Runtime, run: Any, file: str) -> str | None:
    """Runs a file; the error that stopped it."""
    try:
        runtime.guarded(run, lua_text(file))
    except LuaStopped as error:
        return str(error)
    finally:
        runtime.host.unwatch()
    return None


def from_caller(runtime: Runtime, job: dict[str, Any], complete: Callable[[str], None]) -> Any:
    """The network that a script gets from a function of the definition, or what an expression gives with its variables.

    Args:
        runtime: the Lua.
        job: as `define` says.
        complete: raises what stopped the script if it was a package that the script itself did not require.

    Raises:
        LuaStopped: it gets none.
    """
    call = job.get("call")
    if call is None:
        raise NoCall([])
    if is_expression(call):
        error = run_caller(runtime, job)
        if error is not None:
            complete(error)
        return call_with_scope(runtime, job, call)
    error = run_caller(runtime, job, call)
    value = runtime.host.wanted_value()
    if value is not None and (names := unread(runtime, job)):
        raise LuaStopped(f"{job['caller']} reads no option {names[0]} before it gets the network")
    if value is None:
        how = "ended" if error is None else "stopped"
        why = "" if error is None else f": {error}"
        raise LuaStopped(f"{job['caller']} {how} before it got a network from {call} of {job['file']}{why}")
    return value


def unread(runtime: Runtime, job: dict[str, Any]) -> list[str]:
    """The options that were given by name, and that nothing read."""
    return [name for name in job.get("named") or () if not runtime.host.has_told(lua_text(name))]


def is_expression(call: str) -> bool:
    """Is a call an expression, and not the name of a function whose network the script got?"""
    return call.startswith("definition") or not re.fullmatch(r"[\w.:]+(?: \(result \d+\))?", call)


def call_with_scope(runtime: Runtime, job: dict[str, Any], call: str) -> Any:
    """What an expression gives after the script ran as far as it comes, with its variables."""
    host = runtime.host
    returned = host.returned()
    if not host.has_run(lua_text(job["file"])):
        returned = runtime.guarded(host.run_file, lua_text(job["file"]))
        returned = returned[0] if isinstance(returned, tuple) else returned
    host.set_global("definition", returned)
    host.set_global("caller", host.caller_returned())
    head = re.match(r"\s*([A-Za-z_]\w*)", call)
    if head and returned is not None and host.variable(lua_text(job["caller"]), head[1]) is None:
        host.set_global(head[1], returned)
    give_options(runtime, job, call, lua_text(job["caller"]))
    made = host.compile(f"return {lua_text(call)}", "=call")
    function, message = made if isinstance(made, tuple) else (made, None)
    if function is None:
        raise LuaStopped(str(message))
    value = runtime.guarded(host.run_with_scope, function, lua_text(job["caller"]))
    return value[0] if isinstance(value, tuple) else value


def from_variable(runtime: Runtime, job: dict[str, Any], text: str) -> Any:
    """The network in a variable of the file, global or local, which may have stopped later on.

    Raises:
        LuaStopped: it stopped before the network was whole.
    """
    host, name = runtime.host, job["global_name"]
    file = lua_text(job["file"])
    as_options = lua_text(job.get("options_as") or "opt")
    given = _identity(runtime, host.get_global(as_options))
    runtime.guarded(host.watch, None)
    error = stop_of(runtime, host.run_file, job["file"])
    first, *fields = name.split(".")
    value = host.variable(file, lua_text(first))
    for key in fields:
        value = host.get(value, lua_text(key)) if value is not None else None
    own = _identity(runtime, host.variable(file, as_options)) != given
    if value is not None and own and (unused := unread(runtime, job)):
        raise LuaStopped(f"{job['file']} makes its own options, and reads no option {unused[0]}")
    if error is None:
        return value
    line, _, _, parts, count = runtime.guarded(host.networks, file)
    held = [name, *(parts[index] for index in range(1, count + 1))]
    if value is None or line is None or not is_whole(text, int(line), held):
        raise LuaStopped(f"{error} (before {name} was whole)")
    return value


def _identity(runtime: Runtime, value: Any) -> Any:
    """A number that a table has, and no other one."""
    return runtime.host.identity(value) if _is_table(runtime, value) else None


def lua_text(text: str) -> str:
    """Text as bytes are in Lua."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


@dataclass
class Seen:
    """What a file left.

    Attributes:
        error: what stopped it.
        line: where it stopped.
        networks: its variables that hold networks.
        parts: those that hold parts of them.
        functions: its functions, as calls with the names of their parameters.
        others: those of them that stand in other files.
    """

    error: str | None
    line: int | None
    networks: list[str]
    parts: list[str]
    functions: list[str]
    others: list[str]


def look(runtime: Runtime, file: str) -> Seen:
    """Runs a file by itself, as far as it comes."""
    host = runtime.host
    runtime.guarded(host.watch, None)
    returned, error = None, None
    try:
        returned = runtime.guarded(host.run_file, lua_text(file))
    except LuaStopped as stop:
        error = str(stop)
    host.unwatch()
    returned = returned[0] if isinstance(returned, tuple) else returned
    line, names, count, parts, parts_count = runtime.guarded(host.networks, lua_text(file))
    functions, found = host.candidates(returned)
    of_file, own_count = host.candidates(returned, lua_text(file))
    own = {told(of_file[index]) for index in range(1, own_count + 1)}
    offers = [told(functions[index]) for index in range(1, found + 1)]
    return Seen(
        error,
        None if line is None else int(line),
        [told(names[index]) for index in range(1, count + 1)],
        [told(parts[index]) for index in range(1, parts_count + 1)],
        offers,
        [offer for offer in offers if offer not in own],
    )
