"""What the data sets in a file consist of: their splits, their samples, and how many of these have which label."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..model.contents.kinds import number_text, size_text
from ..t7 import LuaObject, LuaTable, Storage, Tensor, Value
from ..t7.keys import join

#: What people call the labels of samples, also behind the name of a split, as in trainLabels or yTest.
_LABELS = re.compile(
    r"(class(es|ids?)?|ys?|gt|\w*(labels?|targets?)|y_?(tr|te|val)[a-z]*|(tr|te|val)[a-z]*_?y)", re.IGNORECASE
)

#: Data sets lie that deep at most, and so many are told.
_DEEPEST, _MOST = 4, 8

#: More labels than this are no classes; so many are counted one by one.
_MOST_CLASSES, _FEW_CLASSES = 10_000, 10


def data_sets(value: Value, path: str = "") -> list[str]:
    """A line about each data set in a value, with its path."""
    return [line for _, line in zip(range(_MOST), _data_sets(value, path, 0, set()), strict=False)]


def _data_sets(value: Value, path: str, depth: int, seen: set[int]) -> Iterator[str]:
    if not isinstance(value, (LuaTable, LuaObject)) or depth > _DEEPEST or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, LuaTable) and value.is_list and (told := _pairs(value)):
        yield f"{path or 'the data set'}: {told}"
        return
    entries = [(key, item) for key, item in value.items() if isinstance(key, (str, float))]
    if told := _samples(entries):
        yield f"{path or 'the data set'}: {told}"
    for key, item in entries if len(entries) <= _MOST_CLASSES else ():
        yield from _data_sets(item, join(path, key), depth + 1, seen)


def _samples(entries: list[tuple[str | float, Value]]) -> str:
    """Of a table of tensors, one of which holds the labels of the samples in the others; "" if it is none."""
    labels = {
        str(key): found
        for key, item in entries
        if isinstance(key, str) and _LABELS.fullmatch(key) and (found := _labels(item)) is not None
    }
    told = []
    for name, numbers in labels.items():
        others = [
            f"{key} ({size_text(item)} {item.kind})"
            for key, item in entries
            if isinstance(item, Tensor) and str(key) not in labels and item.size[:1] == (len(numbers),)
        ]
        if others:
            told.append(f"{len(numbers):,} samples in {', '.join(others)}, labels in {name}: {_counted(numbers)}")
    return "; ".join(told)


def _labels(value: Value) -> Any:
    """Whole numbers, one per sample; None if these are none."""
    if isinstance(value, Tensor):
        flat = len(value.size) == 1 or (len(value.size) == 2 and 1 in value.size)
        numbers = value.numpy().reshape(-1) if flat else np.empty(0)
    elif isinstance(value, Storage):
        numbers = np.asarray(value.data)
    elif isinstance(value, LuaTable) and value.is_list and all(isinstance(item, float) for item in value.list()):
        numbers = np.array(value.list(), np.float64)
    else:
        return None
    whole = len(numbers) > 1 and bool(np.isfinite(numbers).all()) and bool((numbers == np.round(numbers)).all())
    return numbers if whole else None


def _counted(numbers: Any) -> str:
    """How many samples have which label."""
    labels, counts = np.unique(numbers, return_counts=True)
    span = f"{number_text(float(labels[0]))} to {number_text(float(labels[-1]))}"
    if len(labels) > _MOST_CLASSES:
        return f"{len(labels):,} different numbers, {span}"
    if len(labels) <= _FEW_CLASSES:
        each = ", ".join(
            f"{number_text(float(label))} ({count:,})" for label, count in zip(labels, counts.tolist(), strict=True)
        )
        return f"{len(labels)} {'class' if len(labels) == 1 else 'classes'}: {each}"
    return f"{len(labels):,} classes, {span}, of {min(counts):,} to {max(counts):,} samples each"


def _pairs(table: LuaTable) -> str:
    """Of a list of {sample, label}; "" if it is none."""
    items = table.list()
    if len(items) < 2 or not all(isinstance(item, LuaTable) and item.is_list and len(item) == 2 for item in items):
        return ""
    first, second = zip(*(item.list() for item in items if isinstance(item, LuaTable)), strict=True)
    if not all(isinstance(sample, Tensor) for sample in first):
        return ""
    sizes = {size_text(sample) for sample in first if isinstance(sample, Tensor)}
    said = f"{len(items):,} pairs, of a tensor {sizes.pop() if len(sizes) == 1 else 'of various sizes'}"
    if all(isinstance(label, float) for label in second):
        return f"{said} and a label: {_counted(np.array(second))}"
    others = {size_text(other) for other in second if isinstance(other, Tensor)}
    if len(others) == 1 and all(isinstance(other, Tensor) for other in second):
        return f"{said} and one {others.pop()}"
    return ""
