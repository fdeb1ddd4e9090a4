"""The sizes that a model takes, and how those of its output follow from them: found by running it without numbers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import nn

from ..base.tensor_trees import apply, leaves
from ..shapes.input_readers import INDICES, SEQUENCES, Entries, Entry
from .examples import Example
from .size_trials import Axis, Sample, Trial, Unknown, is_listed, shapes_of, stacked

#: Dimensions of a batch of images.
_IMAGE = 4

#: Steps that sizes may have to have, as behind poolings whose results are enlarged and joined again.
_STEPS = (2, 4, 8, 16, 32, 64, 3, 5, 6, 7, 12, 24)


@dataclass
class Sizes:
    """What is known of the sizes of a model.

    Attributes:
        inputs: the sizes of each input, in words.
        outputs: the same of the outputs.
        axes: the sizes that may vary.
        readers: what reads each input.
        sure: may each input have no other number of dimensions?
        listed: is the output a list of tensors of one size? The first size is then how many.
        several: does the number of dimensions of the output depend on the sizes? All is then of one example.
    """

    inputs: list[list[str]]
    outputs: list[list[str]]
    axes: list[Axis]
    readers: list[Entry]
    sure: list[bool]
    listed: bool = False
    several: bool = False

    @property
    def steps(self) -> list[int]:
        """For each size of the first input a number of which it is a multiple in all inputs that are not refused."""
        free = {dim: axis for axis in self.axes for number, dim in axis.places if number == 0}
        known = all(self.sure) and bool(self.axes)
        fixed = [int(size) if dim not in free else free[dim].step for dim, size in enumerate(self.inputs[0])]
        return fixed if known else [1] * len(fixed)


def tupled(sizes: list[str]) -> str:
    """Sizes as a tuple is written."""
    return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"


def notes_of(axes: list[Axis]) -> str:
    """Which sizes may be what, those of which the same is said together."""
    said: dict[str, list[str]] = {}
    for axis in axes:
        if axis.note:
            said.setdefault(axis.note, []).append(axis.letter)
    return ", ".join(f"{' and '.join(letters)} {note}" for note, letters in said.items())


def kinds_of(entries: Entries) -> list[Entry]:
    """What reads each tensor of an input, in their order."""
    if isinstance(entries, Entry):
        return [entries]
    return [reader for _, part in sorted(entries.items()) for reader in kinds_of(part)]


def sizes_of(module: nn.Module, examples: list[Example], readers: list[Entry]) -> Sizes | None:
    """The sizes that a model takes and gives; None where its inputs or outputs are not plainly tensors.

    Args:
        module: the model.
        examples: what it gave on several sizes.
        readers: what reads each input.
    """
    numbers: list[Any] = []
    apply(examples[0].input, numbers.append, (bool, int, float))
    if numbers:
        return None
    given = [[tensor.shape for _, tensor in leaves(example.input)] for example in examples]
    made = [shapes_of(example.output) for example in examples]
    listed = len(set(map(len, made))) > 1 and all(is_listed(example.output) for example in examples)
    if listed:
        made = [stacked(shapes) for shapes in made]
    if len({tuple(map(len, shapes)) for shapes in given}) != 1:
        return None
    if len({tuple(map(len, shapes)) for shapes in made}) != 1:
        inputs, outputs = ([[str(n) for n in shape] for shape in shapes] for shapes in (given[0], made[0]))
        return Sizes(inputs, outputs, [], readers, [False] * len(given[0]), several=True)
    axes = _axes(given, readers)
    trial = Trial(module, examples[0], axes, made[0], listed)
    tried = [sample for axis in axes if axis.letter != "N" for sample in _tried(axis, trial)]
    for number in range(len(trial.inputs)):
        _open_oblong(number, trial)
    # these come last, so that they take no runs from others
    tried += [sample for axis in axes if axis.letter == "N" and axis.added > 1 for sample in _tried(axis, trial)]
    ran = [Sample({id(axis): axis.sizes[i] for axis in axes}, shapes) for i, shapes in enumerate(made)]
    samples = [s for s in ran if not any(s.sizes[id(axis)] % max(axis.some, 1) for axis in axes)] + tried
    inputs = [[str(n) for n in shape] for shape in given[0]]
    for axis in axes:
        for number, dim in axis.places:
            inputs[number][dim] = axis.letter
    own: dict[tuple[int, ...], str] = {}
    outputs = [[_relation(axes, samples, i, d, own) for d in range(len(shape))] for i, shape in enumerate(made[0])]
    read_by = [*readers, *(Entry() for _ in trial.inputs[len(readers) :])]
    sure = [_is_sure(number, read_by[number], trial) for number in range(len(trial.inputs))]
    found = Sizes(inputs, outputs, axes, readers, sure, listed)
    firsts = {shape[0] if shape else "" for shape in outputs}
    in_steps = any(axis.letter == "N" and axis.step > 1 for axis in axes)  # the frames of several samples
    if (listed and firsts == {"N"}) or (firsts == {"T"} and not in_steps):
        _swap(found)
    return found


def _swap(sizes: Sizes) -> None:
    """Calls the first size T and the second one N: the samples are not along the first dimension."""
    names = {"N": "T", "T": "N"}
    for shape in (*sizes.inputs, *sizes.outputs):
        shape[:] = [size.translate(str.maketrans("NT", "TN")) for size in shape]
    for axis in sizes.axes:
        axis.letter = names.get(axis.letter, axis.letter)


def _is_sure(number: int, reader: Entry, trial: Trial) -> bool:
    """Does what reads an input tell the number of its dimensions, or does no other fit?"""
    traits = [record.traits for record in reader.passed]
    if any(one.merges_dims or (one.keeps_numbers and not one.keeps_size) for one in traits):
        return False
    shape = trial.inputs[number]
    if reader.kind not in ("", INDICES):
        return True
    fewer = [[*shape[:dim], *shape[dim + 1 :]] for dim in range(len(shape)) if len(shape) > 1]
    try:
        return not any(trial.takes(number, other) for other in (*fewer, [1, *shape], [*shape, 1]))
    except Unknown:
        return False


def _open_oblong(number: int, trial: Trial) -> None:
    """Bounds no sides of images where others fit that leave a layer as many numbers: half as high, twice as wide."""
    shape = trial.inputs[number]
    axes = [axis for axis in trial.axes if axis.high is not None and {(number, 2), (number, 3)} & set(axis.places)]
    if len(shape) != _IMAGE or {place for axis in axes for place in axis.places} < {(number, 2), (number, 3)}:
        return
    height, width = shape[2:]
    others = [sides for k in (2, 4) for sides in ((height // k, width * k), (height * k, width // k)) if min(sides)]
    with suppress(Unknown):
        if not any(trial.takes(number, [*shape[:2], *sides]) for sides in others):
            return
    for axis in axes:
        axis.such, axis.low, axis.high = f"such as {axis.low} to {axis.high}", 1, None


def _axes(given: list[list[torch.Size]], readers: list[Entry]) -> list[Axis]:
    """The sizes that differ among examples; those that always go together are one."""
    found: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for number, shape in enumerate(given[0]):
        for dim in range(len(shape)):
            sizes = tuple(shapes[number][dim] for shapes in given)
            if len(set(sizes)) > 1:
                found.setdefault(sizes, []).append((number, dim))
    axes: list[Axis] = []
    for sizes, places in found.items():
        number, dim = places[0]
        letters = letters_of(len(given[0][number]), readers[number].kind if number < len(readers) else "")
        taken = {axis.letter for axis in axes}
        letter = next(name for name in _numbered(letters[dim]) if name not in taken)
        axes.append(Axis(letter, places, sizes))
    return axes


def _numbered(letter: str) -> list[str]:
    return [letter, *(f"{letter}{number}" for number in range(2, 1000))]


def letters_of(dims: int, kind: str) -> list[str]:
    """Letters of the sizes of an input with so many dimensions."""
    if kind == SEQUENCES and dims == 3:
        return ["T", "N", "D"]
    return ["N", *{4: "CHW", 5: "CTHW"}.get(dims, "TUVWXYZABC")]


def _tried(axis: Axis, trial: Trial) -> list[Sample]:
    """Samples of other sizes of an axis; sets which sizes it may have, if that can be found out."""
    known: dict[int, Sample | None] = {}

    def fits(n: int) -> bool:
        if n not in known:
            known[n] = trial(axis, n)
        return known[n] is not None

    dims = len(trial.inputs[axis.places[0][0]])
    try:
        _find(axis, fits, dims)
    except Unknown:
        if dims == _IMAGE or axis.letter == "N":  # poolings and kernels leave nothing of one that is too small
            axis.such = f"such as {' or '.join(map(str, sorted(set(axis.sizes))))}"
    step = max(axis.some, 1)
    return [sample for n, sample in known.items() if sample is not None and n % step == 0]


def _find(axis: Axis, fits: Callable[[int], bool], dims: int) -> None:
    """Finds which sizes a model takes."""
    size = axis.sizes[0]
    if not fits(size):
        raise Unknown
    if not (fits(2 * size) or fits(3 * size)):
        if fits(size + 1) or fits(size - 1):
            axis.low, axis.high = _edge(fits, 0, size, 1), _edge(fits, 2 * size, size, 1)
        return
    steps = [n for n in (1, *_STEPS) if size % n == 0] if axis.letter != "N" else [axis.added]
    step = next((n for n in steps if all(fits(size + i * n) for i in (1, 2, 3, 5, 7))), 0)
    if step == 0 or (step > 1 and any(fits(size + i) for i in range(1, step))):
        axis.some = step or -1
    else:
        far = 16 if dims > 3 else 4  # a sequence is run step by step
        for more in (far * size, 3 * size, 5 * size, size + 11 * step):
            fits(more)
        low = _edge(fits, 0, size // step, step)
        axis.step, axis.low = step, low


def _edge(fits: Callable[[int], bool], bad: int, good: int, step: int) -> int:
    """The last size before those that do not fit, between one that does not and one that does."""
    while abs(good - bad) > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle * step) else (good, middle)
    return good * step


def _relation(axes: list[Axis], samples: list[Sample], output: int, dim: int, own: dict[tuple[int, ...], str]) -> str:
    """A size of an output, as it follows from those of the inputs.

    Args:
        axes: the sizes that may vary.
        samples: which shapes came of which sizes.
        output: the number of the output.
        dim: its dimension.
        own: letters of the sizes of which no more is known than that they vary; gets this one.
    """
    sizes = [sample.outputs[output][dim] for sample in samples]
    if len(set(sizes)) == 1:
        return str(sizes[0])
    for axis in axes:
        if all(sample.sizes[id(axis)] == n for sample, n in zip(samples, sizes, strict=True)):
            return axis.letter
    for a, b in combinations(axes, 2):
        pairs = [(sample.sizes[id(a)], sample.sizes[id(b)]) for sample in samples]
        if all(x * y == n for (x, y), n in zip(pairs, sizes, strict=True)):
            return f"{a.letter}·{b.letter}"
        if all(x + y == n for (x, y), n in zip(pairs, sizes, strict=True)):
            return f"{a.letter} + {b.letter}"
    for axis in axes:
        pairs = sorted({(sample.sizes[id(axis)], n) for sample, n in zip(samples, sizes, strict=True)})
        if len(dict(pairs)) == len(pairs) > 2 and (found := _fitted(axis, pairs)):
            return found
    taken = {*(axis.letter for axis in axes), *own.values()}
    free = (f"{letter}{number}" for number in ("", *range(2, 1000)) for letter in "TUVWXYZ")
    return own.setdefault(tuple(sizes), next(name for name in free if name not in taken))


def _fitted(axis: Axis, pairs: list[tuple[int, int]]) -> str:
    """The size as `(a * n + b) // c`, for all pairs of sizes; "" if it is none such."""
    for c in (n for n in range(1, 1 + pairs[0][0]) if pairs[0][0] % n == 0):
        if all(n % c == 0 and out == n // c for n, out in pairs):
            return _in_words(axis.letter, 1, 0, c, exact=True)
    for c in range(1, 65):
        for a in range(1, 65):
            low = max(c * out - a * n for n, out in pairs)
            high = min(c * out + c - 1 - a * n for n, out in pairs)
            if low <= high:
                b = 0 if low <= 0 <= high else c - 1 if low <= c - 1 <= high else low if low > 0 else high
                exact = all((a * n + b) % c == 0 for n, _ in pairs)
                return _in_words(axis.letter, a, b, c, exact=exact)
    return _rounded(axis, pairs) if len(pairs) >= _SURE else ""


#: So many different sizes tell a multiple of what remains of a division.
_SURE = 5


def _rounded(axis: Axis, pairs: list[tuple[int, int]]) -> str:
    """The size as `m * ((n + b) // c) + d`, as where an image is halved and enlarged again; "" if it is none such."""
    for c in (2, 4, 8, 16, 32, 64, 3, 5, 6, 7, 9):
        for m in (c, 2, 4, 8, 16, 32, 64, 3):
            for b in (c - 1, 0):
                added = {out - m * ((n + b) // c) for n, out in pairs}
                if len(added) == 1:
                    rest = added.pop()
                    scaled = f"{m}·{_in_words(axis.letter, 1, b, c, exact=False)}"
                    return scaled if rest == 0 else f"{scaled} {'+' if rest > 0 else '-'} {abs(rest)}"
    return ""


def _in_words(letter: str, a: int, b: int, c: int, *, exact: bool) -> str:
    scaled = letter if a == 1 else f"{a}·{letter}"
    if c > 1 and b == c - 1 and not exact:
        return f"⌈{scaled}/{c}⌉"
    summed = scaled if b == 0 else f"{scaled} {'+' if b > 0 else '-'} {abs(b)}"
    if c == 1:
        return summed
    divided = f"{summed}/{c}" if b == 0 else f"({summed})/{c}"
    return divided if exact else f"⌊{divided}⌋"
