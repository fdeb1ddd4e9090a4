"""The registry of converters: Torch7 class name -> function that makes a torch.nn.Module of a `Layer`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..base.errors import UsageError
from .traits import NO_TRAITS, Traits

if TYPE_CHECKING:
    from torch import nn

    from .layer import Layer

Converter = Callable[["Layer"], "nn.Module"]
C = TypeVar("C", bound="Callable[[Layer], nn.Module]")
F = TypeVar("F")

ENTRY_POINTS = "torchmigrate.converters"

#: Where it is set, the converters of other installed packages are left out, here and in the processes that are started.
NO_PLUGINS = "TORCHMIGRATE_NO_PLUGINS"

#: What the names begin with under which files of users are imported.
PLUGIN = "torchmigrate_plugin_"

#: So many hexadecimal digits tell plugins apart.
_DIGITS = 8

_converters: dict[str, Converter] = {}
_traits: dict[str, Traits] = {}
_forms: dict[tuple[str, type], Any] = {}
_of_projects: set[str] = set()
_loaded: set[str] = set()

#: Where the converters of classes stand that projects defined beside their models.
_PROJECTS = f"{ENTRY_POINTS}.projects."


def converts(*typenames: str, traits: Traits = NO_TRAITS, override: bool = False) -> Callable[[C], C]:
    """Registers the decorated function as the converter of Torch7 classes.

    The function gets a `Layer` and returns a `torch.nn.Module` that is called with one argument, as in Torch7: a
    tensor or a nested list of tensors. Its docstring begins with the Torch7 signature; what follows is shown in the
    table of supported layers.

    Args:
        typenames: full class names, such as "nn.Linear", "cudnn.ReLU".
        traits: what else is known of these classes; see `Traits`.
        override: replace a converter that is registered already.

    Raises:
        ValueError: a class has a converter already and `override` is not set; a cell of a notebook may run again.
    """

    def register(function: C) -> C:
        for typename in typenames:
            holder = _converters.get(typename)
            if holder is not None and not override and not _is_run_again(holder, function):
                raise ValueError(
                    f"{typename} already has a converter, {holder.__module__}.{holder.__name__}: "
                    "pass override=True to @converts to replace it"
                )
        for typename in typenames:
            _converters[typename] = function
            (_of_projects.add if function.__module__.startswith(_PROJECTS) else _of_projects.discard)(typename)
            # what is known of the class holds for another converter too, unless that says otherwise
            _traits[typename] = _traits.get(typename, traits) if traits is NO_TRAITS else traits
        return function

    return register


def _is_run_again(holder: Converter, function: Converter) -> bool:
    """Are both one function of a notebook or of a Python that is typed into?"""
    names = {(each.__module__, each.__qualname__) for each in (holder, function)}
    return names == {("__main__", function.__qualname__)}


def converts_to(
    module: Callable[[], nn.Module],
    typename: str,
    *,
    project: str = "",
    ignore: tuple[str, ...] = (),
    traits: Traits = NO_TRAITS,
) -> None:
    """Registers what a Torch7 class without settings becomes; a class of which more must be said needs `converts`.

    Args:
        module: makes the torch.nn.Module.
        typename: full class name, such as "nn.Exp".
        project: where the class was defined, if not in a package of Torch7.
        ignore: fields that do not change what is computed.
        traits: what else is known of the class.
    """

    def convert(layer: Layer) -> nn.Module:
        layer.ignore(*ignore)
        return module()

    convert.__name__ = module.__name__
    convert.__doc__ = f"{typename}(){project and f', of {project}'}"
    converts(typename, traits=traits)(convert)
    if project:
        _of_projects.add(typename)


def find(typename: str) -> Converter | None:
    """The converter of a Torch7 class, or None."""
    load_all()
    return _converters.get(typename)


def is_of_project(typename: str) -> bool:
    """Did a project define this class beside its models, so that another one may use the name for something else?"""
    load_all()
    return typename in _of_projects


def traits_of(typename: str) -> Traits:
    """What is known of a Torch7 class; of an unknown one nothing."""
    load_all()
    return _traits.get(typename, NO_TRAITS)


def module_form(aspect: str, *classes: type[nn.Module]) -> Callable[[F], F]:
    """Registers how modules of these classes are written in some form, such as "python" or "onnx".

    What is registered is whatever the stage of that form asks for; it stands beside the class of the module.

    Args:
        aspect: the name of the form.
        classes: classes of modules; their subclasses are not meant.
    """

    def register(form: F) -> F:
        for cls in classes:
            if (aspect, cls) in _forms:
                raise ValueError(f"{cls.__qualname__} already has a form {aspect!r}")
            _forms[aspect, cls] = form
        return form

    return register


def form_of(aspect: str, module: nn.Module) -> Any:
    """The form that is registered for the class of a module; None if there is none."""
    load_all()
    return _forms.get((aspect, type(module)))


def all_converters() -> dict[str, Converter]:
    """Every registered class with its converter, sorted by name."""
    load_all()
    return dict(sorted(_converters.items()))


def load_all() -> None:
    """Imports every module of torchmigrate.converters and every entry point, once."""
    if ENTRY_POINTS in _loaded:
        return
    package = importlib.import_module(ENTRY_POINTS)
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(info.name)
    for entry in _entry_points():
        try:
            entry.load()
        except (Exception, SystemExit) as error:
            name = entry.name if entry.dist is None else entry.dist.name
            raise UsageError(
                f"The converters of the installed package {name} can't be loaded: {type(error).__name__}: {error}. "
                "--no-plugins leaves them out."
            ) from error
    _record_calls()
    _loaded.add(ENTRY_POINTS)  # last, so that a file that fails to import is not forgotten


def _record_calls() -> None:
    """Lets torch.fx record calls of all layers of torchmigrate.converters but those that only pass values around."""
    from torch import nn

    from .running.recorded_calls import record_calls

    followed = {cls for aspect, cls in _forms if aspect == "followed"}
    for home in [home for home in sys.modules if home.startswith(ENTRY_POINTS + ".")]:
        for item in vars(sys.modules[home]).values():
            own = isinstance(item, type) and issubclass(item, nn.Module) and item.__module__ == home
            if own and item not in followed:
                record_calls(item)


def _entry_points() -> Iterable[EntryPoint]:
    return () if os.environ.get(NO_PLUGINS) else entry_points(group=ENTRY_POINTS)


def installed_plugins() -> dict[str, str]:
    """The installed packages whose converters are used beside torchmigrate's: name -> version."""
    found = {entry.dist.name: entry.dist.version for entry in _entry_points() if entry.dist is not None}
    return {f"{name} (converters)": number for name, number in sorted(found.items())}


def module_class(home: str, name: str) -> object:
    """The class `name` of the module `home` of torchmigrate.converters, wherever it stands now; None if it is gone.

    Folders that an older torchmigrate wrote name the place where a class stood then.
    """
    load_all()
    here = sys.modules.get(home)
    if here is not None and hasattr(here, name):
        return getattr(here, name)
    places = [place for place in sys.modules if place.startswith(ENTRY_POINTS + ".")]
    found = {place: vars(sys.modules[place])[name] for place in places if name in vars(sys.modules[place])}
    defined = {place: item for place, item in found.items() if getattr(item, "__module__", None) == place}
    same_leaf = [item for place, item in defined.items() if home.endswith(place.rpartition(".")[2])]
    return next(iter([*same_leaf, *defined.values()]), None)


def load_plugin(file: str | Path) -> str:
    """Runs a Python file that registers converters; a second time, or for another copy of it, does nothing.

    Returns:
        The name under which the file was imported: files of one name but other contents are different modules.

    Raises:
        UsageError: there is no such file, or it fails.
    """
    path = Path(file).resolve()
    digest = sha256(path.read_bytes()).hexdigest()[:_DIGITS] if path.is_file() else ""
    name = f"{PLUGIN}{path.stem}_{digest}"
    if name in _loaded:
        return name
    spec = importlib.util.spec_from_file_location(name, path)
    if not digest or spec is None or spec.loader is None:
        raise UsageError(f"The plugin {file} is not a Python file.")
    load_all()
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the latter would end the command, as if all had been done
        del sys.modules[name]
        raise UsageError(f"The plugin {file} failed: {type(error).__name__}: {error}") from error
    _loaded.add(name)
    return name


def plugin_class(home: str, name: str) -> object:
    """The class `name` of the plugin that was imported as `home`; None if no loaded plugin has it.

    A plugin that has been edited since, or whose folder an older torchmigrate wrote, is told by the name of its file.

    Raises:
        UsageError: several loaded plugins of that name have it.
    """
    if home in sys.modules and hasattr(sys.modules[home], name):
        return getattr(sys.modules[home], name)
    stems = {home, home.rpartition("_")[0]}
    loaded = [each for each in _loaded if each.startswith(PLUGIN) and each.rpartition("_")[0] in stems]
    found = [getattr(sys.modules[each], name) for each in loaded if hasattr(sys.modules[each], name)]
    if len(found) > 1:
        raise UsageError(f"{len(found)} plugins of one file name have a class {name}; pass only the one that is meant.")
    return next(iter(found), None)
