"""What looks hostile and is not: Torch7 can write it, or could, so it is read."""

from __future__ import annotations

import io

import pytest
from t7.handwritten import NIL, boolean, integer, number, storage, string, table, tensor, torch

from torchmigrate.t7 import LuaTable, load, load_file
from torchmigrate.t7.writing.dump import dump_all

ROWS = {
    "a table is its own key and value": table(1, integer(3, 1), integer(3, 1)),
    "a tensor is a key": table(1, tensor(2, (1,), (1,), 1, storage(3, 7.0)), number(1)),
    "an infinite key": table(1, number(float("inf")), NIL),
    "keys that are whole and not": table(1, number(1), NIL, number(1.5), NIL, number(-1e300), NIL),
    "a name of any bytes": table(1, string(bytes(range(256))), NIL, string(""), NIL, string("\x00"), NIL),
    "a class without a name": torch(1, "", table(2)),
    "a class whose name is a path": torch(1, "../../etc/passwd\n", table(2)),
    "a class whose name is a version": torch(1, "V 1", table(2)),
    "a class without version whose name begins like one": torch(1, "V 1\nA", table(2), version=None),
    "a dimension of one with a huge stride": tensor(1, (1,), (2**63 - 1,), 1, storage(2, 7.0)),
    "a dimension of one with a negative stride": tensor(1, (1, 2), (-(2**63), 1), 1, storage(2, 7.0, 8.0)),
    "views that overlap": tensor(1, (3, 2), (1, 1), 1, storage(2, 1.0, 2.0, 3.0, 4.0)),
    "no elements, far away": tensor(1, (0,), (2**62,), 2**62, NIL),
    "the same tensor ten times": table(
        1,
        *[number(1), tensor(2, (1,), (1,), 1, storage(3, 7.0))],
        *(part for i in range(2, 11) for part in (number(i), integer(4, 2))),
    ),
    "a storage that nobody views": table(1, number(1), storage(2, 1.0, 2.0), number(2), storage(3)),
    "nil as value": table(1, string("a"), NIL, boolean(0), NIL),
}


@pytest.mark.parametrize("name", ROWS)
def test_is_read_and_written_again(name: str) -> None:
    read = load_file(ROWS[name])
    assert read.trailing == 0
    written = io.BytesIO()
    dump_all(read.objects, written)
    assert written.getvalue() == ROWS[name]


def test_huge_strides_of_one_element_lead_to_it() -> None:
    assert load(ROWS["a dimension of one with a huge stride"]).numpy().tolist() == [7.0]
    assert load(ROWS["a dimension of one with a negative stride"]).numpy().tolist() == [[7.0, 8.0]]
    assert load(ROWS["no elements, far away"]).numpy().shape == (0,)


def test_a_tensor_as_key_is_found() -> None:
    value = load(ROWS["a tensor is a key"])
    assert isinstance(value, LuaTable)
    ((key, found),) = value.items()
    assert (key.numpy().tolist(), found) == ([7.0], 1.0)
