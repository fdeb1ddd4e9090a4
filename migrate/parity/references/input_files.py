"""Inputs and outputs that users give as files: Torch7's own, numpy's, safetensors, pictures."""

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
from ...base.files import PICTURES
from ...base.memory import is_out_of_memory
from ...base.tensor_trees import leaves, position, shapes
from ...model.contents.children import inputs_of
from ...model.conversion import ConvertedModel
from ...model.convert import sha256, to_torch
from ...shapes.check_sizes import check_sizes
from ...shapes.infer import Guess
from ...shapes.random_input import floating_type
from ...t7 import load
from ..network_copies import copy_network
from ..reference_numbers import Reference
from .old_exponential import without_approximation


@dataclass(frozen=True)
class Picture:
    """What is done with a picture before the model sees it.

    Attributes:
        mean: subtracted from each channel.
        std: each channel is divided by it.
        scale: what the largest value becomes: 1, or 255 where the mean says so.
        bgr: are the channels blue, green, red?
        source: where this comes from, in words.
        grey: does the model take one plane, so that a picture in colours is made grey?
        scale_size: the length to which the shorter side is scaled first; None: it is not.
        crop_size: height and width of the middle that is cut out then; None: all is taken.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float
    bgr: bool
    source: str
    grey: bool = False
    scale_size: int | None = None
    crop_size: tuple[int, ...] | None = None


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


def read_given(conv: ConvertedModel, given: Guess, files: Sequence[str | Path]) -> Reference:
    """An output that the user gives, saved by any program, as a reference: what Torch7 answered to an input.

    Args:
        conv: the converted model that it is about.
        given: the input that it belongs to.
        files: .t7, .npy, .npz or .safetensors with the output; several make a table.

    Raises:
        T7Error: a .t7 file can't be read.
        LimitExceeded: on the input a layer would compute more than the limits allow.
        UsageError: a file is not understood, or what it holds can't be the model's answer to the input.
    """
    names = " and ".join(Path(file).name for file in files)
    values = []
    for file in map(Path, files):
        if file.suffix.lower() in PICTURES:
            raise UsageError(f"{file} is a picture, which is rounded to bytes; --expect takes the numbers themselves.")
        value = _read(file, conv, None, None)[0]
        if isinstance(value, dict) and {"input", "output"} <= set(value):
            raise UsageError(f"{file} holds input and output, as a reference does; give it with --reference.")
        values.append(value)
    output = values[0] if len(values) == 1 else values
    if not list(leaves(output)):
        raise UsageError(f"There is no tensor in {names}.")
    for place, tensor in leaves(given.value):
        if not tensor.isfinite().all():
            raise UsageError(f"The input{_at(place)} has NaN or Inf; what a model makes of that proves nothing.")
    check_sizes(conv, given.value)
    _check_answer(conv, given, output, names)
    found = [tensor for _, tensor in leaves(output) if tensor.is_floating_point()]
    # a model in float32 computed in it, and what fits into it comes from it, however it was stored
    single = floating_type(conv.module) == torch.float32 or any(
        torch.equal(t.float().double(), t.double()) for t in found
    )
    made = Reference(
        "given",
        f"the converted model computes the output that was given as Torch7's ({names}), on the input that was given",
        given.value,
        output,
        torch.float32 if single else torch.float64,
        names,
        sha256(Path(files[0])) if len(files) == 1 else None,
        notes=(given.reason,) if given.reason else (),
        limits=(f"That {names} is what Torch7 answered to this input, in evaluate mode, is the user's word.",),
    )
    return without_approximation(conv, made)


def _check_answer(conv: ConvertedModel, given: Guess, output: Any, names: str) -> None:
    """Refuses what can't be an answer of the model to the input, by its sizes and types."""
    network = copy_network(conv)
    try:
        answer = network.run(given.value)
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        if is_out_of_memory(error):
            raise
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"The model does not take the input that was given, {shapes(given.value)}: {said}") from error
    ours, theirs = dict(leaves(answer)), dict(leaves(output))
    sizes = {place: tuple(tensor.shape) or (1,) for place, tensor in ours.items()}
    if sizes != {place: tuple(tensor.shape) or (1,) for place, tensor in theirs.items()}:
        raise UsageError(
            f"{names} holds {shapes(output)}, and the model's answer to the input of {shapes(given.value)} is "
            f"{shapes(answer)}: it is another input's or another model's answer, or reshaped, or the conversion is "
            "wrong; a reference (see `torchmigrate reference`) tells which."
        )
    for place, tensor in theirs.items():
        where = f"{names}{_at(place)}"
        if tensor.is_floating_point() != ours[place].is_floating_point():
            types = f"{_type(tensor)}, and the model gives {_type(ours[place])}"
            raise UsageError(f"{where} holds {types}; save the output as it is, neither rounded nor as classes.")
        if tensor.dtype in (torch.float16, torch.bfloat16):
            raise UsageError(f"{where} holds {_type(tensor)}, too coarse to prove anything; save it as float32.")
        if tensor.isnan().any():
            count = int(tensor.isnan().sum())
            raise UsageError(
                f"{where} has {count} NaN of {tensor.numel()} numbers, with which nothing can be compared."
            )


def _at(place: tuple[int, ...]) -> str:
    return f" at {position(place)}" if place else ""


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


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
    grey = bool(conv.layers) and inputs_of(conv.layers[0].object) == 1
    source += ", grey, since the model takes one plane" if grey else ", channels in the order BGR" if bgr else ""
    scale_size, crop_size = known.scale_size, known.crop_size
    if scale_size is not None:
        source += f", the shorter side scaled to {scale_size} ({known.found.get('scale_size', 'the file')})"
    if crop_size is not None:
        source += f", the middle {crop_size[0]}x{crop_size[1]} ({known.found.get('crop_size', 'the file')})"
    return Picture(mean, std, scale, bgr, source, grey, scale_size, crop_size)


def _fitted(image: Any, picture: Picture, size: tuple[int, int] | None) -> Any:
    """A picture of PIL, scaled and cut."""
    from PIL.Image import Resampling

    if size is not None:
        return image.resize(size[::-1], Resampling.BILINEAR)
    if picture.scale_size is not None:
        shorter = min(image.size)
        image = image.resize([round(side * picture.scale_size / shorter) for side in image.size], Resampling.BILINEAR)
    if picture.crop_size is not None:
        height, width = picture.crop_size
        left, top = (image.width - width) // 2, (image.height - height) // 2
        if left < 0 or top < 0:
            raise UsageError(
                f"The picture has {image.height}x{image.width} pixels, of which the file takes the middle "
                f"{height}x{width}; --size {height}x{width} scales it."
            )
        image = image.crop((left, top, left + width, top + height))
    return image


def read_picture(file: Path, picture: Picture, size: tuple[int, int] | None = None) -> torch.Tensor:
    """A picture as a batch of one, (1, C, H, W), in float32; grey if mean and std have one number of one channel.

    Args:
        file: where it is.
        picture: how it is prepared.
        size: height and width to which it is scaled before, and nothing is cut; None: as `picture` says.

    Raises:
        UsageError: it can't be read, or pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise UsageError("Pictures need pillow: pip install pillow.") from error
    try:
        with Image.open(file) as opened:
            grey = picture.grey or (opened.mode in ("L", "1", "I;16") and len(picture.mean) == 1)
            whole = opened.convert("L" if grey else "RGB")
            pixels = np.asarray(_fitted(whole, picture, size), dtype=np.float32)
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
