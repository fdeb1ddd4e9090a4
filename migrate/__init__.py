"""torchmigrate: Lua Torch7 models (.t7) to PyTorch, safetensors and ONNX, with proof of numeric parity.

Names are imported when they are first used, since reading a file needs no torch and `--help` needs nothing at all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .build import LayerRecord as LayerRecord
    from .conversion import Conversion as Conversion
    from .converting import convert as convert
    from .converting import to_torch as to_torch
    from .errors import ExportError as ExportError
    from .errors import ModelNotFound as ModelNotFound
    from .errors import T7Error as T7Error
    from .errors import TorchMigrateError as TorchMigrateError
    from .errors import TornFile as TornFile
    from .errors import UnsupportedLayers as UnsupportedLayers
    from .errors import UsageError as UsageError
    from .layer import Layer as Layer
    from .onnx import export_onnx as export_onnx
    from .optim import OptimizerState as OptimizerState
    from .optim import convert_optimizer as convert_optimizer
    from .optim import load_optimizer as load_optimizer
    from .parity import ParityReport as ParityReport
    from .parity import verify as verify
    from .registry import converts as converts
    from .saving import load_converted as load_converted
    from .t7 import Limits as Limits
    from .t7 import LuaFunction as LuaFunction
    from .t7 import LuaObject as LuaObject
    from .t7 import LuaTable as LuaTable
    from .t7 import Storage as Storage
    from .t7 import Tensor as Tensor
    from .t7 import deserialize as deserialize
    from .t7 import dump as dump
    from .t7 import load as load

_HOMES = {
    "Conversion": "conversion",
    "ExportError": "errors",
    "Layer": "layer",
    "LayerRecord": "build",
    "Limits": "t7",
    "LuaFunction": "t7",
    "LuaObject": "t7",
    "LuaTable": "t7",
    "ModelNotFound": "errors",
    "OptimizerState": "optim",
    "ParityReport": "parity",
    "Storage": "t7",
    "T7Error": "errors",
    "Tensor": "t7",
    "TornFile": "errors",
    "TorchMigrateError": "errors",
    "UnsupportedLayers": "errors",
    "UsageError": "errors",
    "convert": "converting",
    "deserialize": "t7",
    "convert_optimizer": "optim",
    "converts": "registry",
    "dump": "t7",
    "export_onnx": "onnx",
    "load": "t7",
    "load_converted": "saving",
    "load_optimizer": "optim",
    "to_torch": "converting",
    "verify": "parity",
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
