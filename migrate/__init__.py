"""torchmigrate: Lua Torch7 models (.t7) to PyTorch, safetensors and ONNX, with proof of numeric parity.

Names are imported when they are first used, since reading a file needs no torch and `--help` needs nothing at all.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import lua as lua
    from . import optim as optim
    from .base.errors import ExportError as ExportError
    from .base.errors import ModelNotFound as ModelNotFound
    from .base.errors import NetworksDiffer as NetworksDiffer
    from .base.errors import T7Error as T7Error
    from .base.errors import TorchMigrateError as TorchMigrateError
    from .base.errors import TornFile as TornFile
    from .base.errors import UnsupportedLayers as UnsupportedLayers
    from .base.errors import UsageError as UsageError
    from .folder.conversion import Conversion as Conversion
    from .folder.conversion import convert as convert
    from .folder.load_converted import load_converted as load_converted
    from .folder.run import ConvertOptions as ConvertOptions
    from .lua.plan import fill as fill
    from .matching.match import match as match
    from .matching.result import Match as Match
    from .model.convert import to_torch as to_torch
    from .model.layer import Layer as Layer
    from .model.layer_record import LayerRecord as LayerRecord
    from .model.recurrent_state import forget as forget
    from .model.registry import converts as converts
    from .model.traits import Traits as Traits
    from .onnx.export.export import export_onnx as export_onnx
    from .onnx.result import OnnxExport as OnnxExport
    from .optim.convert import convert_optimizer as convert_optimizer
    from .optim.files import load_optimizer as load_optimizer
    from .optim.state import OptimizerState as OptimizerState
    from .parity.reference_numbers import Reference as Reference
    from .parity.report.report import ParityReport as ParityReport
    from .parity.verify.verify import verify as verify
    from .t7 import Limits as Limits
    from .t7 import LuaFunction as LuaFunction
    from .t7 import LuaObject as LuaObject
    from .t7 import LuaTable as LuaTable
    from .t7 import Storage as Storage
    from .t7 import Tensor as Tensor
    from .t7 import deserialize as deserialize
    from .t7 import load as load
    from .t7.writing.dump import dump as dump
    from .zoo.convert_all import convert_all as convert_all

# ONNX Runtime reads it when it is imported, here and in the processes that are started; a user's own choice stands
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

#: Module -> the public names in it.
_HOMES = {
    "base.errors": (
        "ExportError",
        "ModelNotFound",
        "NetworksDiffer",
        "T7Error",
        "TorchMigrateError",
        "TornFile",
        "UnsupportedLayers",
        "UsageError",
    ),
    "t7": ("Limits", "LuaFunction", "LuaObject", "LuaTable", "Storage", "Tensor", "deserialize", "load"),
    "t7.writing.dump": ("dump",),
    "model.layer_record": ("LayerRecord",),
    "model.convert": ("to_torch",),
    "model.layer": ("Layer",),
    "model.registry": ("converts",),
    "model.recurrent_state": ("forget",),
    "model.traits": ("Traits",),
    "onnx.export.export": ("export_onnx",),
    "onnx.result": ("OnnxExport",),
    "parity.reference_numbers": ("Reference",),
    "parity.report.report": ("ParityReport",),
    "parity.verify.verify": ("verify",),
    "optim.convert": ("convert_optimizer",),
    "optim.files": ("load_optimizer",),
    "optim.state": ("OptimizerState",),
    "folder.conversion": ("Conversion", "convert"),
    "folder.load_converted": ("load_converted",),
    "folder.run": ("ConvertOptions",),
    "lua.plan": ("fill",),
    "matching.match": ("match",),
    "matching.result": ("Match",),
    "zoo.convert_all": ("convert_all",),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

#: Packages that are public as they are.
_PACKAGES = ("lua", "optim")

__all__ = sorted([*_MODULES, *_PACKAGES])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("torchmigrate")
    if name in _PACKAGES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
