"""Arrays as tensors of Torch7, and what of them it has not."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.errors import UsageError
from ..t7 import Tensor

Array = np.ndarray[Any, np.dtype[Any]]


def as_tensor(array: Array, name: str, notes: list[str]) -> Tensor:
    """An array as a tensor of Torch7; what changes is noted.

    Raises:
        UsageError: Torch7 has no such type.
    """
    if array.dtype == np.bool_:
        notes.append(f"{name} holds booleans: a ByteTensor of 0 and 1, as Torch7 has masks")
        array = array.astype(np.uint8)
    if array.ndim == 0:
        notes.append(f"{name} has no dimensions: a tensor of one number, since Torch7 has no smaller")
    if array.size == 0 and array.ndim != 1:
        notes.append(f"{name} is empty: Torch7 has no sizes with a 0, so its shape {array.shape} is lost")
    try:
        made = Tensor.from_numpy(array)
    except TypeError as error:
        raise UsageError(
            f"{name} is of type {array.dtype}, which Torch7 has not: it has 8-bit bytes and chars, integers of 16, 32 "
            "and 64 bits, and floats of 16, 32 and 64 bits. Convert it first, such as array.astype('float32')."
        ) from error
    if made.kind == "Half":
        notes.append(
            f"{name} is a HalfTensor, which Torch7 has since 2016; on a CPU it can only be stored and converted"
        )
    return made
