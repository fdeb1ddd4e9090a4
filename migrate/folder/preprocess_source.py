"""preprocess.py of a folder: pictures as the model takes them, and the names of its classes, as code."""

from __future__ import annotations

from pathlib import Path

from ..base.folder_files import PREPROCESS
from ..model.contents.children import outputs_of
from ..model.conversion import ConvertedModel
from ..parity.references.input_files import Picture, preprocessing_of

_PICTURE = '''

def preprocess(image: Any) -> torch.Tensor:
    """A picture of PIL as a batch of one, (1, C, H, W) float32.

{said}
    """
    grey = {grey}
    image = image.convert("L" if grey else "RGB"){fitted}
    pixels = np.asarray(image, dtype=np.float32)
    planes = pixels[None] if grey else pixels.transpose(2, 0, 1){order}
    mean, std = (np.array(n, np.float32).reshape(-1, 1, 1) for n in (MEAN, STD))
    values = (planes / 255 * {scale!r} - mean) / std
    return torch.from_numpy(np.ascontiguousarray(values)).unsqueeze(0)
'''


def write_preprocess(conv: ConvertedModel, folder: Path) -> None:
    """Writes preprocess.py, if the file or the user says how pictures are prepared, or the names of the classes."""
    known = conv.preprocessing
    labels = _labels(conv)
    if known.mean is None and labels is None:
        return
    missing = [] if known.mean is not None else ["how pictures are prepared"]
    sized = known.scale_size is not None or known.crop_size is not None
    missing += ["to which size pictures are scaled or cropped"] if known.mean is not None and not sized else []
    missing += ["the names of the classes"] if labels is None else []
    head = (
        f"What the file of Torch7 says of the data of this model.\n\nNot in it, and so not here: {'; '.join(missing)}."
    )
    lines = [f'"""{head}', '"""', ""]
    if known.mean is not None:
        picture = preprocessing_of(conv, None, None)
        scaled = ["from PIL import Image"] if known.scale_size is not None else []
        lines += ["from typing import Any", "", "import numpy as np", "import torch", *scaled, ""]
        lines += [f"MEAN = {list(picture.mean)!r}", f"STD = {list(picture.std)!r}"]
    if labels is not None:
        lines += ["", "#: Place of an output -> its name; the first is at 0.", "id2label = {"]
        lines += [f"    {place}: {label!a}," for place, label in enumerate(labels)]
        lines += ["}"]
    text = "\n".join(lines) + "\n"
    if known.mean is not None:
        order = "[::-1]" if picture.bgr else ""
        grey = "True" if picture.grey else 'len(MEAN) == 1 and image.mode in ("L", "1", "I;16")'
        text += _PICTURE.format(
            said=_said(conv, picture), order=order, scale=picture.scale, grey=grey, fitted=_fitted(picture)
        )
    (folder / PREPROCESS).write_text(text, encoding="utf-8")


def _fitted(picture: Picture) -> str:
    """Lines that scale and cut a picture of PIL."""
    lines = []
    if picture.scale_size is not None:
        lines += [f"sides = [round(side * {picture.scale_size} / min(image.size)) for side in image.size]"]
        lines += ["image = image.resize(sides, Image.Resampling.BILINEAR)"]
    if picture.crop_size is not None:
        height, width = picture.crop_size
        lines += [f"left, top = (image.width - {width}) // 2, (image.height - {height}) // 2"]
        lines += ["if left < 0 or top < 0:"]
        lines += [
            f'    raise ValueError(f"the picture is smaller than {height}x{width}: {{image.height}}x{{image.width}}")'
        ]
        lines += [f"image = image.crop((left, top, left + {width}, top + {height}))"]
    return "".join(f"\n    {line}" for line in lines)


def _labels(conv: ConvertedModel) -> tuple[str, ...] | None:
    """The names of the classes; None where the last layer with weights is known to give more or less."""
    labels = conv.preprocessing.labels
    outputs = outputs_of(conv.layers[0].object) if conv.layers else None
    return labels if labels is None or outputs in (None, len(labels)) else None


def _said(conv: ConvertedModel, picture: Picture) -> str:
    """What is done, where that is known from, and what is not known."""
    known = conv.preprocessing
    values = "0 to 255, which the size of mean and std says" if picture.scale == 255 else "0 to 1"
    said = [f"    Values are of {values}; then the mean is subtracted."]
    if known.std is None:
        said.append("    The file says no std, so nothing is divided.")
    if known.scale_size is not None:
        place = known.found.get("scale_size")
        said.append(f"    First the shorter side is scaled to {known.scale_size} ({place}), bilinear.")
    if known.crop_size is not None:
        size = "x".join(map(str, known.crop_size))
        said.append(f"    Then the middle of {size} is cut out ({known.found.get('crop_size')}).")
    if known.scale_size is not None or known.crop_size is not None:
        said.append("    The file has these numbers; that they are used so is what evaluation scripts of Torch7 do.")
    if picture.grey:
        said.append("    A picture in colours is made grey, since the model takes one plane.")
        return "\n".join(said)
    order = {"bgr": "blue, green, red", "rgb": "red, green, blue"}.get(known.channel_order or "")
    if order is not None:
        said.append(f"    The channels are {order}.")
    elif len(picture.mean) != 1:
        said.append("    The file does not say the order of the channels: that of Torch7's image.load is taken, RGB.")
    return "\n".join(said)
