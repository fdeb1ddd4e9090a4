"""Changes what a model says of itself: sizes, strides, hyperparameters, types, sharing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import torchmigrate as tm

#: Numbers at which arithmetic, allocation or indexing go wrong.
NUMBERS = (0, 1, -1, 2, 3, 7, 0.5, -2, 64, 1000, 5000, 65_536, 200_000, 1e9, 2**30, 2**31, 2**53, 1e300, float("nan"))
NUMBERS += (float("inf"), float("-inf"), -(2.0**31), 1e-320)

#: Sizes of a view that costs no bytes.
LARGE = (2, 100, 10_000, 1 << 20, 1 << 26, 1 << 29)

KINDS = ("Float", "Double", "Half", "Long", "Int", "Byte", "Cuda", "CudaDouble", "CudaHalf", "Char", "Short")

Place = Callable[[Any], None]

#: Changes something of what `Parts` found; an IndexError says that there is nothing of the kind.
Mutation = Callable[[random.Random, "Parts"], None]


class Parts:
    """All that a value holds, each with a way to put something else there."""

    def __init__(self, value: Any) -> None:
        self.found: list[tuple[Any, Place]] = []
        self.objects: list[tm.LuaObject] = []
        self.tensors: list[tm.Tensor] = []
        self.modules: list[tuple[tm.LuaObject, Place]] = []
        seen: set[int] = set()
        waiting = [value]
        while waiting:
            item = waiting.pop()
            if id(item) in seen:
                continue
            seen.add(id(item))
            if isinstance(item, tm.LuaObject):
                self.objects.append(item)
            for table in _tables(item):
                for key, inner in table.items():
                    place = partial(table.__setitem__, key)
                    self.found.append((inner, place))
                    if isinstance(inner, tm.Tensor):
                        self.tensors.append(inner)
                    elif isinstance(inner, (tm.LuaTable, tm.LuaObject)):
                        waiting.append(inner)
                        if isinstance(inner, tm.LuaObject) and inner.typename.startswith("nn."):
                            self.modules.append((inner, place))

    def storages(self) -> list[tm.Storage]:
        """All storages, those of the tensors as well."""
        held = [tensor.storage for tensor in self.tensors] + [value for value, _ in self.of(tm.Storage)]
        return list({id(storage): storage for storage in held if storage is not None}.values())

    def of(self, *kinds: type) -> list[tuple[Any, Place]]:
        return [(value, place) for value, place in self.found if type(value) in kinds]


def _tables(value: Any) -> Iterator[tm.LuaTable]:
    for part in value.parts if isinstance(value, tm.LuaObject) else [value]:
        if isinstance(part, tm.LuaTable):
            yield part


def number(rng: random.Random, parts: Parts) -> None:
    value, place = rng.choice(parts.of(float))
    place(float(rng.choice([rng.choice(NUMBERS), value + rng.choice([-1, 1]), value * 2, -value])))


def flag(rng: random.Random, parts: Parts) -> None:
    value, place = rng.choice(parts.of(bool))
    place(rng.choice([not value, not value, None, 1.0]))


def other_type(rng: random.Random, parts: Parts) -> None:
    _, place = rng.choice(parts.found)
    tensor = tm.Tensor.from_numpy(np.zeros((2, 3), "f4"))
    place(rng.choice([None, 3.0, "text", b"\xff", True, tm.LuaTable(), tm.LuaTable.from_list([1.0, 2.0]), tensor]))


def list_of_sizes(rng: random.Random, parts: Parts) -> None:
    storage, _ = rng.choice(parts.of(tm.Storage))
    data = np.array(storage.data)
    if data.size:
        chosen = rng.choice(NUMBERS)
        whole = int(chosen) if abs(chosen) < 2**62 else rng.choice([0, -1, 2**62])
        data[rng.randrange(data.size)] = whole if data.dtype.itemsize == 8 else rng.choice([0, 1, 2, 100])
    storage.data = data if rng.random() < 0.8 else data[: rng.randrange(data.size + 1)]


def expand(rng: random.Random, parts: Parts) -> None:
    """A stride of 0, and a size to it."""
    tensor = rng.choice(parts.tensors)
    if not tensor.size:
        return
    axis = rng.randrange(len(tensor.size))
    size = rng.choice(LARGE) if rng.random() < 0.7 else tensor.size[axis]
    tensor.size = (*tensor.size[:axis], size, *tensor.size[axis + 1 :])
    tensor.stride = (*tensor.stride[:axis], 0, *tensor.stride[axis + 1 :])


def view(rng: random.Random, parts: Parts) -> None:
    """Another view of the same storage: transposed, overlapping, shifted, smaller, of other dimensions, empty."""
    tensor = rng.choice(parts.tensors)
    count = tensor.numel()
    how = rng.randrange(7)
    if not tensor.size:
        tensor.storage = None
    elif how == 0:
        order = rng.sample(range(len(tensor.size)), len(tensor.size))
        tensor.size, tensor.stride = tuple(tensor.size[i] for i in order), tuple(tensor.stride[i] for i in order)
    elif how == 1:
        tensor.stride = (1,) * len(tensor.size)
    elif how == 2:
        tensor.size = (max(1, tensor.size[0] - 1), *tensor.size[1:])
        tensor.offset += rng.choice([0, 1])
    elif how == 3:
        tensor.size, tensor.stride = (count,), (1,)
    elif how == 4:
        tensor.size, tensor.stride = (1, *tensor.size), (rng.choice([0, 1, count, 2**40]), *tensor.stride)
    elif how == 5:
        tensor.size, tensor.stride, tensor.storage, tensor.offset = (), (), None, 1
    else:
        tensor.size = tuple(rng.choice([1, size, size + 1, 0, size // 2 or 1]) for size in tensor.size)


def element_type(rng: random.Random, parts: Parts) -> None:
    tensor = rng.choice(parts.tensors)
    kind = rng.choice(KINDS)
    with np.errstate(all="ignore"):
        changed = tm.Tensor.from_numpy(tensor.numpy().astype(tm.t7.values.ELEMENT_TYPES[kind]), kind)
    for name in ("type", "size", "stride", "offset", "storage"):
        setattr(tensor, name, getattr(changed, name))


def contents(rng: random.Random, parts: Parts) -> None:
    """Other numbers in a storage."""
    tensor = rng.choice(parts.tensors)
    if tensor.storage is None or not len(tensor.storage):
        return
    data = np.array(tensor.storage.data)
    with np.errstate(all="ignore"):
        wanted = np.array([rng.choice([float("nan"), float("inf"), 1e38, 0, -1, 2**31, 7])]).astype(data.dtype)
    data[rng.randrange(data.size) if rng.random() < 0.5 else slice(None)] = wanted[0]
    tensor.storage.data = data


def same_tensor(rng: random.Random, parts: Parts) -> None:
    """One tensor, or one storage, in two places."""
    first, second = rng.choice(parts.tensors), rng.choice(parts.tensors)
    if rng.random() < 0.5:
        _, place = rng.choice(parts.of(tm.Tensor))
        place(first)
    elif first.type == second.type:
        second.storage, second.size, second.stride = first.storage, first.size, first.stride
        second.offset = first.offset


def same_module(rng: random.Random, parts: Parts) -> None:
    """One module in several places, or inside itself."""
    chosen, _ = rng.choice(parts.modules)
    _, place = rng.choice(parts.modules)
    place(chosen)


def doubled(rng: random.Random, parts: Parts) -> None:
    """A module that is run 2, 4, 8, … times."""
    chosen, place = rng.choice(parts.modules)
    for _ in range(rng.choice([1, 2, 4, 10, 16, 40])):
        fields = tm.LuaTable([("modules", tm.LuaTable.from_list([chosen, chosen]))])
        chosen = tm.LuaObject(rng.choice(["nn.Sequential", "nn.Sequential", "nn.ConcatTable", "nn.Concat"]), fields)
        chosen.fields["dimension"] = 2.0
    place(chosen)


def other_class(rng: random.Random, parts: Parts) -> None:
    chosen, _ = rng.choice(parts.modules)
    chosen.typename = rng.choice(CLASSES)


def missing(rng: random.Random, parts: Parts) -> None:
    chosen, _ = rng.choice(parts.modules)
    names = [name for name, _ in chosen.items()]
    if names:
        chosen.fields[rng.choice(names)] = None


def long_list(rng: random.Random, parts: Parts) -> None:
    """A list whose last entry is there many times."""
    lists = [value for value, _ in parts.of(tm.LuaTable) if value.is_list and len(value)]
    chosen = rng.choice(lists)
    for index in range(len(chosen) + 1, len(chosen) + rng.choice([2, 4, 100, 2000])):
        chosen[float(index)] = chosen[float(len(chosen))]


CLASSES: tuple[str, ...] = ()

MUTATIONS: dict[Mutation, int] = {
    number: 10,
    flag: 3,
    other_type: 3,
    list_of_sizes: 3,
    expand: 5,
    view: 4,
    element_type: 3,
    contents: 2,
    same_tensor: 4,
    same_module: 3,
    doubled: 2,
    other_class: 2,
    missing: 3,
    long_list: 2,
}


def mutate(rng: random.Random, value: Any) -> str:
    """Changes a value in up to three places.

    Returns:
        What was done.
    """
    done: list[str] = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        for _ in range(20):
            (mutation,) = rng.choices(list(MUTATIONS), list(MUTATIONS.values()))
            try:
                mutation(rng, Parts(value))
            except IndexError:  # there is nothing of this kind
                continue
            done.append(mutation.__name__)
            break
    return ", ".join(done)
