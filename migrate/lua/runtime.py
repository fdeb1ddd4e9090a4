"""A Lua that knows Torch7's tensors and classes. It runs in the process that `sandbox` starts, and only there."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib import resources
from typing import Any

from .folders import Folders
from .kernels import convolutions, criterions, normalization, pooling, resampling
from .kernels import pointwise as pointwise_kernels
from .limits import LuaLimits
from .script_text import is_whole, targets_in, with_marked_tables
from .syntax.guards import guarded
from .tensors import indexing, making, numbers, pointwise, products, randoms, reductions, storages, types, views
from .tensors.engine import FUNCTIONS, KERNELS, METHODS, STORAGE_METHODS, Engine
from .tensors.handles import DTYPES, Handle, LuaFault

#: The modules that register operations when they are imported.
OPERATIONS = (indexing, making, pointwise, numbers, products, randoms, reductions, storages, types, views)
OF_THNN = (convolutions, criterions, normalization, pointwise_kernels, pooling, resampling)

_TABLES = {"method": METHODS, "function": FUNCTIONS, "storage": STORAGE_METHODS, "kernel": KERNELS}
_SCRIPTS = ("classes", "tensors", "torch", "libraries", "absent", "files", "watching")

#: The product's packages that define no layers, which Torch7's own Lua may use.
_BESIDE_TORCH7 = (
    "classic",
    "classic.torch",
    "cutorch",
    "dok",
    "image",
    "moses",
    "nn.THNN",
    "nn.shared",
    "optim",
    "paths",
    "pl.lapp",
    "pl.path",
    "sys",
    "xlua",
)

#: What an author's Lua may be run by; the second knows LuaJIT's own syntax, and its wheels are not for macOS.
DIALECTS = ("lua51", "luajit21")

#: How the names of the product's own Lua begin, which says nothing to an author.
_OWN = "torchmigrate/"

#: Runs one of the scripts; what they need of Lua's own is kept before it is taken away.
_LOAD = """function(text, name, P)
   if P.run_uncompiled then P.run_uncompiled() P.run_uncompiled = nil end
   P.loadstring, P.newproxy = P.loadstring or loadstring, P.newproxy or newproxy
   P.reversed = P.run == 1
   return assert(P.loadstring(text, name))(P)
end"""


#: A pass of a module takes as long as so many operations.
_OF_A_CHILD = 20

#: The share of Lua's memory that one file of data may take.
_OF_LUAS_MEMORY = 8


class LuaStopped(Exception):
    """The Lua ended with an error; the message is Lua's, with its file and line."""


class Runtime:
    """One Lua state.

    Args:
        folders: the files that it may read.
        limits: what it may use.
        run: 0 or 1. The second run draws other random numbers, finds other numbers in fresh memory and goes through
            names the other way round: what it builds differently depends on such things.
        computes: Torch7's own Lua runs layers here: its kernels are there, and no layers of the product.
        dialect: the Lua of `lupa` that runs, one of `DIALECTS`.
        data: the author's files read the files of data below the folders; what they write stays in memory.

    Attributes:
        printed: what the Lua printed.
        files: the author's files that were run.
        data_files: files of data that it read.
        missing: packages that it required and that are not there.
        own_classes: classes that the author's files define.
        class_files: the file that was running when one was defined.
        outputs_of: runs a network that was built so far; None: none is run.
        loaded: reads a `.t7` below the folders; None: none is read.
        child_of: a pass of a module of nn that an author's layer runs; None: no layer is run.
        operations: how many operations ran, as Lua called them; a pass of a module counts as some.
    """

    def __init__(
        self,
        folders: Folders,
        limits: LuaLimits,
        run: int = 0,
        *,
        computes: bool = False,
        dialect: str = DIALECTS[0],
        data: bool = False,
    ) -> None:
        lupa = importlib.import_module(f"lupa.{dialect}")
        self.limits = limits
        self.folders = folders
        self._computes = computes
        self._data = data
        self.engine = Engine(seed=run, fresh=0.0 if run == 0 else 0.0123, elements=limits.elements)
        self.printed = ""
        self.files: list[str] = []
        self.data_files: list[str] = []
        self.missing: list[str] = []
        self.own_classes: list[str] = []
        self.class_files: dict[str, str] = {}
        self.outputs_of: Callable[[Runtime, Any, Any], Any] | None = None
        self.loaded: Callable[[Runtime, str], Any] | None = None
        self.child_of: Callable[..., Any] | None = None
        self.operations = 0
        self.lua = lupa.LuaRuntime(
            encoding="latin-1",
            unpack_returned_tuples=True,
            register_eval=False,
            register_builtins=False,
            attribute_filter=_closed,
            max_memory=limits.lua_bytes,
        )
        self._error = lupa.LuaError
        self._scripts = resources.files(__package__) / "scripts"
        self._boot(run)

    def _boot(self, run: int) -> None:
        bridge = self.lua.table_from(
            {
                "call": self._call,
                "info": _info,
                "names": self._names,
                "kinds": self._kinds,
                "set_default": self._set_default,
                "write": self._write,
                "missing": self._missing,
                "find": self._find,
                "find_below_name": self._find_below_name,
                "entries": self._entries,
                "source": self._source,
                "guarded": self._guarded,
                "only_used": self._only_used,
                "targets": self._targets,
                "package": self._package,
                "torch7_package": self.folders.torch7_package,
                "kernels": self.folders.is_not_lua,
                "on_class": self._on_class,
                "forward": self._forward,
                "load": self._load,
                "asked": self._asked,
                "read": self._read,
                "child": self._child,
            }
        )
        private = self.lua.table_from(
            {
                "bridge": bridge,
                "run": run,
                "own": f"={_OWN}",
                "cpu_seconds": self.limits.cpu_seconds,
                "computes": self._computes,
            }
        )
        # the hook that bounds the time does not run in compiled code
        private["run_uncompiled"] = self.lua.eval("jit and jit.off")
        load = self.lua.eval(_LOAD)

        def run_own(name: str) -> Any:
            return load((self._scripts / f"{name}.lua").read_bytes().decode("latin-1"), f"={_OWN}{name}", private)

        for name in _SCRIPTS:
            run_own(name)
            if name == "tensors":
                private.make_number_types()
        for name in (*(("kernels", "reference") if self._computes else ()), *(("streams",) if self._data else ())):
            run_own(name)
        self.host = run_own("host")

    # ------------------------------------------------------------------ what Lua calls

    def _call(self, how: str, name: str, *arguments: Any) -> Any:
        """Runs an operation; errors come back as text, so that no exception of Python is seen in Lua."""
        self.operations += 1
        try:
            if how == "construct":
                result: Any = making.construct(self.engine, name, *arguments)
            else:
                result = _TABLES[how][name](self.engine, *arguments)
            if isinstance(result, list):
                result = self._table(result)
        except LuaFault as fault:
            return False, str(fault)
        except self._error as error:
            return False, str(error)
        except (MemoryError, RuntimeError, TypeError, ValueError, IndexError, OverflowError, ArithmeticError) as error:
            first = (str(error).splitlines() or [""])[0]
            return False, f"{name}: {first or type(error).__name__}"
        return (True, *result) if isinstance(result, tuple) else (True, result)

    def _forward(self, module: Any, given: Any = None) -> Any:
        """The output of a network that was built so far."""
        if self.outputs_of is None:
            return False, "no layer is run while a model is built"
        try:
            return True, self._nested(self.outputs_of(self, module, given))
        except LuaFault as fault:
            return False, str(fault)

    def _child(self, how: str, module: Any, *arguments: Any) -> Any:
        """What a module of nn gives that an author's layer runs: its output, or a gradient."""
        if self.child_of is None:
            return False, "no layer is run while a model is built"
        self.operations += _OF_A_CHILD
        try:
            return True, self._nested(self.child_of(how, module, *arguments))
        except LuaFault as fault:
            return False, str(fault)

    def _load(self, name: str) -> Any:
        """What a `.t7` below the folders holds."""
        if self.loaded is None:
            return False, "no .t7 files are read here"
        try:
            return True, self.loaded(self, name.encode("latin-1").decode("utf-8", "surrogateescape"))
        except LuaFault as fault:
            return False, str(fault)
        except (MemoryError, RuntimeError, TypeError, ValueError, OverflowError) as error:
            return False, f"torch.load: {(str(error).splitlines() or [type(error).__name__])[0]}"

    def _asked(self, _name: str) -> None:
        """Notes that a file of data was asked for that is below the folders."""
        self.folders.asked_for_data = True

    def _read(self, name: str) -> str | None:
        """A file of data below the folders, as bytes are in Lua; None: there is none, or too much of it."""
        file = name.encode("latin-1").decode("utf-8", "surrogateescape")
        found = self.folders.find(file)
        if found is None or self.folders.size(found) > self.limits.lua_bytes // _OF_LUAS_MEMORY:
            return None
        if found not in self.data_files:
            self.data_files.append(found)
        return self.folders.read(found).decode("latin-1")

    def _nested(self, value: Any) -> Any:
        return self._table(value) if isinstance(value, list) else value

    def _table(self, values: list[Any]) -> Any:
        return self.lua.table_from([self._table(value) if isinstance(value, list) else value for value in values])

    def _names(self, how: str) -> Any:
        return self.lua.table_from(sorted(_TABLES[how]))

    def _kinds(self) -> Any:
        return self.lua.table_from(list(DTYPES))

    def _set_default(self, typename: str) -> None:
        self.engine.default_kind = types.kind_of(typename)

    def _write(self, text: str) -> None:
        room = self.limits.printed_bytes - len(self.printed)
        self.printed += text[: max(room, 0)]

    def _missing(self, name: str) -> None:
        if name not in self.missing:
            self.missing.append(name)

    def _on_class(self, name: str, file: str | None = None) -> None:
        self.own_classes.append(name)
        if file is not None:
            self.class_files[name] = file.encode("latin-1").decode("utf-8", "surrogateescape")

    def _find(self, name: str) -> str | None:
        return self.folders.find(name.encode("latin-1").decode("utf-8", "surrogateescape"))

    def _find_below_name(self, name: str) -> str | None:
        return self.folders.find_below_name(name.encode("latin-1").decode("utf-8", "surrogateescape"))

    def _entries(self, name: str) -> Any:
        found = self.folders.entries(name.encode("latin-1").decode("utf-8", "surrogateescape"))
        if found is None:
            return None
        return tuple(self.lua.table_from([_text(entry) for entry in names]) for names in found)

    def _source(self, name: str) -> str:
        file = name.encode("latin-1").decode("utf-8", "surrogateescape")
        self.files.append(file)
        text = self.folders.read(file).decode("latin-1")
        return f"--{text}" if text.startswith("#") else with_marked_tables(text)

    def _guarded(self, text: str, steps: bool) -> str | None:
        """The text with what asks whether data that are not there decide; None: it is not read, or layers run."""
        return None if self._computes else guarded(text, steps=steps)

    def _lines(self, file: str, first: float, last: float) -> str:
        return "\n".join(self.folders.text(file).split("\n")[int(first) - 1 : int(last)])

    def _only_used(self, file: str, first: float, last: float, name: str) -> bool:
        """Do these lines leave the network in a variable as it is?"""
        text = self.folders.text(file)
        return is_whole("\n".join(text.split("\n")[: int(last)]), int(first), [told(name)])

    def _targets(self, file: str, first: float, last: float) -> Any:
        """The variables and fields that these lines set."""
        return self.lua.table_from([_text(name) for name in targets_in(self._lines(file, first, last))])

    def _package(self, name: str) -> str | None:
        """The text of one of the product's own packages."""
        if self._computes and name not in _BESIDE_TORCH7:
            return None
        parts = name.replace("-", "_").split(".")
        if not all(part.isidentifier() for part in parts):
            return None
        folder = self._scripts / "packages"
        for candidate in (folder.joinpath(*parts, "init.lua"), folder.joinpath(*parts[:-1], f"{parts[-1]}.lua")):
            if candidate.is_file():
                return candidate.read_bytes().decode("latin-1")
        return None

    # ------------------------------------------------------------------ what Python calls

    def guarded(self, call: Any, *arguments: Any) -> Any:
        """Calls a function of Lua.

        Raises:
            LuaStopped: it ended with an error.
        """
        try:
            return call(*arguments)
        except self._error as error:
            raise LuaStopped(str(error)) from None
        except MemoryError:
            raise LuaStopped(f"it needs more memory than LuaLimits.lua_bytes = {self.limits.lua_bytes} allow") from None

    def text(self, source: str, name: str) -> Any:
        """Runs Lua source; its results, the first one if there are several."""
        made = self.host.compile(source, f"={name}")
        function, message = made if isinstance(made, tuple) else (made, None)
        if function is None:
            raise LuaStopped(str(message))
        result = self.guarded(self.host.run_text, function)
        return result[0] if isinstance(result, tuple) else result

    def value(self, given: Any) -> Any:
        """Plain Python (None, bool, numbers, str, lists, dicts) as Lua's."""
        if isinstance(given, (list, tuple)):
            return self.lua.table_from([self.value(item) for item in given])
        if isinstance(given, dict):
            return self.lua.table_from({_key(key): self.value(item) for key, item in given.items()})
        return given.encode().decode("latin-1") if isinstance(given, str) else given


def _text(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("latin-1")


def told(text: str) -> str:
    """Lua's bytes as text for people."""
    return text.encode("latin-1").decode("utf-8", "replace")


def _key(key: Any) -> Any:
    return key.encode().decode("latin-1") if isinstance(key, str) else key


def _closed(_object: Any, _name: Any, _setting: bool) -> Any:
    raise AttributeError("closed")


def _info(handle: Handle) -> tuple[float, str]:
    """What Lua needs to know of a handle: a number that it has while it lives, and its class."""
    return float(id(handle)), handle.typename
