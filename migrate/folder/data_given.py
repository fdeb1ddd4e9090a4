"""What a user says of the data of a model, with options or in a file beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..base.errors import T7Error, UsageError
from ..model.contents.labels import labels_of
from ..model.preprocessing import Preprocessing, find_preprocessing
from ..t7 import LuaObject, LuaTable, load_file
from ..t7.limits import DEFAULT_LIMITS, Limits

#: Names of files with statistics of the data that scripts leave beside their models, without their ending.
_STATISTICS = ("meanstdCache", "meanstd", "meanStd", "mean_std", "stats", "stat", "normalization", "preprocessing")

#: Longer than any list of labels.
_MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class DataGiven:
    """What the options say of the data.

    Attributes:
        mean: what is subtracted, by channel or feature.
        std: what it is divided by.
        channel_order: "rgb", "bgr" or the like.
        labels: a file with names: a line each, a JSON list or object, or a .t7 file.
    """

    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    channel_order: str | None = None
    labels: Path | None = None


def with_given(
    found: Preprocessing, given: DataGiven, file: Path, inputs: int | None, limits: Limits = DEFAULT_LIMITS
) -> Preprocessing:
    """What the model's file says, and what it does not from a file beside it; the options go before both.

    Args:
        found: what the model's file says.
        given: what the options say.
        file: the model's file.
        inputs: how many planes or numbers the model takes: so many means a file beside it must have, or one; None: it
            is not known.
        limits: how much a file may ask for.

    Raises:
        UsageError: the file of the labels can't be read, or holds none.
    """
    if found.mean is None and found.mean_image is None and given.mean is None:
        found = _with_statistics(found, file, inputs, limits)
    labels = None if given.labels is None else read_labels(given.labels, limits)
    options: dict[str, Any] = {
        "mean": None if given.mean is None else tuple(given.mean),
        "std": None if given.std is None else tuple(given.std),
        "channel_order": given.channel_order,
        "labels": labels,
    }
    return found.with_given(options)


def _with_statistics(found: Preprocessing, file: Path, inputs: int | None, limits: Limits) -> Preprocessing:
    beside = statistics_beside(file)
    if beside is None:
        return found
    try:
        value = load_file(beside, limits=limits).objects[0]
    except (T7Error, OSError, IndexError):
        return found  # whatever it is, the model is not known to need it
    known = find_preprocessing(value)
    given = {"mean": known.mean, "std": known.std if found.std is None else None}
    if known.mean is None:
        return found
    if inputs is not None and len(known.mean) not in (1, inputs):
        note = (
            f"{beside.name} beside the model has {len(known.mean)} means; its first layer with weights takes {inputs}"
        )
        return replace(found, notes=(*found.notes, note))
    return found.with_given(given, f"{beside.name} beside the model")


def statistics_beside(file: Path) -> Path | None:
    """`NAME.stats.t7` beside `NAME.t7`, or a file with one of the usual names; None if there is none."""
    stem = file.name.removesuffix(".t7")
    names = [f"{stem}.stats.t7", *(f"{name}.t7" for name in _STATISTICS)]
    found = [file.with_name(name) for name in names]
    return next((path for path in found if os.path.isfile(path) and path.name != file.name), None)


def read_labels(file: Path, limits: Limits = DEFAULT_LIMITS) -> tuple[str, ...]:
    """The names in a file: a line each, a JSON list or object, or a .t7 file.

    Raises:
        UsageError: it can't be read, or holds no names.
    """
    try:
        if file.suffix == ".t7":
            value = load_file(file, limits=limits).objects[0]
            labels = labels_of(value) or find_preprocessing(value).labels
        elif file.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{file} is larger than any list of labels.")
        elif file.suffix == ".json":
            labels = labels_of(_as_table(json.loads(file.read_text("utf-8"))))
        else:
            lines = file.read_text("utf-8").rstrip("\n").split("\n")
            labels = tuple(line.rstrip("\r") for line in lines) if lines != [""] else None
    except (OSError, ValueError, IndexError) as error:
        raise UsageError(f"{file} can't be read as labels: {error}") from error
    if not labels:
        raise UsageError(f"{file} holds no labels: a line each, a JSON list of texts, or a .t7 file with such a table.")
    return labels


def _as_table(value: Any) -> LuaTable | LuaObject | None:
    """JSON as a table: a list, names by index, or indices by name; ints in text are indices."""
    if isinstance(value, list):
        return LuaTable.from_list(value)
    if not isinstance(value, dict):
        return None
    entries = []
    for key, item in value.items():
        index = isinstance(item, str) and key.lstrip("-").isdigit()
        entries.append((float(key) if index else key, float(item) if isinstance(item, int) else item))
    return LuaTable(entries)
