"""Pictures of tensors that hold images: HxW, 1xHxW, 3xHxW, or many of these as a sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import UsageError
from ..base.output_file import whole_file
from ..model.contents.kinds import size_text
from ..t7 import Tensor
from .entry_names import entry_name

Array = np.ndarray[Any, np.dtype[Any]]

#: So many images at most are on a sheet, and so many become files of their own.
_MOST, _MOST_FILES = 64, 200_000

#: So many letters of a tensor's path are in the name of a file.
_LONGEST = 100

#: Small images are enlarged to about this width of the sheet, large ones made smaller than the other.
_WIDTH, _LARGEST = 512, 4096


def write_preview(tensors: Mapping[str, Tensor], path: Path, *, force: bool = False) -> list[str]:
    """Writes the first tensor that looks like images as a PNG file.

    Args:
        tensors: path -> tensor.
        path: of the PNG file.
        force: replace an existing file.

    Returns:
        What is shown, and how numbers became colours.

    Raises:
        UsageError: there are no images, or Pillow is missing.
    """
    image = _pillow()
    found = _found(tensors)
    name, images = found[0]
    pixels, scale = as_pixels(images[:_MOST])
    notes = [f"the preview shows {min(len(images), _MOST)} of {len(images)} images of {name or 'the tensor'}; {scale}"]
    if images.shape[-1] == 3:
        notes.append("its channels are taken for red, green, blue; models from Caffe have them the other way round")
    if others := [other for other, _ in found[1:]]:
        notes.append(f"not shown: {', '.join(others[:8])}{', …' if len(others) > 8 else ''}")
    with whole_file(path, force=force) as part:
        image.fromarray(_sheet(pixels)).save(part, format="PNG")
    return notes


def write_pictures(tensors: Mapping[str, Tensor], folder: Path) -> list[str]:
    """Writes every image of every tensor that looks like images as a PNG file of its own.

    Args:
        tensors: path -> tensor.
        folder: where to write; it is there.

    Returns:
        What was written, and how numbers became colours.

    Raises:
        UsageError: there are no images, they are too many, or Pillow is missing.
    """
    image = _pillow()
    found = _found(tensors)
    count = sum(len(images) for _, images in found)
    if count > _MOST_FILES:
        raise UsageError(f"These are {count:,} images, each of which would be a file: --key chooses some of them.")
    notes = []
    for name, images in found:
        low, high, scale = _scale(images)
        stem = entry_name(name or "image")[-_LONGEST:]
        digits = len(str(len(images)))
        for i, one in enumerate(images, 1):
            file = f"{stem}-{i:0{digits}}.png" if len(images) > 1 else f"{stem}.png"
            pixels = _colours(one, low, high)
            image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(folder / file, format="PNG")
        notes.append(f"{stem}{'-*' if len(images) > 1 else ''}.png: {len(images):,} of {name or 'the tensor'}; {scale}")
    return notes


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise UsageError("Pictures need Pillow: pip install pillow.") from error
    return Image


def _found(tensors: Mapping[str, Tensor]) -> list[tuple[str, Array]]:
    """The tensors that look like images; at least one."""
    found = [(name, images) for name, tensor in tensors.items() if (images := as_images(tensor.numpy())) is not None]
    if not found:
        sizes = ", ".join(f"{name or 'the tensor'} {size_text(tensor)}" for name, tensor in list(tensors.items())[:8])
        raise UsageError(f"No tensor here looks like images (HxW, 3xHxW, Nx3xHxW): {sizes or 'there is none'}.")
    return found


def as_images(array: Array) -> Array | None:
    """The images in a tensor, of shape N x H x W x (1 or 3); None if it does not look like images."""
    if array.ndim == 2:
        array = array[None, None]
    elif array.ndim == 3:
        array = array[None] if array.shape[0] in (1, 3) else array[:, None]
    if array.ndim != 4 or array.shape[1] not in (1, 3) or min(array.shape[2:]) < 2 or not len(array):
        return None
    images: Array = array.transpose(0, 2, 3, 1)
    return images


def as_pixels(images: Array) -> tuple[Array, str]:
    """The images with bytes for colours, and how the numbers became bytes."""
    low, high, text = _scale(images)
    return _colours(images, low, high), text


def _scale(images: Array) -> tuple[float, float, str]:
    """Which numbers are black and white, and that in words."""
    if images.dtype == np.uint8:
        return 0.0, 255.0, "bytes are colours"
    finite = np.isfinite(images)
    whole = bool(finite.all())
    some = images if whole else images[finite]
    low, high = (float(some.min()), float(some.max())) if some.size else (0.0, 0.0)
    for start, end in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
        if start <= low and high <= end:
            low, high = start, end
            break
    text = f"{low:g} is black and {high:g} is white"
    if not whole:
        text += f"; {images.size - some.size} numbers are not finite"
    return low, high, text


def _colours(images: Array, low: float, high: float) -> Array:
    if images.dtype == np.uint8:
        return images
    numbers = np.nan_to_num(images.astype(np.float64), nan=low, posinf=high, neginf=low)
    return np.rint((numbers - low) / (high - low or 1.0) * 255).astype(np.uint8)


def _sheet(pixels: Array) -> Array:
    """All images side by side in rows, with a line of grey between them."""
    count, height, width, channels = pixels.shape
    step = max(1, math.ceil(max(height, width) / _LARGEST))
    pixels = pixels[:, ::step, ::step]
    columns = math.ceil(math.sqrt(count))
    enlarge = max(1, min(16, _WIDTH // (columns * width)))
    pixels = pixels.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    count, height, width, channels = pixels.shape
    rows = math.ceil(count / columns)
    gap = 1 if count > 1 else 0
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 128, np.uint8)
    for i, image in enumerate(pixels):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet[..., 0] if channels == 1 else sheet
