"""Reading a file and writing it again gives the same bytes."""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from t7.handwritten import FIXTURES

from torchmigrate.t7 import LuaFunction, LuaObject, LuaTable, T7Error, Tensor, load, load_file
from torchmigrate.t7.values import ELEMENT_TYPES
from torchmigrate.t7.writing.dump import dump, dump_all

FILES = sorted(path.relative_to(FIXTURES) for path in FIXTURES.glob("*/*.t7"))
FOLDERS = sorted({path.parent.name for path in FILES})


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_of_torch7_come_back_byte_for_byte(folder: str) -> None:
    different = []
    for path in sorted((FIXTURES / folder).glob("*.t7")):
        read = load_file(path)
        written = io.BytesIO()
        dump_all(read.objects, written, ascii=read.format == "ascii", long_size=read.long_size or 8)
        if written.getvalue() != path.read_bytes():
            different.append(path.name)
    assert different == []


def test_there_are_files() -> None:
    assert len(FILES) > 500
    assert {"layers", "models", "values"} <= set(FOLDERS)


@pytest.mark.parametrize("name", ["views_of_one_storage", "cyclic", "strings", "mixed_keys", "cuda_views"])
def test_the_forms_turn_into_each_other(name: str) -> None:
    written = io.BytesIO()
    dump(load(FIXTURES / "values" / f"{name}.ascii.t7"), written)
    again = io.BytesIO()
    dump(load(written.getvalue()), again, ascii=True)
    assert again.getvalue() == (FIXTURES / "values" / f"{name}.ascii.t7").read_bytes()


KEYS = st.one_of(st.text(max_size=8), st.floats(allow_nan=False), st.booleans(), st.binary(max_size=4))
PLAIN = st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=20), st.binary(max_size=20))


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    dtype = draw(st.sampled_from(sorted({str(dtype) for dtype in ELEMENT_TYPES.values()})))
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    raw = draw(st.binary(min_size=np.dtype(dtype).itemsize * math.prod(shape)))
    array = np.frombuffer(raw, dtype, math.prod(shape)).reshape(shape)
    return Tensor.from_numpy(array)


def tables(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=5).map(LuaTable.from_list)
    keys = KEYS | st.builds(LuaTable, st.lists(st.tuples(KEYS, inner), max_size=2))
    return lists | st.lists(st.tuples(keys, inner), max_size=5).map(LuaTable)


VALUES = st.recursive(PLAIN | tensors(), tables, max_leaves=20)


def plain_of(value: Any) -> Any:
    """A value as nested tuples that compare by content, bit by bit for numbers."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if isinstance(value, LuaTable):
        return tuple((plain_of(k), plain_of(v)) for k, v in value.items())
    if isinstance(value, Tensor):
        return value.type, value.size, value.stride, value.offset, value.numpy().tobytes()
    return value


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES, st.sampled_from([8, 4]))
def test_any_value_comes_back_from_binary(value: Any, long_size: int) -> None:
    written = io.BytesIO()
    try:
        dump(value, written, long_size=long_size)
    except T7Error as error:
        refused = str(error)
        assume("C long" not in refused)
        raise
    raw = written.getvalue()
    assume(raw[:16] != bytes(16))
    again = load(raw, long_size=long_size)
    assert plain_of(again) == plain_of(value)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES)
def test_ascii_says_the_same_twice(value: Any) -> None:
    first, second = io.BytesIO(), io.BytesIO()
    dump(value, first, ascii=True)
    dump(load(first.getvalue()), second, ascii=True)
    assert second.getvalue() == first.getvalue()


def test_half_and_float_survive_ascii_exactly() -> None:
    rng = np.random.default_rng(7)
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    floats = rng.integers(0, 2**32, 5000, dtype=np.uint32).view(np.float32)
    for array in (halves, floats, rng.standard_normal(5000)):
        finite = array[np.isfinite(array)]
        written = io.BytesIO()
        dump(finite, written, ascii=True)
        assert load(written.getvalue()).numpy().tobytes() == finite.tobytes()


def test_shared_objects_are_written_once(tmp_path: Path) -> None:
    shared = np.arange(6.0)
    listed = [1, 2]
    dump_all([[shared, shared, listed], listed], tmp_path / "a.t7")
    first, second = load_file(tmp_path / "a.t7").objects
    assert first[1] is first[2]
    assert first[3] is second


NAMES = st.sampled_from(["nn.Linear", "my.Own", "nn.Größe"])
FUNCTIONS = st.builds(LuaFunction, st.binary(max_size=8), PLAIN, st.sampled_from([6, 7, 8]))
OBJECTS = st.builds(
    lambda name, entries, version: LuaObject(name, LuaTable(entries), version=version),
    NAMES,
    st.lists(st.tuples(st.text(max_size=4), VALUES), max_size=3),
    st.integers(0, 12),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(OBJECTS | FUNCTIONS, min_size=1, max_size=3), st.booleans(), st.booleans())
def test_bytes_come_back_from_the_values_that_they_give(values: list[Any], shared: bool, big_endian: bool) -> None:
    first, second = io.BytesIO(), io.BytesIO()
    dump_all([LuaTable.from_list([*values, *(values if shared else [])])], first, big_endian=big_endian)
    file = load_file(first.getvalue())
    dump_all(file.objects, second, big_endian=file.big_endian, long_size=file.long_size or 8)
    assert second.getvalue() == first.getvalue()
    assert file.big_endian == big_endian
