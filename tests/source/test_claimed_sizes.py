"""What the docstring of model.py says of sizes holds at sizes drawn by chance, and what it excludes is refused."""

from __future__ import annotations

import math
import random
import re
from typing import Any

import golden
import pytest
import torch

import torchmigrate as tm
from torchmigrate.base.tensor_trees import leaves
from torchmigrate.folder.write import source_of
from torchmigrate.source.check import instance

ROWS = {row["name"]: row for row in golden.model_rows()}
BY_DEFAULT = ("style_instancenorm", "sentiment_gru_cuda")
SLOW = [name for name in ROWS if name not in BY_DEFAULT]

#: A plugin that a model needs, whose layer is not in the package.
PLUGIN = golden.FIXTURES / "plugins" / "shave_crop.py"

#: Letters, and which sizes they may be.
NOTE = (
    r"([A-Z][0-9]*(?: and [A-Z][0-9]*)*) "
    r"((?:a multiple|multiples|at least|from \d|such as)[^,;)]*)"
)


#: A shape that a type, or another shape, follows.
SHAPE = r"\(([^()]*(?:\([^()]*\)[^()]*)*)\)(?= (?:float|int|indices|uint)|\]|, [\[(])"


def _repeated(found: re.Match[str]) -> str:
    return ", ".join([found[2]] * int(found[1]))


def said(docstring: str, word: str) -> list[list[str]]:
    """The sizes of the inputs or outputs as the docstring has them."""
    text = re.split(r"(?=Outputs?: )", docstring)[0 if word == "Input" else 1]
    text = text.partition(" from ")[0] if " from " in text.partition("(")[0] else text
    text = re.sub(r"(\d+) times (\([^()]*\))", _repeated, text)
    return [[size.strip() for size in shape[1].split(",") if size.strip()] for shape in re.finditer(SHAPE, text)]


def highest_indices(docstring: str) -> list[int]:
    """For each input the largest index that it takes; 0: it holds other numbers."""
    text = re.split(r"(?=Outputs?: )", docstring)[0]
    kinds = [
        (found.start(), int(found[1] or 0)) for found in re.finditer(r"indices from 1 to (\d+)|float\d+|int\d+", text)
    ]
    return [next(most for place, most in kinds if place > shape.start()) for shape in re.finditer(SHAPE, text)]


def drawn(letter: str, docstring: str, chance: random.Random) -> int:
    """A size that an axis may have."""
    found = re.findall(NOTE, docstring)
    note = next((text for letters, text in found if letter in letters.split(" and ")), "")
    match note.split():
        case ["a", "multiple", "of", step] | ["multiples", "of", step, *_]:
            return int(step) * chance.randint(1, 4) if int(step) > 8 else int(step) * chance.randint(9, 20)
        case ["such", "as", low, "to", high]:
            return chance.randint(int(low), int(high))
        case ["such", "as", *sizes]:
            return int(chance.choice([size for size in sizes if size != "or"]))
        case ["at", "least", low]:
            return int(low) + chance.randint(0, 50)
        case ["from", low, "to", high]:
            return chance.randint(int(low), int(high))
    return chance.randint(1, 3) if letter == "N" else chance.randint(5, 23)


def size_of(said: str, known: dict[str, int]) -> int | None:
    if re.fullmatch(r"[T-Z]\d*", said) and said not in known:
        return None  # no more is claimed than that it varies
    text = re.sub(r"⌈(.*?)⌉", r"math.ceil(\1)", said.replace("·", "*"))
    text = re.sub(r"⌊(.*?)⌋", r"math.floor(\1)", text)
    found: Any = eval(text, {"math": math, **known})
    assert found == int(found), (said, known)
    return int(found)


@pytest.mark.parametrize("name", [*BY_DEFAULT, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_claims_hold_at_any_size(name: str) -> None:
    key = None if ROWS[name]["key"] == "-" else ROWS[name]["key"]
    example = tm.to_torch(tm.load(golden.MODELS / f"{name}.reference.t7")["input"])
    plugins = [PLUGIN] if name.startswith("style_shave") else []
    source = source_of(tm.convert(golden.MODELS / ROWS[name]["file"], key=key, plugins=plugins), example)
    docstring = re.search(rf'class {source.name}\(.*?"""(.*?)"""', source.text, re.S)
    assert docstring is not None
    assert docstring[1].partition("\n")[0].endswith(".")  # the first line is a sentence
    text = " ".join(docstring[1].split())
    if "Output" not in text:
        assert text == "The whole network."  # nothing is claimed
        return
    inputs, outputs = said(text, "Input"), said(text, "Output")
    assert inputs
    assert outputs
    most = highest_indices(text)
    dtype = torch.float64 if " float64" in text else torch.float32
    chance = random.Random(name)
    for _ in range(3):
        letters = {size for shape in inputs for size in shape if not size.isdigit()}
        known = {letter: drawn(letter, text, chance) for letter in sorted(letters)}
        sizes = [[size_of(size, known) or 0 for size in shape] for shape in inputs]
        given = [
            torch.randint(1, high + 1, shape).to(dtype) if high else torch.ones(shape, dtype=dtype)
            for shape, high in zip(sizes, most, strict=True)
        ]
        model = instance(source.text, source.state)  # anew, since it may remember a state
        with torch.no_grad():
            got = [tensor for _, tensor in leaves(model(*given))]
        counted = re.search(r"a list of (.*?) tensors", text)
        wanted = [[size_of(size, known) for size in shape] for shape in outputs]
        wanted = wanted * size_of(counted[1], known) if counted else wanted
        for tensor, shape in zip(got, wanted, strict=True):
            told = [n if size is None else size for n, size in zip(tensor.shape, shape, strict=True)]
            assert list(tensor.shape) == told, known
    for place, size in enumerate(inputs[0]):
        if size.isdigit() and "_assert" in source.text:
            wrong = torch.ones([n + (d == place) for d, n in enumerate(given[0].shape)])
            with pytest.raises(AssertionError, match="not "):
                model(wrong, *given[1:])
