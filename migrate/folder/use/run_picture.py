"""What a converted model makes of a picture: labels, another picture, or a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...base.errors import UsageError
from ...base.tensor_trees import shapes
from ...model.conversion import ConvertedModel
from ...model.preprocessing import Preprocessing
from ...parity.references.input_files import Picture, preprocessing_of, read_picture
from ..task import CLASSES, MASKS, PICTURES, is_distribution

#: --as -> the Hub's word.
KINDS = {"labels": CLASSES, "mask": MASKS, "picture": PICTURES}

#: What a last layer gives.
_RANGES: dict[type[nn.Module], tuple[float, float]] = {nn.Tanh: (-1.0, 1.0), nn.Sigmoid: (0.0, 1.0)}


@dataclass(frozen=True)
class Label:
    """One output of a classifier.

    Attributes:
        place: counted from 0.
        name: of the class; None where it is not known.
        value: the number that the model gives; a probability where its outputs are.
    """

    place: int
    name: str | None
    value: float


@dataclass(frozen=True)
class Seen:
    """What a model makes of a picture.

    Attributes:
        kind: "labels", "picture" or "mask".
        said: how the picture was prepared.
        labels: the largest outputs, the largest first.
        probabilities: are their values probabilities?
        pixels: (H, W) or (H, W, 3) bytes, to be written.
    """

    kind: str
    said: str
    labels: tuple[Label, ...] = ()
    probabilities: bool = False
    pixels: Any = None


def see(
    conv: ConvertedModel,
    file: Path,
    kind: str | None,
    *,
    task: str = "",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: tuple[int, int] | None = None,
    top: int = 5,
    value_range: tuple[float, float] | None = None,
) -> Seen:
    """Runs a model on a picture.

    Args:
        conv: the model, with what its file says of its data.
        file: the picture.
        kind: "labels", "picture" or "mask"; None: what the folder, or the size of the output, says.
        task: the Hub's word for what the model is for; "" if it is not known.
        mean: subtracted from each channel, in place of what the file says.
        std: likewise.
        size: height and width to which the picture is scaled; None: as the file says, or not at all.
        top: how many labels.
        value_range: which numbers become black and white in a picture; None: what the model shows.

    Raises:
        UsageError: how pictures are prepared is not known, the model takes no such picture, or what it gives is none.
    """
    picture = preprocessing_of(conv, mean, std)
    given = read_picture(file, picture, size)
    dtype = next((p.dtype for p in conv.module.parameters() if p.is_floating_point()), torch.float32)
    with torch.no_grad():
        try:
            answer = conv.module(given.to(dtype))
        except (RuntimeError, ValueError, TypeError, LookupError, AssertionError) as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            sized = picture.scale_size is not None or picture.crop_size is not None
            unknown = "" if sized else "; the file does not say how its pictures were scaled or cropped"
            raise UsageError(
                f"The model does not take the picture, {shapes(given)}: {said[:200]}. --size HEIGHTxWIDTH scales it"
                f"{unknown}."
            ) from error
    if not isinstance(answer, torch.Tensor):
        raise UsageError(f"The model gives a table, {shapes(answer)}, and no picture, mask or labels.")
    said = f"{shapes(given)}, values of 0 to {picture.scale:g}, {picture.source}"
    kind = kind or next((word for word, tag in KINDS.items() if tag == task), None)
    if answer.dim() == 2 and len(answer) != 1 and kind in (None, "labels"):
        raise UsageError(
            f"Of one picture, {shapes(given)}, the model gives {shapes(answer)}, as of {len(answer)} pictures: it "
            "takes another size. --size HEIGHTxWIDTH scales the picture."
        )
    if answer.dim() <= 2 and kind in (None, "labels"):
        return Seen(
            "labels",
            said,
            _labels(answer.reshape(-1), conv.preprocessing, top),
            is_distribution(answer.reshape(1, -1), 1),
        )
    planes = answer[0] if answer.dim() == 4 else answer
    if planes.dim() != 3 or kind == "labels":
        raise UsageError(f"The model gives {shapes(answer)}, which is no {kind or 'picture, mask or labels'}.")
    if kind is None:
        raise UsageError(f"The model gives {shapes(answer)}, and nothing says what that is: --as picture or --as mask.")
    if kind == "mask":
        return Seen(kind, said, pixels=planes.argmax(0).to(torch.uint8).numpy())
    if value_range is None and type(list(conv.module.modules())[-1]) not in _RANGES:
        said += "; the output is taken to be prepared as the input is"
    return Seen(kind, said, pixels=_pixels(conv, planes, picture, value_range))


def _labels(values: torch.Tensor, known: Preprocessing, top: int) -> tuple[Label, ...]:
    """The largest outputs; logarithms of probabilities become these."""
    if is_distribution(values.reshape(1, -1), 1) and bool((values <= 0).all()):
        values = values.exp()
    best = values.topk(min(top, len(values)))
    names = known.labels if known.labels is not None and len(known.labels) == len(values) else None
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return tuple(Label(place, None if names is None else names[place], value) for place, value in pairs)


def _pixels(
    conv: ConvertedModel, planes: torch.Tensor, picture: Picture, value_range: tuple[float, float] | None
) -> Any:
    """Bytes of a picture: of a range that is given or that the last layer has, else as the input was prepared."""
    if len(planes) not in (1, 3):
        raise UsageError(f"A picture has 1 or 3 channels; the model gives {len(planes)}. Perhaps --as mask.")
    values = planes.double().numpy()
    value_range = value_range or _RANGES.get(type(list(conv.module.modules())[-1]))
    if value_range is not None:
        low, high = value_range
        shown = (values - low) / (high - low)
    else:
        mean, std = (np.array(numbers).reshape(-1, 1, 1) for numbers in (picture.mean, picture.std))
        shown = (values * std + mean) / picture.scale
    if picture.bgr and len(planes) == 3:
        shown = shown[::-1]
    made = np.clip(np.rint(shown * 255), 0, 255).astype(np.uint8)
    return made[0] if len(made) == 1 else made.transpose(1, 2, 0)
