"""With what a comparison was made: versions, and the GPU."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch

from ...model.registry import installed_plugins


def environment() -> dict[str, Any]:
    """Versions of what computes, the GPU and its settings, as a report holds them."""
    return {
        "versions": {name: version(name) for name in ("torchmigrate", "torch", "onnx", "onnxruntime", "numpy")}
        | installed_plugins(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "tf32": "off",
    }
