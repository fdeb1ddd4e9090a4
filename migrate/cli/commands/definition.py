"""`convert model.lua --weights` and `convert plan.t7 --weights`: their options, and the network that they give."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .options import TORCH7_SOURCE

if TYPE_CHECKING:
    from ...folder.run import ConvertOptions
    from ...lua import Definition
    from ...lua.plan import FilledPlan

F = TypeVar("F", bound=Callable[..., Any])

#: Those that a .t7 takes too, whose network is filled.
_FILLING = ("weights", "weights_key", "stats", "stats_key", "fresh_stats")

#: The options of a definition: their names in Python, which are those of `torchmigrate.lua.define`.
_OPTIONS = (
    click.option("--weights", type=click.Path(exists=True, path_type=Path), help="The .t7 with parameters."),
    click.option("--weights-key", metavar="KEY", help="Where they are in it, such as parameters."),
    click.option("--stats", type=click.Path(exists=True, path_type=Path), help="The .t7 with running statistics."),
    click.option("--stats-key", metavar="KEY", help="Where they are in it, such as bnVars."),
    click.option("--fresh-stats", is_flag=True, help="There are none: the network was never trained."),
    click.option(
        "--fresh-weights", is_flag=True, help="There are none either: they begin as the constructors drew them."
    ),
    click.option("--call", metavar="LUA", help="The expression that gives the network: 'createModel(opt)'."),
    click.option("--caller", metavar="FILE", help="The author's script that calls it; default: looked for."),
    click.option("--returns", metavar="NAME", help="How --call names what the file returned."),
    click.option("--global", "global_name", metavar="NAME", help="The variable that holds the network."),
    click.option("--opt", "opts", metavar="KEY=VALUE", multiple=True, help="An option of the author's; repeatable."),
    click.option("--opt-name", "options_as", metavar="NAME", help="The global that holds the options; default: opt."),
    click.option("--arg", "arguments", multiple=True, help="An argument of a script with torch.CmdLine; repeatable."),
    click.option("--require", "require", multiple=True, help="A package that the script required; repeatable."),
    click.option("--before", multiple=True, help="A Lua file that ran before; repeatable."),
    click.option("--setup", metavar="LUA", help="Lua that runs first."),
    click.option(
        "--folder",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Where the author ran it; default: the file's folder, else the project's.",
    ),
    TORCH7_SOURCE,
    click.option("--dialect", type=click.Choice(["lua51", "luajit21"]), help="The Lua that runs it; default: lua51."),
    click.option("--tensor-type", "default_type", type=click.Choice(["float", "double"]), help="Default: float."),
)


def lua_options(command: F) -> F:
    """Gives a command the options of a definition."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def taken(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a definition out of those of a command; what was not given is left out."""
    names = (
        "weights",
        "weights_key",
        "stats",
        "stats_key",
        "fresh_stats",
        "fresh_weights",
        "call",
        "caller",
        "returns",
        "global_name",
        "opts",
        "options_as",
        "arguments",
        "require",
        "before",
        "setup",
        "folder",
        "default_type",
        "torch7_source",
        "dialect",
    )
    found = {name: options.pop(name) for name in names}
    return {name: value for name, value in found.items() if value}


def is_definition(files: tuple[str, ...]) -> bool:
    """Is a single Lua file given?"""
    return len(files) == 1 and files[0].endswith(".lua")


def is_filled(files: tuple[str, ...], given: dict[str, Any]) -> bool:
    """Is a single .t7 to be filled with other parameters?

    Raises:
        click.UsageError: an option is given that says nothing of what was asked for.
    """
    others = [name for name in given if name not in _FILLING]
    if others:
        name = {"opts": "opt", "arguments": "arg", "global_name": "global"}.get(others[0], others[0])
        raise click.UsageError(f"--{name.replace('_', '-')} is for a single .lua file, the definition of a network.")
    if given and len(files) != 1:
        raise click.UsageError(f"{_flag(given)} is for a single file, whose network it fills.")
    if given and "weights" not in given:
        raise click.UsageError(f"{_flag(given)} goes with --weights, the parameters that fill the network.")
    return bool(given)


def _flag(given: dict[str, Any]) -> str:
    return f"--{next(iter(given)).replace('_', '-')}"


def origin(file: Path, given: dict[str, Any], found: str = "") -> str:
    """Of which files a network was made, and how, for the folder that it becomes."""
    from ...model.convert import sha256

    parts = [("its layers come", file)]
    parts += [("its parameters", given["weights"])] if "weights" in given else []
    parts += [("its running statistics", given["stats"])] if "stats" in given else []
    how = re.search(r"--(?:caller|call|global) .*", found)  # without the folder, which is of this machine
    said = [f"{what} from {path.name} (sha256 {sha256(path)})" for what, path in parts]
    said += [] if "weights" in given else ["its parameters are those that its constructors drew: it was never trained"]
    said += [f"it was made as by {how[0]}"] if how else []
    return f"{', '.join(said)}; the sha256 of the model is that of the .t7 file that these make"


def with_own_classes(found: Definition, settings: ConvertOptions) -> ConvertOptions:
    """The settings with the files that define classes of the network that no converter knows, as `--lua` names them."""
    from ...lua.layers.provider import converters
    from ...lua.layers.session import classes_in
    from ...lua.sandbox import LuaFailed
    from ...model.registry import find, load_all

    if settings.lua or settings.plugins or settings.allow_unsupported:
        return settings
    load_all()
    known = {*settings.aliases, *(name for name in found.class_files if find(name) is not None)}
    held = set(classes_in(found.model)) - known
    files = list(dict.fromkeys(Path(file) for name, file in found.class_files.items() if name in held))
    try:
        return replace(settings, lua=files) if files and converters(files) else settings
    except LuaFailed:  # a file that needs others does not run by itself
        return settings


def inputs(folder: Path, given: dict[str, Any]) -> list[Path | None]:
    """What is read beside the file to make a network; the folder of the output may neither be nor hold any of it.

    Args:
        folder: where a definition runs unless --folder names another.
        given: the options.
    """
    where = given.get("folder")
    before = [(where or folder) / each for each in given.get("before", ())]
    return [given.get("weights"), given.get("stats"), given.get("torch7_source"), where, *before]


def filled(file: Path, given: dict[str, Any], settings: ConvertOptions) -> FilledPlan:
    """Fills the network of a .t7."""
    from ...lua.plan import fill_with_details
    from ...model.registry import load_plugin

    for plugin in settings.plugins:
        load_plugin(plugin)
    aliases = settings.aliases
    return fill_with_details(file, key=settings.key, known=tuple(aliases), limits=settings.limits, **given)


def defined(file: str, given: dict[str, Any]) -> Definition:
    """Runs a definition.

    Raises:
        click.UsageError: an option is wrong.
    """
    from ...lua.definition import NoNetwork
    from ...lua.sandbox import LuaFailed

    given = dict(given)
    if given.pop("fresh_weights", False) == ("weights" in given):
        raise click.UsageError(
            "A .lua file says how a network is built, not what it learned: give its parameters with --weights, or say "
            "--fresh-weights if it was never trained."
        )
    if "opts" in given:
        given["options"] = dict(_option(text) for text in given.pop("opts"))
    folder = given.pop("folder", None)
    if folder is not None:
        return _defined_in(folder, file, given)
    beside, project = Path(file).parent, _project_of(Path(file))
    try:
        return _defined_in(beside, file, given)
    except (NoNetwork, LuaFailed):
        if project is None:
            raise
    found = _defined_in(project, file, given)
    return replace(found, found=f"--folder {project} {found.found}".rstrip())


def _defined_in(folder: Path, file: str, given: dict[str, Any]) -> Definition:
    from ...lua import define_with_details

    return define_with_details(os.path.relpath(file, folder), folder=folder, **given).network(file)


#: What lies in the folder of a project, and seldom in those below.
_MARKS = (".git", "README*", "LICENSE*", "*.rockspec", "main.lua", "train.lua", "opts.lua")


def _project_of(file: Path) -> Path | None:
    """The folder of the project that a file belongs to, above its own; never one that holds the user's home."""
    home = Path.home().resolve()
    for folder in file.resolve().parents[1:5]:
        if folder == home or folder in home.parents:
            return None
        if any(next(folder.glob(mark), None) for mark in _MARKS):
            return folder
    return None


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"--opt takes KEY=VALUE, such as depth=18, not {text!r}")
    if value in ("true", "false"):
        return name, value == "true"
    try:
        number = float(value)
    except ValueError:
        return name, value
    return name, int(number) if number.is_integer() else number
