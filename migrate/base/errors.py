"""The exceptions of torchmigrate, and the exit codes of its command line.

TorchMigrateError
├── T7Error              the file can't be read                    (exit 3)
│   ├── TornFile         it ends before its end: a download or save was interrupted
│   └── LimitExceeded    reading or running it needs more than `Limits` allow, or than there is
├── UsageError           the call can't be carried out as it was made   (exit 2)
│   └── ModelNotFound    several models in that file, or none at that key
│       └── NoModel      that file holds no model at all     (exit 3)
├── UnsupportedLayers    the model holds layers that can't be converted (exit 4)
├── NetworksDiffer       a network to be filled computes something else   (exit 1)
└── ExportError          the ONNX export failed                    (exit 5)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .messages import counted

EXIT_OK = 0
EXIT_PARITY = 1
EXIT_USAGE = 2
EXIT_UNREADABLE = 3
EXIT_UNSUPPORTED = 4
EXIT_EXPORT = 5
EXIT_BUG = 70
EXIT_INTERRUPTED = 130

#: Exit codes, the worst first: wrong numbers are worse than none.
SEVERITY = (EXIT_BUG, EXIT_PARITY, EXIT_EXPORT, EXIT_UNSUPPORTED, EXIT_UNREADABLE, EXIT_USAGE, EXIT_OK)


class TorchMigrateError(Exception):
    """Base of every error that torchmigrate raises on purpose."""

    exit_code = EXIT_BUG


class T7Error(TorchMigrateError):
    """A `.t7` file can't be read (or a value can't be written as one).

    Attributes:
        message: what is wrong, without the rest.
        offset: byte offset in the file at which reading stopped, or None.
        path: where inside the object tree, such as `model.modules[3].weight`, or "".
        hint: what to do next, or "".
        file: the path of the file, as far as it is known, or "".
    """

    exit_code = EXIT_UNREADABLE

    def __init__(self, message: str, *, offset: int | None = None, path: str = "", hint: str = "") -> None:
        self.message = message
        self.offset = offset
        self.path = path
        self.hint = hint
        self.file = ""
        super().__init__(message)

    def __str__(self) -> str:
        where = []
        if self.offset:  # that it is wrong from its first byte on says nothing
            where.append(f"at byte {self.offset}")
        if self.path:
            where.append(f"in {self.path}")
        text = f"{self.message} ({', '.join(where)})" if where else self.message
        if self.file and self.file not in text:
            text = f"{self.file}: {text}"
        return f"{text}. {self.hint}" if self.hint else text


class TornFile(T7Error):
    """The file ends too early: its download, copy or save was interrupted."""


class LimitExceeded(T7Error):
    """Reading the file, or running its model, needs more than `torchmigrate.t7.Limits` allow, or than there is."""


class UsageError(TorchMigrateError):
    """The call can't be carried out as it was made: an option or argument is wrong."""

    exit_code = EXIT_USAGE


class ModelNotFound(UsageError):
    """The file holds no model, or several and none was chosen with `key`.

    Attributes:
        keys: where the models are that one can choose from; empty if there is none.
    """

    def __init__(self, message: str, keys: Sequence[str] = ()) -> None:
        self.keys = tuple(keys)
        super().__init__(message)


class NoModel(ModelNotFound):
    """The file holds no model: it is a vocabulary, a cache of data, options or the like."""

    exit_code = EXIT_UNREADABLE


@dataclass(frozen=True)
class Refusal:
    """One layer that can't be converted.

    Attributes:
        path: its Torch7 path, such as `1.3.2`; "" is the model itself.
        typename: its Torch7 class, such as `nn.Linear`.
        reason: why it is refused.
        known: False if no converter is registered for the class.
        alias: a known class that has its fields, and may be the same under another name; "" if there is none.
    """

    path: str
    typename: str
    reason: str
    known: bool = True
    alias: str = ""


class UnsupportedLayers(TorchMigrateError):
    """The model holds layers that can't be converted: all of them, with their paths.

    Attributes:
        refusals: every refused layer, in the order of the model.
        held: lines about the models inside the refused one that can be converted without it, or "".
    """

    exit_code = EXIT_UNSUPPORTED

    def __init__(self, refusals: Sequence[Refusal], held: str = "") -> None:
        self.refusals = list(refusals)
        self.held = held
        groups: dict[tuple[str, str], list[str]] = {}
        for refusal in self.refusals:
            groups.setdefault((refusal.typename, refusal.reason), []).append(refusal.path or "the model itself")
        classes = {refusal.typename for refusal in self.refusals}
        what = f"{counted(len(self.refusals), 'layer')} of {counted(len(classes), 'class', 'classes')}"
        lines = [f"{what} can't be converted:"]
        for (typename, reason), paths in groups.items():
            shown = ", ".join(paths[:8]) + (f", … ({len(paths)} in all)" if len(paths) > 8 else "")
            lines.append(f"  {typename} x{len(paths)} at {shown}: {reason}")
        for typename, alias in {refusal.typename: refusal.alias for refusal in self.refusals if refusal.alias}.items():
            lines.append(
                f"{typename} has the fields of {alias}: if it computes the same, pass --alias {typename}={alias}."
            )
        if any(not refusal.known for refusal in self.refusals):
            lines.append(
                "Give the author's Lua file that defines the class with --lua file.lua, or a converter of your own "
                "with --plugin file.py, let another stand in with --alias my.Class=nn.ReLU, or convert the rest with "
                "--allow-unsupported."
            )
        if held:
            lines += ["It holds models that can be converted by themselves; choose one:", held]
        super().__init__("\n".join(lines))


class NetworksDiffer(TorchMigrateError):
    """A network that was to get the weights of a model computes something else: it says where, and how."""

    exit_code = EXIT_PARITY


class ExportError(TorchMigrateError):
    """The ONNX export failed, or its result is not valid ONNX."""

    exit_code = EXIT_EXPORT


class GraphDiffers(ExportError):
    """ONNX Runtime answers otherwise than the converted module."""
