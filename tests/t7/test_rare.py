"""What hardly any file holds, written by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
from t7.handwritten import NIL, boolean, integer, longs, number, storage, string, table, tensor, text, torch

from torchmigrate.base.errors import UsageError
from torchmigrate.t7 import Body, LuaFunction, LuaObject, LuaTable, Tensor, load, load_file
from torchmigrate.t7.writing.dump import dump, dump_all


def written(value: object, **options: object) -> bytes:
    file = io.BytesIO()
    dump(value, file, **options)  # type: ignore[arg-type]
    return file.getvalue()


def function(tag: int, index: int | None, upvalues: bytes) -> bytes:
    return integer(tag) + (b"" if index is None else integer(index)) + text(b"\x1bLua") + upvalues


ROWS = {
    "function without index": function(6, None, table(1)),
    "function of the form 7": function(7, 1, table(2, number(1), number(5))),
    "function of the form 8": function(8, 1, table(2)),
    "function whose upvalue is itself": function(8, 1, table(2, number(1), integer(8, 1))),
    "functions without index in a table": table(
        1, number(1), function(6, None, table(2)), number(2), function(6, None, NIL)
    ),
    "unversioned object": torch(1, "nn.Linear", table(2, string("a"), number(1)), version=None),
    "unversioned tensor": torch(
        1,
        "torch.FloatTensor",
        integer(1) + longs(2, 1, 1) + torch(2, "torch.FloatStorage", longs(2) + bytes(8), version=None),
        version=None,
    ),
    "version of two digits": torch(1, "nn.Linear", table(2), version=12),
    "class name that is not ASCII": torch(1, "nn.Größe", table(2)),
    "timer": table(1, string("timer"), torch(2, "torch.Timer", b""), string("next"), number(1)),
    "GPU": torch(1, "nn.GPU", table(2, number(1), string("torch.CudaTensor")) + table(3, string("device"), number(2))),
    "DataParallelTable of version 1": torch(1, "nn.DataParallelTable", table(2, string("a"), number(1))),
    "DataParallelTable of version 2": torch(1, "nn.DataParallelTable", table(2) + table(3), version=2),
    "DataParallelTable of version 3": torch(1, "nn.DataParallelTable", table(2) + table(3), version=3),
    "tds.Hash": torch(1, "tds.Hash", longs(2) + string("a") + number(1) + number(2) + table(2), version=0),
    "tds.Hash that holds itself": torch(1, "tds.Hash", longs(1) + string("a") + integer(4, 1), version=0),
    "tds.Vec": torch(1, "tds.Vec", longs(3) + string("a") + table(2) + NIL, version=0),
    "empty tds.Vec": torch(1, "tds.Vec", longs(0), version=0),
    "generator": table(1, string("g"), torch(2, "torch.Generator", bytes(range(256)) * 19 + bytes(184))),
    "object whose body is a string": torch(1, "my.Name", string("x")),
    "object whose body was met before": table(
        1, string("a"), table(2), string("b"), torch(3, "my.Alias", integer(3, 2))
    ),
    "object whose body is itself": torch(1, "my.Loop", integer(4, 1)),
    "table that is its own key": table(1, integer(3, 1), boolean(1)),
    "table with a nil value": table(1, string("a"), NIL),
    "string that is not UTF-8": table(1, string(b"\xff\xfe"), string(b"\xc3\x28")),
    "size of 0": tensor(1, (0, 3), (3, 1), 1, NIL),
    "offset of an empty tensor": tensor(1, (), (), 5, storage(2, 1.0)),
    "negative stride": tensor(1, (3,), (-1,), 3, storage(2, 1.0, 2.0, 3.0)),
    "two objects": number(1) + table(1) + table(2, string("a"), integer(3, 1)),
    "eleven dimensions": tensor(1, (1,) * 11, (1,) * 11, 1, storage(2, 1.0)),
}


@pytest.mark.parametrize("name", ROWS)
def test_comes_back_byte_for_byte(name: str) -> None:
    read = load_file(ROWS[name])
    file = io.BytesIO()
    dump_all(read.objects, file)
    assert file.getvalue() == ROWS[name]
    text_form = io.BytesIO()
    dump_all(read.objects, text_form, ascii=True)
    file = io.BytesIO()
    dump_all(load_file(text_form.getvalue()).objects, file)
    assert file.getvalue() == ROWS[name]


def test_functions() -> None:
    old = load(ROWS["function without index"])
    assert isinstance(old, LuaFunction)
    assert (old.tag, old.bytecode, len(old.upvalues)) == (6, b"\x1bLua", 0)
    itself = load(ROWS["function whose upvalue is itself"])
    assert itself.upvalues[1] is itself
    assert load_file(ROWS["functions without index in a table"]).functions == 2


def test_unversioned_object() -> None:
    value = load(ROWS["unversioned object"])
    assert (value.typename, value.version, value.versioned, value["a"]) == ("nn.Linear", 0, False, 1.0)


def test_bodies_that_are_not_one_table() -> None:
    assert load(ROWS["timer"])["timer"].parts == []
    assert len(load(ROWS["timer"])["timer"]) == 0
    gpu = load(ROWS["GPU"])
    assert gpu["device"] == 2
    assert gpu.parts[0].list() == ["torch.CudaTensor"]
    assert len(load(ROWS["DataParallelTable of version 1"]).parts) == 1
    assert len(load(ROWS["DataParallelTable of version 3"]).parts) == 2
    assert load(ROWS["tds.Hash"])["a"] == 1
    assert load(ROWS["tds.Vec"]).fields.keys() == [1.0, 2.0, 3.0]
    loop = load(ROWS["tds.Hash that holds itself"])
    assert loop["a"] is loop
    assert len(load(ROWS["generator"])["g"].parts[0]) == 5048


def test_a_body_can_be_described() -> None:
    raw = table(1, string("a"), torch(2, "my.Pair", number(1) + number(2)), string("b"), number(3))
    bodies = {"my.Pair": Body(count=2)}
    value = load(raw, bodies=bodies)
    assert value["a"].parts == [1.0, 2.0]
    assert value["b"] == 3
    assert written(value, bodies=bodies) == raw


@pytest.mark.parametrize(
    "options", [{"count": -1}, {"form": "list"}, {"form": "storage"}, {"form": "tensor"}, {"storage": "torch.x"}]
)
def test_a_body_is_checked(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Body(**options)  # type: ignore[arg-type]


class TestLongsOf4Bytes:
    RAW = table(
        1,
        string("x"),
        tensor(2, (2,), (1,), 1, storage(3, 1.5, -2.5, size=4), size=4),
        string("n"),
        tensor(4, (3,), (1,), 1, storage(5, 1, -2, 3, kind="Long", letter="i", size=4), kind="Long", size=4),
    )

    def test_are_found_out(self) -> None:
        read = load_file(self.RAW)
        (value,) = read.objects
        assert read.long_size == 4
        assert value["x"].numpy().tolist() == [1.5, -2.5]
        assert value["n"].numpy().dtype == np.dtype("<i8")
        assert value["n"].numpy().tolist() == [1, -2, 3]
        assert written(value, long_size=4) == self.RAW

    def test_empty_tensor(self) -> None:
        raw = tensor(1, (), (), 1, NIL, size=4)
        read = load_file(raw)
        assert read.long_size == 4
        assert read.objects[0].size == ()

    def test_8_wins_where_both_would_do(self) -> None:
        # an empty tensor and a nil, or with longs of 8 bytes the tensor alone
        raw = tensor(1, (), (), 1, NIL, size=4) + NIL
        assert load_file(raw).long_size == 8
        assert len(load_file(raw, long_size=4).objects) == 2

    def test_can_be_demanded(self) -> None:
        with pytest.raises(UsageError, match="long_size must be 4, 8 or None, not 5"):
            load(self.RAW, long_size=5)

    def test_tds(self) -> None:
        raw = torch(1, "tds.Vec", longs(1, size=4) + string("a"), version=0)
        read = load_file(raw)
        assert read.long_size == 4
        assert written(read.objects[0], long_size=4) == raw


def test_very_deep_files() -> None:
    deep = b"".join(integer(3, i, 1, 1) + bytes(8) for i in range(1, 9000)) + table(9000)
    assert written(load(deep)) == deep
    objects = b"".join(
        integer(4, 2 * i + 1) + text("V 1") + text("A") + integer(3, 2 * i + 2, 1) + string("a") for i in range(5000)
    )
    assert written(load(objects + NIL)) == objects + NIL


def test_indices_may_come_in_any_order() -> None:
    value = load(table(70, string("a"), table(3), string("b"), integer(3, 3), string("c"), integer(3, 70)))
    assert value["a"] is value["b"]
    assert value["c"] is value


def test_keys_of_every_kind() -> None:
    inner = table(2)
    raw = table(1, boolean(1), number(1), number(1), number(2), string("1"), number(3), inner, number(4))
    value = load(raw)
    assert (value[True], value[1], value["1"], value.get(False)) == (1, 2, 3, None)
    (key,) = (k for k in value if isinstance(k, LuaTable))
    assert value[key] == 4
    assert written(value) == raw


def test_an_object_without_table_has_no_fields() -> None:
    value = load(ROWS["object whose body is a string"])
    assert isinstance(value, LuaObject)
    assert len(value.fields) == 0
    assert value.parts == ["x"]


def test_expanded_tensor() -> None:
    value = load(tensor(1, (1000, 1000), (0, 0), 2, storage(2, 1.0, 7.0)))
    assert isinstance(value, Tensor)
    assert value.numpy().shape == (1000, 1000)
    assert value.numpy()[999, 999] == 7


ONE = table(3, number(1), number(1))


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (ONE, [[1.0, 1.0]]),
        (table(2, ONE, number(5)), [[[[1.0, 1.0]], 5.0]]),
        (torch(2, "nn.Linear", ONE), [[1.0, 1.0]]),
        (table(2, string("a"), torch(4, "nn.Linear", ONE)), [["a", [[1.0, 1.0]]]]),
        (table(2), []),
    ],
)
def test_a_key_that_is_first_met_as_one(key: bytes, shown: list[object]) -> None:
    value = load(table(1, string("x"), number(0), key, string("a"), string("b"), string("c"), number(1), number(2)))

    def plain(item: object) -> object:
        if not isinstance(item, (LuaTable, LuaObject)):
            return item
        return [[plain(name), plain(found)] for name, found in item.items()]

    assert plain(value) == [["x", 0.0], [shown, "a"], ["b", "c"], [1.0, 2.0]]
