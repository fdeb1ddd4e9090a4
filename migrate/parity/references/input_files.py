"""Inputs that users give as files: Torch7's own, numpy's, safetensors, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ...base.errors import UsageError
from ...base.tensor_trees import leaves, shapes
from ...model.conversion import ConvertedModel
from ...model.convert import to_torch
from ...shapes.infer import Guess
from ...t7 import load

#: File names of pictures.
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


@dataclass(frozen=True)
class Picture:
    """What is done with a picture before the model sees it.

    Attributes:
        mean: subtracted from each channel.
        std: each channel is divided by it.
        scale: what the largest value becomes: 1, or 255 where the mean says so.
        bgr: are the channels blue, green, red?
        source: where this comes from, in words.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float
    bgr: bool
    source: str


def read_inputs(
    files: Sequence[str | Path],
    conv: ConvertedModel,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Guess:
    """The input in these files; several make a table.

    Args:
        files: .t7, .npy, .npz, .safetensors, or pictures.
        conv: the model that it is for, whose file may know mean and std of pictures.
        mean: of the pictures' channels, for values of 0 to 1 (or to 255, if one is larger than 1).
        std: likewise.

    Raises:
        T7Error: a .t7 file can't be read.
        UsageError: a file is not understood, or a picture's mean and std are not known.
    """
    values, reasons = [], []
    for file in map(Path, files):
        value, reason = _read(file, conv, mean, std)
        if not list(leaves(value)):
            raise UsageError(f"There is no tensor in {file}.")
        values.append(value)
        reasons.append(f"the input is {file.name}{reason}")
    return Guess(values[0] if len(values) == 1 else values, "; ".join(reasons))


def _read(
    file: Path, conv: ConvertedModel, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[Any, str]:
    kind = file.suffix.lower()
    if kind == ".t7":
        return to_torch(load(file)), ""
    if not file.is_file():
        raise UsageError(f"There is no file {file}.")
    if kind in PICTURES:
        picture = preprocessing_of(conv, mean, std)
        value = read_picture(file, picture)
        return value, f" as {shapes(value)}, values of 0 to {picture.scale:g}, {picture.source}"
    try:
        if kind == ".npy":
            return _tensor(np.load(file, allow_pickle=False), file), ""
        if kind == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                return _one_or_list([_tensor(arrays[name], file) for name in sorted(arrays.files)]), ""
        if kind == ".safetensors":
            tensors = load_file(file)
            return _one_or_list([tensors[name] for name in sorted(tensors)]), ""
    except (OSError, ValueError, SafetensorError) as error:
        # what numpy says would have the user unpickle it
        why = f"it holds no plain numbers in the {kind} format" if "pickle" in str(error) else str(error)
        raise UsageError(f"{file} can't be read: {why}") from error
    known = ".t7, .npy, .npz, .safetensors, .png, .jpg"
    raise UsageError(f"{file} is no input that is understood; there is {known}.")


def _tensor(array: Any, file: Path) -> torch.Tensor:
    if array.dtype.kind not in "fiub":
        raise UsageError(f"{file} holds {array.dtype}, which is no number.")
    return torch.from_numpy(np.array(array))


def _one_or_list(values: list[torch.Tensor]) -> Any:
    return values[0] if len(values) == 1 else values


def preprocessing_of(conv: ConvertedModel, mean: Sequence[float] | None, std: Sequence[float] | None) -> Picture:
    """Mean and std as the user gives them, else as the file knows them.

    Raises:
        UsageError: neither says.
    """
    known = conv.preprocessing
    source = "with the mean and std that were given"
    bgr = known.channel_order == "bgr"
    if mean is None and std is None:
        if known.mean is None:
            raise UsageError(
                "How pictures are prepared for this model is not in its file; say it with --mean and --std, such as "
                "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 (or --mean 0 --std 1 for values of 0 to 1)."
            )
        mean, std = known.mean, known.std
        source = f"mean and std from {known.found.get('mean', 'the file')}"
    mean, std = tuple(mean or (0.0,)), tuple(std or (1.0,))
    if 0 in std:
        raise UsageError("--std holds a zero, by which nothing can be divided.")
    scale = 255.0 if max(map(abs, mean)) > 1 or max(map(abs, std)) > 3 else 1.0
    return Picture(mean, std, scale, bgr, source + (", channels in the order BGR" if bgr else ""))


def read_picture(file: Path, picture: Picture) -> torch.Tensor:
    """A picture as a batch of one, (1, C, H, W), in float32; grey if mean and std have one number of one channel.

    Raises:
        UsageError: it can't be read, or pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise UsageError("Pictures need pillow: pip install 'torchmigrate[images]'.") from error
    try:
        with Image.open(file) as opened:
            grey = opened.mode in ("L", "1", "I;16") and len(picture.mean) == 1
            pixels = np.asarray(opened.convert("L" if grey else "RGB"), dtype=np.float32)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"{file} can't be read as a picture: {error}") from error
    planes = pixels[None] if grey else pixels.transpose(2, 0, 1)
    if picture.bgr:
        planes = planes[::-1]
    channels = len(planes)
    for name, numbers in (("mean", picture.mean), ("std", picture.std)):
        if len(numbers) not in (1, channels):
            raise UsageError(f"The {name} has {len(numbers)} numbers, the picture {channels} channels.")
    values = planes / 255 * picture.scale
    mean, std = (np.array(numbers, np.float32).reshape(-1, 1, 1) for numbers in (picture.mean, picture.std))
    return torch.from_numpy(np.ascontiguousarray((values - mean) / std)).unsqueeze(0)
