"""Classes of which no number that Torch7 computed is recorded: they are marked, and a model that holds one says so."""

from __future__ import annotations

from pathlib import Path

import golden
import lua
import pytest

import torchmigrate as tm
from torchmigrate.model.registry import all_converters, traits_of


def recorded() -> set[str]:
    """Every class in a golden case, and what it became by a further conversion."""
    found: set[str] = set()
    for row in golden.layer_rows():
        case = row.load()
        found |= classes(case.get("criterion") or case["module"], set())
    return found


def classes(value: object, seen: set[int]) -> set[str]:
    """The classes of all objects in a value."""
    found: set[str] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        if id(item) in seen or not isinstance(item, (tm.LuaObject, tm.LuaTable)):
            continue
        seen.add(id(item))
        if isinstance(item, tm.LuaObject):
            found.add(item.typename)
        stack += [held for _, held in item.items()]
    return found


@pytest.mark.slow
def test_every_class_is_compared_with_torch7_or_marked() -> None:
    known = {name for name in all_converters() if not name.startswith("test.")}
    unproven = {name for name in known if traits_of(name).unproven}
    refused = {name for name, converter in all_converters().items() if "Not converted" in (converter.__doc__ or "")}
    missing = known - recorded() - refused
    assert missing - unproven == set(), "record a case with Torch7, or say why there is none: Traits(unproven=...)"
    assert unproven - missing == set(), "these are compared by now"


def custom() -> tm.LuaObject:
    """A layer of which the converter was read from the source."""
    made = lua.linear(4, 4)
    made.typename = "nn.CustomLinear"
    return made


def test_a_model_says_what_was_never_compared(tmp_path: Path) -> None:
    conversion = tm.convert(lua.sequential(custom(), custom()))
    said = [text for _, text in conversion.notes if "never compared with Torch7" in text]
    why = "the projects' sources are no longer public"
    assert said == [f"nn.CustomLinear: read from the Lua source, never compared with Torch7: {why}"]
    report = tm.verify(conversion, input_shape=(2, 4))
    assert report.to_json()["source"]["unproven"] == ["nn.CustomLinear"]
    assert "never compared with Torch7" in report.html()
    assert "unproven" not in tm.verify(tm.convert(lua.linear(4, 3)), input_shape=(2, 4)).to_json()["source"]
