"""What a checkpoint says of the data: mean and standard deviation, order of the channels, names of the classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ..t7 import LuaObject, LuaTable, Tensor, Value
from .contents.children import outputs_of
from .contents.labels import labels_of

#: Names under which people keep these, in small letters and without underscores; of labels the surest first.
_MEAN = ("mean", "means", "meanvalue", "pixelmean", "channelmean", "imgmean", "datamean", "meanrgb", "meanbgr")
_STD = ("std", "stdv", "stds", "stdvalue", "pixelstd", "channelstd", "imgstd", "datastd", "stdrgb", "stdbgr")
_MEAN_IMAGE = ("meanimage", "meanimg", "imagemean", "imgmean", "mean")
_SCALE = ("scale", "inputscale", "pixelscale")
#: To which length the shorter side of a picture is scaled, and what is cut out of it then.
_SCALE_SIZE = ("loadsize", "scalesize", "resizesize")
_CROP_SIZE = ("cropsize", "finesize", "samplesize", "centercrop")
_SIDES = range(8, 4097)
_ORDER = ("channelorder", "colororder", "colorspace", "colourspace")
_LABELS = (
    ("labels", "classes", "classnames", "classlist", "categories", "synset", "synsetwords", "labelnames"),
    ("class2idx", "classtoidx", "idx2class", "idxtoclass", "labelmap", "label2idx", "idx2label"),
    ("idxtotoken", "ivocab", "idx2word", "indextoword", "ixtoword", "id2word", "itow", "idx2char", "vocab", "vocabmap"),
    ("vocabulary", "word2idx", "wordtoindex", "wordtoix", "word2id", "wtoi", "char2idx", "tokentoidx", "symbol2idx"),
)
_LABEL_RANK = {word: rank for rank, words in enumerate(_LABELS) for word in words}

#: Tables in which these usually stand.
_GROUPS = (
    *("transform", "normalization", "normalize", "meanstd", "preprocess", "preprocessing", "stats", "imagestats"),
    *("opt", "options", "opts", "params", "config", "args", "dataset", "data", "loader", "dataloader", "trainset"),
)

#: How deep such tables stand in each other.
_MAX_DEPTH = 3

#: More numbers than a mean of channels or features has: a mean image.
_MOST_NUMBERS = 4096

_WORDS = {"labels": "labels", "mean": "mean", "std": "std", "channel_order": "channel order"}
_OPTIONS = {name: f"--{name.replace('_', '-')}" for name in _WORDS}


@dataclass(frozen=True)
class Preprocessing:
    """What the file says of the data that the model was trained with.

    Attributes:
        mean: what was subtracted, by channel or feature; None if the file does not say.
        std: what it was divided by.
        scale: a number that the file calls so; of pixels, or of something else that the script scales.
        channel_order: "rgb", "bgr" or the like.
        scale_size: to which side pictures are scaled, as numbers such as `opt.loadSize` say.
        crop_size: height and width that are cut out, as numbers such as `opt.cropSize` say.
        labels: names of the classes, or tokens, the first being that of output 1 in Torch7, 0 in ONNX.
        mean_image: size of an image that was subtracted, which `torchmigrate extract --key` takes out.
        found: where each stands, such as {"mean": "transform.mean"}.
        notes: what to know of them.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    scale: float | None = None
    channel_order: str | None = None
    scale_size: int | None = None
    crop_size: tuple[int, ...] | None = None
    labels: tuple[str, ...] | None = None
    mean_image: tuple[int, ...] | None = None
    found: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def known(self) -> dict[str, Any]:
        """What is known, as JSON values."""
        names = ("mean", "std", "scale", "channel_order", "scale_size", "crop_size", "labels", "mean_image")
        known = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in known.items()}

    def to_json(self) -> dict[str, Any]:
        """What is known, as JSON values, and where each was found."""
        known = self.known()
        return {
            **known,
            **({"found": dict(self.found)} if known else {}),
            **({"notes": [*self.notes]} if self.notes else {}),
        }

    def lines(self) -> list[str]:
        """What is known, and in the last line what is not, for people to read."""
        told = []
        for name, value in self.known().items():
            place = f" ({self.found.get(name)})"
            if name == "labels":
                shown = ", ".join(repr(label)[1:-1] if label.strip() else repr(label) for label in value[:6])
                told.append(f"labels: {len(value)}{place}: {shown}{', …' if len(value) > 6 else ''}")
            elif name == "mean_image":
                told.append(f"mean image: {'x'.join(map(str, value))}{place}; `torchmigrate extract` takes it out")
            else:
                told.append(f"{name.replace('_', ' ')}: {numbers_text(value)}{place}")
        missing = [name for name in _WORDS if getattr(self, name) is None and not (name == "mean" and self.mean_image)]
        if missing:
            words, options = (", ".join(table[name] for name in missing) for table in (_WORDS, _OPTIONS))
            told.append(f"not in the file: {words} (`torchmigrate convert` takes {options})")
        return told + list(self.notes)

    def with_given(self, given: dict[str, Any], place: str | None = None) -> Preprocessing:
        """The same with what a user gave, which goes before what the file says.

        Args:
            given: name of an attribute -> its value; None where nothing was given.
            place: where it comes from; None: the options of the command.
        """
        known = {name: value for name, value in given.items() if value is not None}
        found = {**self.found, **{name: place or _OPTIONS[name] for name in known}}
        notes = tuple(note for note in self.notes if "labels" not in known)
        return replace(self, **known, found=found, notes=notes)


def numbers_text(value: Any) -> str:
    """One number, or several, as people write them; what is no number as it is."""
    if isinstance(value, (list, tuple)):
        shown = ", ".join(map(numbers_text, value[:8]))
        return f"{shown}, … ({len(value)} numbers)" if len(value) > 8 else shown
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def find_preprocessing(value: Value, model: LuaObject | None = None) -> Preprocessing:
    """Looks for the usual names in a checkpoint and in the fields of its model.

    Args:
        value: all that a file holds.
        model: the model in it.
    """
    found: dict[str, Any] = {}
    places: dict[str, str] = {}
    labels: list[tuple[int, str, tuple[str, ...]]] = []
    for place, key, item in _entries(value, model):
        word = _plain(key)
        if word in _LABEL_RANK and (names := labels_of(item)) is not None:
            labels.append((_LABEL_RANK[word], place, names))
        if isinstance(item, LuaObject) and (names := labels_of(item.get("classes"))) is not None:  # a confusion matrix
            labels.append((0, f"{place}.classes", names))
        for name, words, read in (
            ("mean", _MEAN, _numbers),
            ("std", _STD, _numbers),
            ("scale", _SCALE, _number),
            ("channel_order", _ORDER, _order),
            ("scale_size", _SCALE_SIZE, _side),
            ("crop_size", _CROP_SIZE, _sides),
            ("mean_image", _MEAN_IMAGE, _image),
        ):
            if word in words and name not in found and (content := read(item)) is not None:
                found[name], places[name] = content, place
                if name in ("mean", "std") and word.endswith(("rgb", "bgr")) and "channel_order" not in found:
                    found["channel_order"], places["channel_order"] = word[-3:], place
    notes: tuple[str, ...] = ()
    if labels:
        outputs = outputs_of(model) if model is not None else None
        _, places["labels"], found["labels"] = min(labels, key=_Preference(outputs))
        count = len(found["labels"])
        if outputs is not None and count != outputs:
            notes = (f"{places['labels']} has {count} labels, but the last layer with weights has {outputs} outputs",)
    return Preprocessing(**found, found=places, notes=notes)


class _Preference:
    """Orders labels: as many as there are outputs first, then the surest names, then the first in the file."""

    def __init__(self, outputs: int | None) -> None:
        self.outputs = outputs

    def __call__(self, labels: tuple[int, str, tuple[str, ...]]) -> tuple[bool, int]:
        rank, _, names = labels
        return len(names) != self.outputs, rank


def statistic(key: Value, value: Value) -> tuple[float, ...] | None:
    """The numbers of a mean or a standard deviation of the data; None if by its name or by what it is it is neither."""
    return _numbers(value) if isinstance(key, str) and _plain(key) in (*_MEAN, *_STD) else None


def _plain(key: str) -> str:
    return key.lower().replace("_", "")


def _entries(value: Value, model: LuaObject | None) -> Iterator[tuple[str, str, Value]]:
    """(path, key, value) of the fields of the model, of the checkpoint, and of the usual tables in either."""
    for prefix, holder in (("model.", model), ("", value)):
        tables: list[tuple[str, Value, int]] = [(prefix, holder, 0)]
        seen: set[int] = set()
        for path, table, depth in tables:  # which grows by the usual tables in it
            if not isinstance(table, (LuaObject, LuaTable)) or id(table) in seen:
                continue
            seen.add(id(table))
            for key, item in table.items():
                if not isinstance(key, str):
                    continue
                yield f"{path}{key}", key, item
                if depth < _MAX_DEPTH and isinstance(item, (LuaTable, LuaObject)) and _plain(key) in _GROUPS:
                    tables.append((f"{path}{key}.", item, depth + 1))


def _numbers(value: Value) -> tuple[float, ...] | None:
    if isinstance(value, float):
        return (value,)
    if isinstance(value, Tensor) and 0 < value.numel() <= _MOST_NUMBERS and sum(n > 1 for n in value.size) <= 1:
        return tuple(float(number) for number in value.numpy().reshape(-1).tolist())
    if isinstance(value, LuaTable) and value.is_list and 0 < len(value) <= _MOST_NUMBERS:
        items = value.list()
        return tuple(float(item) for item in items) if all(isinstance(item, float) for item in items) else None
    return None


def _number(value: Value) -> float | None:
    return value if isinstance(value, float) else None


def _image(value: Value) -> tuple[int, ...] | None:
    several = isinstance(value, Tensor) and sum(extent > 1 for extent in value.size) in (2, 3)
    return value.size if several and isinstance(value, Tensor) else None


def is_size(side: int) -> bool:
    """Can it be the side of a picture?"""
    return side in _SIDES


def _sides(value: Value) -> tuple[int, ...] | None:
    """Height and width: one number for both, two, or three with the planes first."""
    numbers = _numbers(value) or ()
    if len(numbers) not in (1, 2, 3):
        return None
    sides = tuple(int(number) for number in (numbers * 2 if len(numbers) == 1 else numbers[-2:]))
    whole = sides == (numbers * 2 if len(numbers) == 1 else numbers[-2:])
    return sides if whole and all(map(is_size, sides)) else None


def _side(value: Value) -> int | None:
    sides = _sides(value)
    return sides[0] if sides is not None and sides[0] == sides[1] else None


def _order(value: Value) -> str | None:
    return value.lower() if isinstance(value, str) and value.lower() in ("rgb", "bgr", "yuv", "gray", "y") else None
