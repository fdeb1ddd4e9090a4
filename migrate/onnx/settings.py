"""What users choose about an export, checked before any work begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx
import torch

from ..base.errors import ExportError, UsageError

#: The oldest opset that PyTorch's exporter has operators for.
OLDEST_OPSET = 18

DEFAULT_OPSET = 20

#: The axes that may have any size.
AXES = ("batch", "time", "height", "width")

#: What `dtype` makes of the floating numbers; None leaves each as it is.
DTYPES = {"float32": torch.float32, "float16": torch.float16, "keep": None}


@dataclass(frozen=True)
class Settings:
    """The options of an export; `export_onnx` says what each means.

    Raises:
        ExportError: there is no such opset.
        UsageError: an option has no meaning.
    """

    opset: int = DEFAULT_OPSET
    dtype: str = "float32"
    dynamic: Sequence[str] | None = None
    input_names: Sequence[str] | None = None
    output_names: Sequence[str] | None = None
    external_data: bool | None = None
    simplify: bool = False
    int8: bool = False
    stateful: bool = False

    def __post_init__(self) -> None:
        newest = onnx.defs.onnx_opset_version()
        if not OLDEST_OPSET <= self.opset <= newest:
            raise ExportError(
                f"opset {self.opset} can't be made: PyTorch's exporter begins at {OLDEST_OPSET}, and the installed "
                f"onnx {onnx.__version__} ends at {newest}. Try --opset {DEFAULT_OPSET}."
            )
        if self.dtype not in DTYPES:
            raise UsageError(f"dtype is one of {', '.join(DTYPES)}, not {self.dtype!r}")
        if unknown := set(self.dynamic or ()) - set(AXES):
            raise UsageError(f"no axis is called {', '.join(sorted(unknown))}; dynamic axes are {', '.join(AXES)}")
        if self.int8 and self.dtype != "float32":
            raise UsageError("int8 goes with float32 numbers only")
        for names in (self.input_names, self.output_names):
            if names is not None and (len(set(names)) != len(names) or not all(names)):
                raise UsageError(f"{', '.join(names)}: each name must be given, and only once")

    @property
    def number_type(self) -> torch.dtype | None:
        """The type of floating numbers in the file; None: as in the model."""
        return DTYPES[self.dtype]

    @property
    def reference_type(self) -> torch.dtype | None:
        """The type in which PyTorch computes what the file is compared with."""
        return torch.float32 if self.number_type == torch.float16 else self.number_type
