"""torchmigrate: Lua Torch7 models (.t7) to PyTorch, safetensors and ONNX, with proof of numeric parity.

Names are imported when they are first used, since reading a file needs no torch and `--help` needs nothing at all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base.errors import ExportError as ExportError
    from .base.errors import ModelNotFound as ModelNotFound
    from .base.errors import T7Error as T7Error
    from .base.errors import TorchMigrateError as TorchMigrateError
    from .base.errors import TornFile as TornFile
    from .base.errors import UnsupportedLayers as UnsupportedLayers
    from .base.errors import UsageError as UsageError
    from .folder.conversion import Conversion as Conversion
    from .folder.conversion import convert as convert
    from .folder.load import load_converted as load_converted
    from .model.build import LayerRecord as LayerRecord
    from .model.convert import to_torch as to_torch
    from .model.layer import Layer as Layer
    from .model.registry import converts as converts
    from .model.traits import Traits as Traits
    from .onnx.export.export import export_onnx as export_onnx
    from .optim.convert import convert_optimizer as convert_optimizer
    from .optim.files import load_optimizer as load_optimizer
    from .optim.state import OptimizerState as OptimizerState
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

_HOMES = {
    "Conversion": "folder.conversion",
    "ExportError": "base.errors",
    "Layer": "model.layer",
    "LayerRecord": "model.build",
    "Limits": "t7",
    "LuaFunction": "t7",
    "LuaObject": "t7",
    "LuaTable": "t7",
    "ModelNotFound": "base.errors",
    "OptimizerState": "optim",
    "ParityReport": "parity.report.report",
    "Storage": "t7",
    "T7Error": "base.errors",
    "Tensor": "t7",
    "TornFile": "base.errors",
    "Traits": "model.traits",
    "TorchMigrateError": "base.errors",
    "UnsupportedLayers": "base.errors",
    "UsageError": "base.errors",
    "convert": "folder.conversion",
    "deserialize": "t7",
    "convert_optimizer": "optim",
    "converts": "model.registry",
    "dump": "t7.writing.dump",
    "export_onnx": "onnx.export.export",
    "load": "t7",
    "load_converted": "folder.load",
    "load_optimizer": "optim",
    "to_torch": "model.convert",
    "verify": "parity.verify.verify",
}

__all__ = [
    "Conversion",
    "ExportError",
    "Layer",
    "LayerRecord",
    "Limits",
    "LuaFunction",
    "LuaObject",
    "LuaTable",
    "ModelNotFound",
    "OptimizerState",
    "ParityReport",
    "Storage",
    "T7Error",
    "Tensor",
    "TorchMigrateError",
    "TornFile",
    "Traits",
    "UnsupportedLayers",
    "UsageError",
    "convert",
    "convert_optimizer",
    "converts",
    "deserialize",
    "dump",
    "export_onnx",
    "load",
    "load_converted",
    "load_optimizer",
    "to_torch",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("torchmigrate")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
