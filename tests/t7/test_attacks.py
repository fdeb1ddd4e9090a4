"""Files made to hurt, or hurt on the way: each gives a T7Error that says where, in bounded time and memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from t7.handwritten import (
    FIXTURES,
    NIL,
    boolean,
    integer,
    longs,
    number,
    storage,
    string,
    table,
    tensor,
    text,
    torch,
)

from torchmigrate.errors import LimitExceeded, UsageError
from torchmigrate.t7 import Limits, T7Error, Tensor, load, load_file

BIG = 2**31 - 1


@dataclass(frozen=True)
class Attack:
    """A file, and what its error says."""

    raw: bytes
    words: str
    offset: int | None = None
    path: str | None = None


def field(name: str, value: bytes) -> bytes:
    """An object with one field, inside a list."""
    return table(1, number(1), torch(2, "nn.Linear", table(3, string(name), value)))


ATTACKS = {
    "no such tag": Attack(integer(9), "from 0 to 8, not with 9", 0, ""),
    "negative tag": Attack(integer(-1, 1), "from 0 to 8, not with -1", 0, ""),
    "no such tag within": Attack(field("a", integer(77)), "not with 77, inside nn.Linear", path="[1].a"),
    "letters for a tag": Attack(field("a", b"nn.L"), "the letters 'nn.L'"),
    "half a double for a tag": Attack(field("a", integer(0x3FF00000)), "4 bytes off"),
    "string of negative length": Attack(field("a", integer(2, -5)), "has a length of -5", path="[1].a"),
    "string longer than the file": Attack(string("abc")[:-1], "1 bytes too early: a string, 3 bytes long", 8),
    "huge string": Attack(field("a", integer(2, BIG)), "Limits.string_bytes", path="[1].a"),
    "huge class name": Attack(integer(4, 1) + text("V 1") + integer(BIG), "the class name of an object"),
    "class name of negative length": Attack(integer(4, 1) + text("V 1") + integer(-1), "has a length of -1"),
    "class name that is not text": Attack(torch(1, b"\xff\xfe", table(2)), "is not text"),
    "function of negative length": Attack(integer(8, 1, -1), "a function has a length of -1"),
    "boolean of 2": Attack(field("a", boolean(2)), "a boolean is 0 or 1, but this one is 2", path="[1].a"),
    "negative count": Attack(table(1, count=-1), "a table has -1 entries"),
    "count beyond the file": Attack(table(1, count=BIG), "a table of 2147483647 entries needs at least"),
    "count a little beyond the file": Attack(table(1, NIL, NIL, count=2), "a table of 2 entries needs at least 16"),
    "nil as key": Attack(table(1, NIL, number(1)), "the key nil"),
    "NaN as key": Attack(table(1, number(float("nan")), number(1)), "the key NaN"),
    "a key twice": Attack(table(1, string("a"), NIL, string("a"), NIL), "has the key .a twice"),
    "index 0": Attack(table(0), "the index of an object is 0"),
    "negative index": Attack(field("a", table(-7)), "the index of an object is -7", path="[1].a"),
    "index of another kind": Attack(table(1, string("a"), integer(4, 1)), "object 1 was a table before", path="a"),
    "function that was a table": Attack(table(1, string("a"), integer(8, 1)), "object 1 was a table", path="a"),
    "negative dimensions": Attack(torch(1, "torch.FloatTensor", integer(-1) + bytes(64)), "a tensor has -1 dimensions"),
    "many dimensions": Attack(torch(1, "torch.FloatTensor", integer(BIG)), "Limits.dimensions = 32"),
    "33 dimensions": Attack(tensor(1, (1,) * 33, (1,) * 33, 1, storage(2, 1.0)), "a tensor has 33 dimensions"),
    "negative size": Attack(tensor(1, (-2,), (1,), 1, storage(2, 1.0)), "the negative size (-2,)"),
    "two negative sizes": Attack(tensor(1, (-2, -2), (1, 1), 1, storage(2, 1.0)), "the negative size"),
    "size beyond the storage": Attack(
        field("weight", tensor(4, (3,), (1,), 1, storage(5, 1.0, 2.0))),
        "reaches from element 1 to 3 of a storage that has 2",
        path="[1].weight",
    ),
    "offset 0": Attack(tensor(1, (1,), (1,), 0, storage(2, 1.0)), "reaches from element 0 to 0"),
    "offset beyond the storage": Attack(tensor(1, (1,), (1,), 3, storage(2, 1.0)), "element 3 to 3"),
    "stride beyond the storage": Attack(tensor(1, (2,), (2**62,), 1, storage(2, 1.0)), "reaches from element 1 to"),
    "stride below the storage": Attack(tensor(1, (2,), (-1,), 1, storage(2, 1.0)), "reaches from element 0 to 1"),
    "strides that cancel out": Attack(tensor(1, (2, 2), (-1, 1), 1, storage(2, 1.0, 2.0)), "from element 0 to 2"),
    "product that wraps around": Attack(
        tensor(1, (2**32, 2**32), (0, 0), 1, storage(2, 1.0)), "Limits.elements = 17179869184"
    ),
    "expanded beyond measure": Attack(tensor(1, (2**33,), (0,), 1, storage(2, 1.0)), "Limits.expanded_elements"),
    "tensor without storage": Attack(tensor(1, (1,), (1,), 1, NIL), "to 1 of a storage that has 0"),
    "storage of another type": Attack(
        tensor(1, (1,), (1,), 1, storage(2, 1.0), kind="Float"), "a torch.DoubleStorage, not a torch.FloatStorage"
    ),
    "storage that is a table": Attack(tensor(1, (1,), (1,), 1, table(2)), "the storage of a tensor is not a Torch"),
    "storage that is an object": Attack(tensor(1, (1,), (1,), 1, torch(2, "A", table(3))), "a tensor is a A"),
    "storage that is the tensor": Attack(tensor(1, (1,), (1,), 1, integer(4, 1)), "a tensor is a torch.DoubleTensor"),
    "storage of negative size": Attack(torch(1, "torch.FloatStorage", longs(-1)), "a storage has -1 elements"),
    "storage beyond the file": Attack(
        field("x", torch(4, "torch.FloatStorage", longs(2) + bytes(7))), "1 bytes too early: a storage of 2 elements"
    ),
    "huge storage": Attack(torch(1, "torch.FloatStorage", longs(2**62)), "a storage of 4611686018427387904 elements"),
    "negative tds.Vec": Attack(torch(1, "tds.Vec", longs(-1)), "a table has -1 entries"),
    "huge tds.Hash": Attack(torch(1, "tds.Hash", longs(2**60)), "entries needs at least"),
    "generator cut off": Attack(torch(1, "torch.Generator", bytes(100)), "the memory of an object, 5048 bytes long"),
    "object without body": Attack(field("a", torch(4, "my.Own", b"")), "too early", path="[1].a"),
    "unknown way of writing": Attack(
        table(1, string("a"), torch(2, "my.Own", string("x") + integer(99)), string("b"), NIL), "`bodies` can describe"
    ),
    "cut in a key": Attack(table(1, string("weight"), NIL)[:-8], "a string, 6 bytes long"),
    "cut after a key": Attack(table(1, string("weight"), string("x"))[:-7], "too early", path="weight"),
    "ASCII: letters for a number": Attack(b"1\nabc\n", "b'abc' is not a number"),
    "ASCII: letters for an index": Attack(b"3\nabc\n", "should be a whole number, but is b'abc'"),
    "ASCII: 1_0": Attack(b"1\n1_0\n", "is not a number"),
    "ASCII: endless digits": Attack(b"1\n" + b"9" * 100000, "does not end"),
    "ASCII: integer of 33 bits": Attack(b"3\n4294967296\n", "more than 32 bits hold"),
    "ASCII: cut off": Attack(b"3\n1\n1\n2\n3\nab", "1 bytes too early: a string, 3 bytes long"),
    "ASCII: nothing after the tag": Attack(b"3\n", "the file ends at byte 2"),
    "ASCII: no such tag": Attack(b"3\n1\n1\n10\n1\n", "from 0 to 8, not with 10"),
    "ASCII: boolean of 7": Attack(b"5\n7\n", "a boolean is 0 or 1"),
    "ASCII: negative string": Attack(b"2\n-1\n", "has a length of -1"),
    "ASCII: huge string": Attack(b"2\n2147483647\n", "Limits.string_bytes"),
    "ASCII: huge storage": Attack(b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n99999999999\n1 2\n", "too early"),
    "ASCII: element that is no number": Attack(b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n2\n1 x\n", "no float32"),
    "ASCII: element with _": Attack(b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n2\n1 1_0\n", "no float32"),
    "ASCII: element too large": Attack(b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n2\n1 1e99\n", "no float32"),
    "ASCII: short too large": Attack(b"4\n1\n3\nV 1\n18\ntorch.ShortStorage\n2\n1 40000\n", "no int16"),
    "ASCII: long too large": Attack(b"4\n1\n3\nV 1\n17\ntorch.LongStorage\n2\n1 9223372036854775808\n", "no int64"),
    "ASCII: storage cut off": Attack(b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n4\n1    2    \n", "too early"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_refused(name: str) -> None:
    attack = ATTACKS[name]
    tracemalloc.start()
    try:
        with pytest.raises(T7Error) as caught:
            load_file(attack.raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    error = caught.value
    assert attack.words.lower() in str(error).lower()
    assert error.offset is not None
    assert 0 <= error.offset <= len(attack.raw)
    if attack.offset is not None:
        assert error.offset == attack.offset
    if attack.path is not None:
        assert error.path == attack.path
    assert peak < 3_000_000


LIMITED = {
    "depth": (
        Limits(depth=3),
        b"".join(integer(3, i, 1) + boolean(1) for i in range(1, 6)) + NIL,
        "[true][true][true]",
    ),
    "objects": (Limits(objects=2), table(1, string("a"), table(2), string("b"), table(3)), "b"),
    "entries": (Limits(entries=2), table(1, *[number(i) for i in range(6)]), ""),
    "string_bytes": (Limits(string_bytes=3), table(1, string("a"), string("abcd")), "a"),
    "dimensions": (Limits(dimensions=1), tensor(1, (1, 1), (1, 1), 1, storage(2, 1.0)), ""),
    "elements": (Limits(elements=3), table(1, *[number(1), tensor(2, (4,), (1,), 1, storage(3, 1, 2, 3, 4))]), "[1]"),
    "expanded_elements": (Limits(expanded_elements=3), tensor(1, (5,), (0,), 1, storage(2, 1.0)), ""),
}


@pytest.mark.parametrize("name", LIMITED)
def test_limit_holds(name: str) -> None:
    limits, raw, path = LIMITED[name]
    with pytest.raises(LimitExceeded, match=rf"Limits\.{name} = ") as caught:
        load(raw, limits=limits)
    assert caught.value.path == path
    load(raw)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "10"])
def test_limits_are_checked(value: object) -> None:
    with pytest.raises(UsageError, match=r"Limits\.depth must be a whole number above 0"):
        Limits(depth=value)  # type: ignore[arg-type]


def test_a_million_objects_in_each_other_hit_the_limit() -> None:
    raw = b"".join(integer(3, i, 1, 5, 1) for i in range(1, 1_000_001)) + NIL
    with pytest.raises(LimitExceeded, match=r"Limits\.depth") as caught:
        load(raw)
    assert len(caught.value.path) < 400


def test_nested_far_with_a_higher_limit() -> None:
    raw = b"".join(integer(3, i, 1, 5, 1) for i in range(1, 100_001)) + NIL
    value = load(raw, limits=Limits(depth=200_000))
    depth = 0
    while value is not None:
        value = value[True]
        depth += 1
    assert depth == 100_000


def test_one_line_for_many_numbers_takes_no_quadratic_time() -> None:
    # each index is one number of the same endless line
    raw = b"3\n1\n20000\n" + b"1 1 5 1 " * 20000
    with pytest.raises(T7Error, match="twice"):
        load(raw)
    raw = b"3 1 20000 " + b"".join(b"1 %d 5 1 " % i for i in range(20000))
    assert len(load(raw)) == 20000


def small_files() -> Iterator[tuple[str, bytes]]:
    """Files that hold something of everything."""
    for name in ("views_of_one_storage", "mixed_keys", "function_with_upvalues", "user_class_inherited", "cyclic"):
        for form in ("t7", "ascii.t7"):
            yield f"{name}.{form}", (FIXTURES / "values" / f"{name}.{form}").read_bytes()
    yield "longs of 4 bytes", (FIXTURES / "values" / "long_size_4.t7").read_bytes()
    yield "GPU", torch(1, "nn.GPU", table(2, number(1), string("x")) + table(3, string("y"), NIL))
    yield "tds", torch(1, "tds.Hash", longs(2) + string("a") + number(1) + number(2) + table(2), version=0)


SMALL = dict(small_files())


def touch(value: object) -> None:
    """Looks at every element of the tensors of a table."""
    for item in value.values() if hasattr(value, "values") else [value]:
        if isinstance(item, Tensor):
            item.numpy().tobytes()


def refusal(raw: bytes) -> T7Error | None:
    """The error of a file, or None if it can be read."""
    try:
        touch(load(raw))
    except T7Error as error:
        return error
    return None


@pytest.mark.parametrize("name", SMALL)
def test_cut_off_anywhere(name: str) -> None:
    raw = SMALL[name]
    for length in range(len(raw) - 1):
        error = refusal(raw[:length])
        if error is None:
            # without its end, the last number of a text may still be one
            assert "ascii" in name
            assert raw[length - 1 : length + 1].isdigit() or raw[length:].isspace()
            continue
        assert error.offset is not None
        assert error.offset <= length
        # a number cut in two is another number, so for text anything may be wrong
        if "ascii" not in name and length > 8:
            assert "ends at byte" in str(error) or "needs at least" in str(error)


@pytest.mark.parametrize("name", SMALL)
def test_any_byte_changed(name: str) -> None:
    raw = SMALL[name]
    refused = 0
    for i in range(len(raw)):
        for change in (0x01, 0x80, 0xFF):
            changed = bytearray(raw)
            changed[i] ^= change
            error = refusal(bytes(changed))
            if error is not None:
                refused += 1
                assert error.offset is not None
    assert refused > len(raw) // 2
