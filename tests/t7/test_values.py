"""What Torch7 wrote, against what it said it wrote, in both forms."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from t7.handwritten import FIXTURES

from torchmigrate.t7 import LuaFunction, LuaObject, LuaTable, Storage, Tensor, load, load_file

VALUES = FIXTURES / "values"
NAMES = sorted(path.name.removesuffix(".expect.json") for path in VALUES.glob("*.expect.json"))


def plain(expected: Any) -> Any:
    """A number, string, boolean or nil of the JSON as Python's; NotImplemented for anything with an identity."""
    if isinstance(expected, bool | str):
        return expected
    if isinstance(expected, int | float):
        return float(expected)
    if "nil" in expected:
        return None
    if "number" in expected:
        return float(expected["number"])
    if "hex" in expected:
        raw = bytes.fromhex(expected["hex"])
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw
    return NotImplemented


def same(a: Any, b: Any) -> bool:
    """Equal, of one type, with the sign of zero, and NaN equal to itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    return bool(a == b)


class Comparison:
    """Compares a value with its JSON, object by object."""

    def __init__(self, *, shared: bool) -> None:
        self.shared = shared
        self.seen: dict[int, Any] = {}
        self.nodes: dict[int, Any] = {}

    def identify(self, number: int, value: Any) -> None:
        if self.shared:
            assert self.seen.setdefault(number, value) is value

    def check(self, value: Any, expected: Any) -> None:
        wanted = plain(expected)
        if wanted is not NotImplemented:
            assert same(value, wanted)
        elif "ref" in expected:
            if self.shared:
                assert self.seen[expected["ref"]] is value
            else:
                self.check(value, self.nodes[expected["ref"]])
        elif "function" in expected:
            assert isinstance(value, LuaFunction)
            assert len(value.upvalues) == expected["upvalues"]
        else:
            if "id" in expected:
                assert not any(other is value for other in self.seen.values())
                self.identify(expected["id"], value)
                self.nodes[expected["id"]] = expected
            if "table" in expected:
                self.check_table(value, expected)
            elif "tensor" in expected:
                self.check_tensor(value, expected)
            else:
                assert isinstance(value, Storage)
                assert value.typename == f"torch.{expected['storage']}Storage"
                self.check_elements(value.data, expected["data"])

    def check_table(self, value: Any, expected: Any) -> None:
        if "class" in expected:
            assert isinstance(value, LuaObject)
            assert value.typename == expected["class"]
            value = value.fields
        assert isinstance(value, LuaTable)
        assert len(value) == len(expected["table"])
        for key, item in expected["table"]:
            wanted = plain(key)
            if wanted is NotImplemented:
                (wanted,) = (k for k in value if isinstance(k, LuaTable))
                self.check(wanted, key)
            self.check(value[wanted], item)

    def check_tensor(self, value: Any, expected: Any) -> None:
        assert isinstance(value, Tensor)
        kind = expected["tensor"]
        assert value.type == f"torch.{kind}Tensor"
        assert list(value.size) == expected["size"]
        assert list(value.stride) == expected["stride"]
        assert value.offset == expected["offset"]
        if "storage" in expected:
            self.identify(expected["storage"], value.storage)
        array = value.numpy()
        assert array.shape == (tuple(expected["size"]) or (0,))
        assert array.dtype == value.dtype
        assert not array.flags.writeable
        self.check_elements(array.reshape(-1), expected["data"])

    @staticmethod
    def check_elements(array: np.ndarray[Any, Any], expected: list[Any]) -> None:
        assert len(array) == len(expected)
        for element, wanted in zip(array.tolist(), expected, strict=True):
            if isinstance(element, int):
                assert element == int(wanted["integer"] if isinstance(wanted, dict) else wanted)
            else:
                assert same(element, plain(wanted))


@pytest.mark.parametrize("form", ["t7", "ascii.t7"])
@pytest.mark.parametrize("name", NAMES)
def test_reads_what_torch7_wrote(name: str, form: str) -> None:
    expected = json.loads((VALUES / f"{name}.expect.json").read_text())
    read = load_file(VALUES / f"{name}.{form}")
    assert read.format == ("ascii" if form == "ascii.t7" else "binary")
    comparison = Comparison(shared=name != "not_referenced")
    if name == "four_objects":
        assert len(read.objects) == 4
        for value, wanted in zip(read.objects[:3], expected["objects"], strict=False):
            comparison.check(value, wanted)
        assert read.objects[3].list() == [read.objects[2]]
    else:
        (value,) = read.objects
        comparison.check(value, expected)


def test_there_are_values_to_compare() -> None:
    assert len(NAMES) > 70


@pytest.mark.parametrize("form", ["t7", "ascii.t7"])
def test_a_function_written_twice_is_one(form: str) -> None:
    first, second = load(VALUES / f"same_function_twice.{form}").list()
    assert first is second


def test_unreferenced_objects_stay_apart() -> None:
    a, b, c, d, _ = load(VALUES / "not_referenced.t7").list()
    assert a is not b
    assert c is not d
    assert c.storage is not d.storage


def test_a_file_says_how_it_was_written() -> None:
    assert load_file(VALUES / "long_size_4.t7").long_size == 4
    assert load_file(VALUES / "long_size_8.t7").long_size == 8
    assert load_file(VALUES / "long_size_4.ascii.t7").long_size is None
    assert load_file(VALUES / "strings.t7").long_size is None
    assert load_file(VALUES / "function_with_upvalues.t7").functions == 1
    assert load_file(VALUES / "nil.t7").size == 4


def test_nan_payload_and_signed_zero_survive() -> None:
    value = load(VALUES / "double_specials.t7")
    raw = (VALUES / "double_specials.t7").read_bytes()
    assert raw.endswith(value.numpy().tobytes())
