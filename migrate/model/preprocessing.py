"""What a checkpoint says of the data: mean and standard deviation, order of the channels, names of the classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..t7 import LuaObject, LuaTable, Tensor, Value

#: Names under which people keep these, in small letters and without underscores.
_MEAN = ("mean", "means", "meanvalue", "pixelmean", "channelmean", "imgmean", "datamean", "meanrgb", "meanbgr")
_STD = ("std", "stdv", "stds", "stdvalue", "pixelstd", "channelstd", "imgstd", "datastd", "stdrgb", "stdbgr")
_LABELS = ("labels", "classes", "classnames", "classlist", "categories", "synset", "synsetwords", "idxtotoken")
_ORDER = ("channelorder", "colororder", "colorspace", "colourspace")

#: A table in which mean and std usually stand.
_GROUPS = ("transform", "normalization", "normalize", "meanstd", "preprocess", "preprocessing", "opt", "dataset")

#: More numbers than a mean of channels or features has: a mean image.
_MOST_NUMBERS = 4096


@dataclass(frozen=True)
class Preprocessing:
    """What the file says of the data that the model was trained with.

    Attributes:
        mean: what was subtracted, by channel or feature; None if the file does not say.
        std: what it was divided by.
        channel_order: "rgb", "bgr" or the like.
        labels: names of the classes, or tokens, the first being that of output 1 in Torch7, 0 in ONNX.
        found: where each stands, such as {"mean": "transform.mean"}.
    """

    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    channel_order: str | None
    labels: tuple[str, ...] | None
    found: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """What is known, as JSON values."""
        known = {"mean": self.mean, "std": self.std, "channel_order": self.channel_order, "labels": self.labels}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in known.items() if v is not None}


def find_preprocessing(value: Value, model: LuaObject | None = None) -> Preprocessing:
    """Looks for the usual names in a checkpoint and in the fields of its model.

    Args:
        value: all that a file holds.
        model: the model in it.
    """
    found: dict[str, Any] = dict.fromkeys(("mean", "std", "channel_order", "labels"))
    places: dict[str, str] = {}
    for place, key, item in _entries(value, model):
        word = key.lower().replace("_", "")
        for name, words, read in (
            ("mean", _MEAN, _numbers),
            ("std", _STD, _numbers),
            ("channel_order", _ORDER, _order),
            ("labels", _LABELS, _labels),
        ):
            if word in words and found[name] is None and (content := read(item)) is not None:
                found[name], places[name] = content, place
                if name in ("mean", "std") and word.endswith(("rgb", "bgr")) and found["channel_order"] is None:
                    found["channel_order"], places["channel_order"] = word[-3:], place
    return Preprocessing(**found, found=places)


def _entries(value: Value, model: LuaObject | None) -> Iterator[tuple[str, str, Value]]:
    """(path, key, value) of the fields of the model, of the checkpoint, and of the usual tables in either."""
    for prefix, holder in (("model.", model), ("", value)):
        tables: list[tuple[str, Value]] = [(prefix, holder)]
        for path, table in tables:  # which grows by the usual tables in the first
            for key, item in table.items() if isinstance(table, (LuaObject, LuaTable)) else ():
                if isinstance(key, str):
                    yield f"{path}{key}", key, item
                    if path == prefix and isinstance(item, LuaTable) and key.lower().replace("_", "") in _GROUPS:
                        tables.append((f"{path}{key}.", item))


def _numbers(value: Value) -> tuple[float, ...] | None:
    if isinstance(value, float):
        return (value,)
    if isinstance(value, Tensor) and 0 < value.numel() <= _MOST_NUMBERS and sum(n > 1 for n in value.size) <= 1:
        return tuple(float(number) for number in value.numpy().reshape(-1).tolist())
    if isinstance(value, LuaTable) and value.is_list and 0 < len(value) <= _MOST_NUMBERS:
        items = value.list()
        return tuple(float(item) for item in items) if all(isinstance(item, float) for item in items) else None
    return None


def _labels(value: Value) -> tuple[str, ...] | None:
    items = value.list() if isinstance(value, LuaTable) and value.is_list else []
    return tuple(map(str, items)) if items and all(isinstance(item, str) for item in items) else None


def _order(value: Value) -> str | None:
    return value.lower() if isinstance(value, str) and value.lower() in ("rgb", "bgr", "yuv", "gray", "y") else None
