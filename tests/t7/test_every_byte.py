"""Small files that are cut off, or changed, at every byte: always a value or a T7Error."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator

import pytest
from t7.handwritten import FIXTURES, NIL, integer, longs, number, storage, string, table, tensor, torch

from torchmigrate.t7 import T7Error, Tensor, TornFile, load, load_file
from torchmigrate.t7.writing.dump import dump


def small_files() -> Iterator[tuple[str, bytes]]:
    """Files that hold something of everything."""
    for name in ("views_of_one_storage", "mixed_keys", "function_with_upvalues", "user_class_inherited", "cyclic"):
        for form in ("t7", "ascii.t7"):
            yield f"{name}.{form}", (FIXTURES / "values" / f"{name}.{form}").read_bytes()
    yield "longs of 4 bytes", (FIXTURES / "values" / "long_size_4.t7").read_bytes()
    yield "GPU", torch(1, "nn.GPU", table(2, number(1), string("x")) + table(3, string("y"), NIL))
    yield "tds", torch(1, "tds.Hash", longs(2) + string("a") + number(1) + number(2) + table(2), version=0)
    big_endian = io.BytesIO()
    dump(load(FIXTURES / "values" / "views_of_one_storage.t7"), big_endian, big_endian=True)
    yield "big-endian", big_endian.getvalue()
    yield "gzip", gzip.compress((FIXTURES / "values" / "cyclic.t7").read_bytes(), mtime=0)
    linear = table(3, string("gradInput"), tensor(4, (), (), 1, NIL), string("train"), number(1))
    yield "module", torch(1, "nn.Linear", linear)
    yield "module of 2011", torch(1, "nn.Tanh", tensor(2, (2,), (1,), 1, storage(3, 1, 2)) + integer(4, 2))


SMALL = dict(small_files())
#: What an archive lacks at its end may be its checksum only.
TELL_LITTLE = ("gzip",)


def touch(value: object) -> None:
    """Looks at every element of the tensors of a table."""
    for item in value.values() if hasattr(value, "values") else [value]:
        if isinstance(item, Tensor):
            item.numpy().tobytes()


def refusal(raw: bytes) -> T7Error | None:
    """The error of a file, or None if it can be read to its end."""
    try:
        touch(load_file(raw).objects[0])
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
        # less may be the beginning of anything
        if length > 24 or ("ascii" in name and length > 8):
            assert isinstance(error, TornFile), error


@pytest.mark.parametrize("name", SMALL)
def test_salvaged_from_anywhere(name: str) -> None:
    raw = SMALL[name]
    whole = load_file(raw)
    for length in range(5, len(raw) - 1):
        try:
            file = load_file(raw[:length], salvage=True)
        except T7Error as error:
            # too little of it to tell what it is
            assert length < 24 or "gzip" in name, error  # noqa: PT017
            continue
        touch(file.objects[0])
        assert (
            file.error is not None or len(file.objects) < len(whole.objects) or name in TELL_LITTLE or "ascii" in name
        )


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
