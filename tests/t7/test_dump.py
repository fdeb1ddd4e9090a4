"""The writer."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchmigrate.base.errors import UsageError
from torchmigrate.t7 import LuaFunction, LuaObject, LuaTable, Storage, T7Error, Tensor, load
from torchmigrate.t7.writing.dump import dump


def again(value: Any, **options: Any) -> Any:
    file = io.BytesIO()
    dump(value, file, **options)
    return load(file.getvalue())


@pytest.mark.parametrize("ascii_form", [False, True])
def test_plain_python(ascii_form: bool) -> None:
    shared = [1, 2]
    value = again(
        {"list": shared, "same": shared, "tuple": (1, "a"), 1: True, 2.5: b"\xff", "nil": None, "x": np.eye(2)},
        ascii=ascii_form,
    )
    assert value["list"].list() == [1.0, 2.0]
    assert value["same"] is value["list"]
    assert value["tuple"].list() == [1.0, "a"]
    assert value[2.5] == b"\xff"
    assert value[1] is True
    assert value["nil"] is None
    assert value["x"].type == "torch.DoubleTensor"
    assert value["x"].numpy().tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("u1", "Byte"),
        ("i1", "Char"),
        ("<i2", "Short"),
        ("<i4", "Int"),
        ("<i8", "Long"),
        ("<f2", "Half"),
        (">f4", "Float"),
    ],
)
def test_arrays(dtype: str, kind: str) -> None:
    array = np.array([[1, 2, 3], [4, 5, 6]], dtype)
    for view in (array, array.T, array[:, ::2], array[::-1]):
        value = again(view)
        assert value.type == f"torch.{kind}Tensor"
        assert np.array_equal(value.numpy(), view)
    assert again(np.array(7, dtype)).numpy().tolist() == [7]
    assert again(np.empty((0, 3), dtype)).size == ()


def test_a_cycle_of_plain_python() -> None:
    value: list[Any] = [1]
    value.append(value)
    read = again(value)
    assert read[2] is read


REFUSED = {
    "a set": ([1, {2}], "nothing like a set", "[2]"),
    "a class": ({"a": {"b c": object}}, "nothing like a type", "a['b c']"),
    "an int no double equals": ({"n": 2**53 + 1}, "no double is equal to 9007199254740993", "n"),
    "a huge int": (10**400, "no double is equal to", ""),
    "a key that is None": ({None: 1}, "the key nil", ""),
    "a key that is NaN": ({float("nan"): 1}, "the key NaN", ""),
    "a key no double equals": ({2**60 + 1: 1}, "no double is equal", ""),
    "two keys that are one": ({"a": 1, b"a": 2}, "two keys of the dict", ""),
    "half a surrogate pair": (["\ud800"], "surrogates", "[1]"),
    "complex numbers": ([np.zeros(2, complex)], "no tensor type for numpy's complex128", "[1]"),
    "booleans": (np.zeros(2, bool), "no tensor type for numpy's bool", ""),
    "a tensor type": (Tensor("torch.FooTensor", (), (), 1, None), "no tensor type 'torch.FooTensor'", ""),
    "a storage type": (Storage("torch.FooStorage", np.zeros(1)), "no storage type", ""),
    "a storage of other numbers": (Storage("torch.FloatStorage", np.zeros(1)), "holds float64", ""),
    "a storage of two dimensions": (Storage("torch.DoubleStorage", np.zeros((1, 1))), "of shape (1, 1)", ""),
    "a tensor outside its storage": (
        [Tensor("torch.DoubleTensor", (3,), (1,), 1, Storage("torch.DoubleStorage", np.zeros(2)))],
        "reaches from element 1 to 3",
        "[1]",
    ),
    "a tensor without strides": (Tensor("torch.DoubleTensor", (3,), (), 1, None), "has the stride ()", ""),
    "a tensor of another storage": (
        Tensor("torch.FloatTensor", (), (), 1, Storage("torch.DoubleStorage", np.zeros(2))),
        "a torch.DoubleStorage, not a torch.FloatStorage",
        "",
    ),
    "an object named as a tensor": (LuaObject("torch.FloatTensor"), "must be a Tensor, not a LuaObject", ""),
    "parts that don't fit": (LuaObject("nn.GPU", LuaTable()), "has 2 parts, not 1", ""),
    "a negative version": (LuaObject("nn.A", version=-1), "the version -1", ""),
    "a lost version": (LuaObject("nn.A", version=2, versioned=False), "without its version", ""),
    "a name like a version": (LuaObject("V 1", version=0, versioned=False), "without its version", ""),
    "a vec with holes": (LuaObject("tds.Vec", LuaTable([("a", 1)])), "must be 1, 2, 3", ""),
    "a generator": (LuaObject("torch.Generator", parts=[b"abc"]), "must be 5048 bytes", ""),
    "a function of another form": (LuaFunction(b"", tag=5), "the tag 6, 7 or 8, not 5", ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_written_exactly_is_refused(name: str, tmp_path: Path) -> None:
    value, words, path = REFUSED[name]
    with pytest.raises(T7Error) as caught:
        dump(value, tmp_path / "a.t7")
    assert words in str(caught.value)
    assert caught.value.path == path
    assert list(tmp_path.iterdir()) == []


def test_longs_of_4_bytes_hold_less() -> None:
    assert again(np.array([-(2**31), 2**31 - 1]), long_size=4).numpy().tolist() == [-(2**31), 2**31 - 1]
    with pytest.raises(T7Error, match="4 bytes of a C long"):
        again(np.array([2**31]), long_size=4)
    with pytest.raises(UsageError, match="long_size must be 4 or 8, not 2"):
        again(1, long_size=2)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.t7"
    dump("old", path)
    with pytest.raises(T7Error):
        dump([np.zeros(100_000), object()], path)
    assert load(path) == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.t7"]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    for target in (tmp_path / "none" / "a.t7", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(T7Error, match="Can't write"):
            dump(1, target)
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    dump("old", tmp_path / "a.t7")
    os.symlink("a.t7", tmp_path / "link.t7")
    dump("new", tmp_path / "link.t7")
    assert (tmp_path / "link.t7").is_symlink()
    assert load(tmp_path / "a.t7") == "new"
