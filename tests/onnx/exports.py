"""Golden models, exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import golden
import onnx

import torchmigrate as tm
from torchmigrate.onnx.passes.graph import PATH_KEY
from torchmigrate.onnx.result import OnnxExport

KEYS = {row["file"].removesuffix(".t7"): None if row["key"] == "-" else row["key"] for row in golden.model_rows()}


def converted(name: str) -> tm.Conversion:
    plugins = [golden.FIXTURES / "plugins" / "shave_crop.py"] if name.startswith("style_shave") else []
    return tm.convert(golden.MODELS / f"{name}.t7", key=KEYS[name], plugins=plugins)


def reference(name: str) -> tuple[Any, Any]:
    """What Torch7 was fed, and what it answered."""
    value = tm.load(golden.MODELS / f"{name}.reference.t7")
    return tm.to_torch(value["input"]), tm.to_torch(value["output"])


def export(name: str, folder: Path, **options: Any) -> tuple[OnnxExport, onnx.ModelProto]:
    exported = tm.export_onnx(converted(name), folder / "model.onnx", example_input=reference(name)[0], **options)
    return exported, onnx.load(exported.path)


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def paths(model: onnx.ModelProto) -> dict[str, str]:
    """Name of each node -> Torch7 path of its layer."""
    return {
        node.name: entry.value for node in model.graph.node for entry in node.metadata_props if entry.key == PATH_KEY
    }
