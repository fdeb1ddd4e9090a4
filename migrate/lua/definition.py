"""Builds a network from the Lua that defines it, and fills it with recorded numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..base.errors import UsageError
from ..t7 import LuaObject, LuaTable, Tensor, Value, load
from .fill import (
    Filling,
    Source,
    described,
    fill_parameters,
    fill_statistics,
    parameter_names,
    read_part,
    statistics_missing,
)
from .limits import DEFAULT_LUA_LIMITS, LuaLimits
from .runtime import DIALECTS
from .sandbox import run
from .sizes import how_to_pass, wanted_numbers


class NoNetwork(UsageError):
    """A file gives no network by itself, or several: the call must say which."""


@dataclass(frozen=True)
class Definition:
    """What a definition gave.

    Attributes:
        model: the network, as a `.t7` file would hold it.
        parameters: how many parameter tensors `parameters()` lists.
        batch_norms: how many modules have running statistics.
        filled: what was filled: "parameters", "statistics".
        printed: what the Lua printed.
        missing: packages that it required and that are not there; nothing of theirs is in the model.
        own_classes: classes that its files define.
        found: where neither a call nor a variable was given: the options of the command by which it came out.
        class_files: which file defines each of its own classes.
        data: the files of data below the folder that it read.
    """

    model: Value
    parameters: int
    batch_norms: int
    filled: tuple[str, ...]
    printed: str
    missing: tuple[str, ...]
    own_classes: tuple[str, ...]
    found: str = ""
    class_files: Mapping[str, str] = field(default_factory=dict)
    data: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What is known of it besides the network, as JSON values."""
        return {
            "parameter_tensors": self.parameters,
            "batch_norms": self.batch_norms,
            "filled": list(self.filled),
            "printed": self.printed,
            "missing_packages": list(self.missing),
            "own_classes": list(self.own_classes),
            "found": self.found,
            "data": list(self.data),
        }

    def network(self, file: str | os.PathLike[str]) -> Definition:
        """The same, if what came out is an object.

        Raises:
            UsageError: it is none.
        """
        if not isinstance(self.model, LuaObject):
            raise UsageError(_no_network(file, self.model))
        return self


def define(
    file: str | os.PathLike[str],
    *,
    folder: str | os.PathLike[str],
    call: str | None = None,
    caller: str | os.PathLike[str] | None = None,
    returns: str | None = None,
    global_name: str | None = None,
    options: Mapping[str, Any] | None = None,
    options_as: str = "opt",
    arguments: Sequence[str] | None = None,
    require: Sequence[str] = (),
    before: Sequence[str] = (),
    setup: str = "",
    default_type: str = "float",
    weights: Source = None,
    weights_key: str | None = None,
    stats: Source = None,
    stats_key: str | None = None,
    fresh_stats: bool = False,
    torch7_source: str | os.PathLike[str] | None = None,
    dialect: str = DIALECTS[0],
    limits: LuaLimits = DEFAULT_LUA_LIMITS,
) -> LuaObject:
    """Runs the Lua that defines a network, and gives the network as a `.t7` file would hold it.

    The Lua runs in a process of its own that reaches nothing but the files below `folder`. It runs twice, with other
    random numbers, other contents of fresh memory and another order of names: what comes out differently, and is not
    filled from `weights` and `stats`, is refused.

    Args:
        file: the Lua file, relative to `folder`.
        folder: the folder in which its author ran it; `require`, `dofile` and `paths` look there.
        call: the Lua expression that gives the network, such as `createModel(opt)`. Without `call`, `caller` and
            `global_name`, the file's own variables and functions, and the scripts below the folder that call it, are
            tried; where that leaves a choice, the error lists it.
        caller: the author's script that calls the file, such as `main.lua`, relative to `folder`: it runs as far as it
            comes, and gives the network that it got from the file. `call` may name the function from which it got the
            network, or be an expression of its variables, in which `definition` is what the file returned and
            `caller` what the script did.
        returns: the name by which that expression calls what the file returned; by default the name with which the
            expression begins, unless there is a global of that name.
        global_name: instead of `call`, the variable, global or local, in which the file leaves the network. The file
            may stop behind that, such as where it reads images, if it only uses the network from there on.
        options: the author's options, a table under the name `options_as`, added to those that a checkpoint given as
            `weights` holds under `opt`. With `caller` they replace those of the script in the expression. A name in
            `call` that nothing else defines stands for the option of that name, such as `vocab_size`.
        options_as: the name of the global that holds `options`.
        arguments: the arguments of a script with `torch.CmdLine`, the global `arg`.
        require: packages and files that the calling script required before.
        before: files that it ran before.
        setup: Lua that runs first.
        default_type: `float` or `double`, the type of `torch.Tensor`.
        weights: the parameters: a `.t7` file or a value from one, a flat vector or a list of tensors.
        weights_key: where they are in `weights`, such as `parameters` or `model.params`.
        stats: the running statistics of batch normalizations.
        stats_key: where they are in `stats`.
        fresh_stats: leave the running statistics as the constructors made them.
        torch7_source: a folder with checkouts of Torch7's packages, such as `DIR/nn` and `DIR/rnn`, or the checkout of
            one: their Lua makes the layers in place of the constructors of this package.
        dialect: `lua51`, or `luajit21` for files with LuaJIT's own syntax, such as `goto`.
        limits: what the Lua may use.

    Raises:
        UsageError: an argument is wrong, the numbers do not fit the network, or what is built depends on chance.
        LuaFailed: the Lua ended with an error.
        LimitExceeded: the Lua was stopped.
    """
    found = define_with_details(
        file,
        folder=folder,
        call=call,
        caller=caller,
        returns=returns,
        global_name=global_name,
        options=options,
        options_as=options_as,
        arguments=arguments,
        require=require,
        before=before,
        setup=setup,
        default_type=default_type,
        weights=weights,
        weights_key=weights_key,
        stats=stats,
        stats_key=stats_key,
        fresh_stats=fresh_stats,
        torch7_source=torch7_source,
        dialect=dialect,
        limits=limits,
    )
    model: LuaObject = found.network(file).model
    return model


def define_with_details(
    file: str | os.PathLike[str],
    *,
    folder: str | os.PathLike[str],
    weights: Source = None,
    weights_key: str | None = None,
    stats: Source = None,
    stats_key: str | None = None,
    fresh_stats: bool = False,
    default_type: str = "float",
    torch7_source: str | os.PathLike[str] | None = None,
    dialect: str = DIALECTS[0],
    limits: LuaLimits = DEFAULT_LUA_LIMITS,
    **job: Any,
) -> Definition:
    """As `define`, with what else is known of the run; the model may be any value.

    Raises:
        UsageError: as in `define`.
        LuaFailed: the Lua ended with an error.
        LimitExceeded: the Lua was stopped.
    """
    if default_type not in ("float", "double"):
        raise UsageError(f"default_type must be 'float' or 'double', not {default_type!r}")
    if dialect not in DIALECTS:
        raise UsageError(f"dialect must be {' or '.join(map(repr, DIALECTS))}, not {dialect!r}")
    if not os.path.isdir(folder):
        raise UsageError(f"{os.fspath(folder)} is no folder")
    if torch7_source is not None and not os.path.isdir(torch7_source):
        raise UsageError(f"{os.fspath(torch7_source)} is no folder")
    weights = load(weights) if isinstance(weights, (str, os.PathLike)) else weights
    options = _plain(job.get("options"))
    named = list(options or ())
    if job.get("arguments") is None and isinstance(weights, LuaTable) and isinstance(weights.get("opt"), LuaTable):
        options = {**_plain(weights["opt"]), **(options or {})}
    given = read_part(weights, weights_key, "weights")
    statistics = read_part(stats, stats_key, "stats")
    request = {
        **job,
        "file": _relative(file, folder),
        "folders": [os.path.abspath(folder)],
        "default_type": default_type,
        "torch7_source": None if torch7_source is None else os.path.abspath(torch7_source),
        "options": options,
        "named": named,
        "wanted": wanted_numbers(given),
        "caller": None if job.get("caller") is None else _relative(job["caller"], folder),
        "search": True,
        "dialect": dialect,
    }
    said, made = run(request, limits)
    if "calls" in said:
        raise NoNetwork(_which_call(file, said["calls"], said["ways"], said["unknown"]))
    if given is not None and not isinstance(made.get("model"), LuaObject):
        raise UsageError(_no_network(file, made.get("model")))
    _fill(made, said, given, statistics, fresh_stats)
    return Definition(
        made.get("model"),
        len(made.get("parameters") or ()),
        len(made.get("statistics") or ()),
        tuple(name for name, value in (("parameters", given), ("statistics", statistics)) if value is not None),
        said["printed"],
        tuple(said["missing"]),
        tuple(said["own_classes"]),
        said["found"],
        {name: os.path.join(folder, file) for name, file in said["class_files"].items()},
        tuple(said["data"]),
    )


def _no_network(file: str | os.PathLike[str], value: Value) -> str:
    return (
        f"{os.fspath(file)} gave {described(value)}, not a network. Say with --call (call=...) which expression gives "
        "it, or with --global (global_name=...) which global holds it."
    )


def _which_call(file: str | os.PathLike[str], calls: Sequence[str], ways: Sequence[str], unknown: Sequence[str]) -> str:
    """What to say where a file gives no network by itself."""
    name = os.fspath(file)
    tried = "".join(f"\n  {way}" for way in ways[:12])
    if ways and not any(way.endswith(")") for way in ways):
        return f"{name} gives several networks. Choose one of these:{tried}"
    if not calls and not ways:
        return (
            f"{name} returns no network, and defines no function or global that could give one. If a script of its "
            "author builds the network, give that script, or name it with --caller (caller=...)."
        )
    shown = "".join(f"\n  {call}" for call in calls[:12])
    also = f"\nThe author's scripts call it with values that they got from data:{tried}" if ways else ""
    return (
        f"{name} gives no network by itself. Say with --call (call=...) which expression does; `model` is "
        f"what the file returned, `opt` the options:{shown}{also}{how_to_pass(unknown)}"
    )


def _fill(made: LuaTable, said: Mapping[str, Any], weights: Value, statistics: Value, fresh_stats: bool) -> None:
    if said["differences"]:
        raise UsageError(
            "What the Lua builds depends on random numbers, on memory that nothing was written to, or on the order in "
            "which pairs() goes through names: " + "; ".join(said["differences"][:5])
        )
    parameters: list[Tensor] = made["parameters"].list() if made.get("parameters") is not None else []
    pairs = [pair.list() for pair in made["statistics"].list()] if made.get("statistics") is not None else []
    if weights is None and statistics is None:
        return
    if weights is not None and not parameters:
        raise UsageError("weights are given, but what the Lua gave has no parameters")
    filling = Filling()
    if weights is not None:
        fill_parameters(filling, parameters, parameter_names(parameters, made.get("model")), weights)
    if statistics is not None:
        fill_statistics(filling, pairs, statistics)
    elif pairs and weights is not None and not fresh_stats:
        raise statistics_missing(len(pairs))
    if weights is None:
        return
    for tensor, path in zip(made["drawn"].list(), made["drawn_paths"].list(), strict=True):
        if not filling.covers(tensor):
            raise UsageError(
                f"{path.removeprefix('.')} holds random numbers, or memory that nothing was written to, and is no "
                "parameter that the weights fill: the network can't be the one that was trained."
            )


def _relative(file: str | os.PathLike[str], folder: str | os.PathLike[str]) -> str:
    """The file as the Lua names it.

    Raises:
        UsageError: it does not lie below the folder.
    """
    path = os.path.normpath(os.path.join(folder, file))
    if not os.path.isfile(path):
        raise UsageError(f"There is no file {path}")
    relative = os.path.relpath(path, folder)
    if relative.startswith(os.pardir):
        raise UsageError(f"{os.fspath(file)} does not lie below the folder {os.fspath(folder)}")
    return relative.replace(os.sep, "/")


def _plain(value: Any) -> Any:
    """Options as JSON holds them; a table of a checkpoint as well."""
    if isinstance(value, (LuaTable, Mapping)):
        if isinstance(value, LuaTable) and value.is_list and len(value):
            return [_plain(held) for held in value.list()]
        return {key: _plain(held) for key, held in value.items() if isinstance(key, str)}
    if isinstance(value, (list, tuple)):
        return [_plain(held) for held in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise UsageError(f"an option can't be {value!r}: numbers, text, yes or no, and tables of them are")
