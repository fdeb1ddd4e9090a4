"""Where a file may come from."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from t7.handwritten import FIXTURES, number, string, table, text

from torchmigrate.t7 import T7Error, load, load_file
from torchmigrate.t7.writing.dump import dump, dump_all

TENSOR = FIXTURES / "values" / "tensor_Float.t7"


def test_path_bytes_and_file_object_give_the_same() -> None:
    raw = TENSOR.read_bytes()
    expected = load(TENSOR).numpy().tobytes()
    for source in (str(TENSOR), raw, bytearray(raw), memoryview(raw), io.BytesIO(raw)):
        assert load(source).numpy().tobytes() == expected
    with TENSOR.open("rb") as file:
        assert load(file).numpy().tobytes() == expected


def test_a_mapped_file_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "big.t7"
    dump(np.arange(100_000, dtype=np.float32), path)
    value = load(path)
    data = value.storage.data
    assert not data.flags.owndata
    assert not data.flags.writeable
    # the file may go while its values live
    path.unlink()
    assert value.numpy()[99_999] == 99_999
    assert np.shares_memory(value.numpy(), data)


def test_a_file_may_be_overwritten_by_what_was_read_from_it(tmp_path: Path) -> None:
    path = tmp_path / "a.t7"
    dump([np.arange(50_000)], path)
    before = path.read_bytes()
    dump(load(path), path)
    assert path.read_bytes() == before


def test_load_takes_the_first_object_and_load_file_all_of_them() -> None:
    raw = number(1) + string("a")
    assert load(raw) == 1
    assert load_file(raw).objects == (1.0, "a")
    assert load(raw + b"\xff") == 1
    with pytest.raises(T7Error, match="too early") as caught:
        load_file(raw + b"\xff")
    assert caught.value.path == "<object 3>"


def test_what_is_no_file() -> None:
    for source, words in (
        (FIXTURES, "it is a folder"),
        (FIXTURES / "none.t7", "No such file"),
        ("a\0b", "null"),
    ):
        with pytest.raises(T7Error, match=words):
            load(source)
    with pytest.raises(T7Error, match="gives text"):
        load(io.StringIO("3"))  # type: ignore[arg-type]
    with pytest.raises(T7Error, match="Can't read from int"):
        load(3)  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(T7Error, match="not a regular file"):
        load(tmp_path / "pipe")


def test_an_error_says_where() -> None:
    raw = table(1, string("modules"), table(2, number(1), table(3, string("weight"), number(1)[:8])))
    with pytest.raises(T7Error) as caught:
        load(raw)
    assert caught.value.path == "modules[1].weight"
    assert f"at byte {len(raw) - 4}" in str(caught.value)


def test_paths_spell_any_key() -> None:
    for key, shown in (
        (string("two words"), "['two words']"),
        (string("x" * 70), f"['{'x' * 40}'…]"),
        (number(2.5), "[2.5]"),
        (number(float("inf")), "[inf]"),
        (string(b"\xff"), "[b'\\xff']"),
    ):
        with pytest.raises(T7Error) as caught:
            load(table(1, key, text("abc")))
        assert caught.value.path == shown


def test_reading_needs_no_torch() -> None:
    code = "import sys; from torchmigrate.t7 import load; load(sys.argv[1]); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, str(TENSOR)], check=True)


def test_many_objects(tmp_path: Path) -> None:
    dump_all(range(1000), tmp_path / "a.t7")
    assert load_file(tmp_path / "a.t7").objects == tuple(map(float, range(1000)))


def run(code: str, *arguments: Path) -> str:
    """What a program prints, that may not crash."""
    command = [
        sys.executable,
        "-c",
        "from torchmigrate.t7 import T7Error, load, load_file\nimport sys, os\n" + code,
        *map(str, arguments),
    ]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


@pytest.mark.parametrize("size", [0, 100, 300_000])
def test_a_file_that_is_cut_while_it_is_mapped_ends_in_an_error(tmp_path: Path, size: int) -> None:
    # to touch what is no longer there would kill the process with SIGBUS
    path = tmp_path / "a.t7"
    dump({"a": np.arange(50_000.0), "b": np.arange(50_000.0)}, path)
    code = f"""
value = load(sys.argv[1])
os.truncate(sys.argv[1], {size})
for read in (lambda: value["b"].numpy(), lambda: value["b"].storage.data):
    try:
        read()
    except T7Error as error:
        print(error)
"""
    assert run(code, path).count(f"was cut to {size} bytes after it was opened") == 2


def test_a_file_that_grows_or_is_replaced_stays_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.t7"
    dump(np.arange(50_000.0), path)
    value = load(path)
    with path.open("ab") as stream:
        stream.write(b"more")
    assert value.numpy()[-1] == 49_999
    dump(np.zeros(3), path)
    assert value.numpy()[-1] == 49_999


def test_storages_are_not_read_before_they_are_used(tmp_path: Path) -> None:
    path = tmp_path / "big.t7"
    dump([np.zeros(30_000_000), "end"], path)
    code = """
def memory():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
import numpy
before = memory()
value = load(sys.argv[1])
value[1].numpy()
print(memory() - before)
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc here")  # the memory of a process can only be read there
    assert int(run(code, path)) < 10_000_000


def test_what_a_file_is_made_of_needs_no_numpy() -> None:
    code = "value = load_file(sys.argv[1]).objects[0]; print(value.size, len(value.storage), 'numpy' in sys.modules)"
    assert run(code, TENSOR).split() == ["(2,", "3)", "6", "False"]
