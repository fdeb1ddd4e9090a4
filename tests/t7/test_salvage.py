"""What can be read of a torn file, and what is said to be lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from t7.handwritten import integer, longs, number, storage, string, table, tensor, torch

from torchmigrate.t7 import Loss, T7Error, Tensor, TornFile, load, load_file
from torchmigrate.t7.writing.dump import dump

RAW = table(
    1,
    string("epoch"),
    number(7),
    string("model"),
    torch(
        2,
        "nn.Sequential",
        table(
            3,
            string("train"),
            number(1),
            string("modules"),
            table(
                4,
                number(1),
                torch(5, "nn.Linear", table(6, string("bias"), tensor(7, (2,), (1,), 1, storage(8, 1.5, -2.5)))),
                number(2),
                torch(9, "nn.Linear", table(10, string("bias"), tensor(11, (2,), (1,), 1, storage(12, 3.5, 4.5)))),
            ),
        ),
    ),
    string("best"),
    number(3),
)
#: From here on, the second bias is cut in the middle.
TORN = RAW[: RAW.index(np.float64(4.5).tobytes()) + 3]


def test_what_is_whole_is_read_and_what_is_not_is_named() -> None:
    file = load_file(TORN, salvage=True)
    (value,) = file.objects
    assert value.keys() == ["epoch", "model"]
    first, second = value["model"]["modules"].list()
    assert first["bias"].numpy().tolist() == [1.5, -2.5]
    assert len(second) == 0
    assert file.losses == (
        Loss("", "", 2, 3),
        Loss("model.modules[2]", "nn.Linear", 0, 1),
        Loss("model.modules[2].bias", "torch.DoubleTensor"),
    )
    assert isinstance(file.error, TornFile)
    assert "5 bytes too early" in str(file.error)
    assert load(TORN, salvage=True).keys() == ["epoch", "model"]


def test_without_it_the_file_is_refused() -> None:
    for read in (load, load_file):
        with pytest.raises(TornFile, match=r"in model\.modules\[2\]\.bias"):
            read(TORN)


def test_a_whole_file_has_no_losses() -> None:
    file = load_file(RAW, salvage=True)
    assert (file.error, file.losses) == (None, ())


def test_damage_in_the_middle() -> None:
    raw = table(1, number(1), string("a"), number(2), integer(77), number(3), string("c"))
    file = load_file(raw, salvage=True)
    assert file.objects[0].list() == ["a"]
    assert file.losses == (Loss("", "", 1, 3), Loss("[2]", "?"))
    assert not isinstance(file.error, TornFile)


def test_what_is_no_file_of_torch7_is_not_salvaged() -> None:
    with pytest.raises(T7Error, match="a web page"):
        load(b"<html><body>", salvage=True)


def test_a_torn_download_of_a_big_file(tmp_path: Path) -> None:
    path = tmp_path / "torn.t7"
    dump({"a": np.arange(30_000.0), "b": np.arange(50_000.0)}, path)
    with path.open("r+b") as stream:
        stream.truncate(300_000)
    file = load_file(path, salvage=True)
    assert isinstance(file.objects[0]["a"], Tensor)
    assert file.objects[0]["a"].numpy()[-1] == 29_999
    assert file.losses[-1] == Loss("b", "torch.DoubleTensor")


def test_four_objects_of_which_one_is_torn() -> None:
    raw = table(1) + table(2, string("a"), number(1)) + torch(3, "torch.FloatStorage", longs(3) + bytes(5))
    file = load_file(raw, salvage=True)
    assert len(file.objects) == 3
    assert file.objects[1]["a"] == 1
    assert file.objects[2] is None
    assert file.losses == (Loss("<object 3>", "torch.FloatStorage"),)


#: Two lists of one tensor, one after the other, as a program writes that keeps its file open.
LISTS = (
    "3\n{}\n1\n1\n1\n4\n{}\n3\nV 1\n15\ntorch.IntTensor\n1\n2\n1\n1\n4\n{}\n3\nV 1\n16\ntorch.IntStorage\n2\n32 17\n"
)
TEXT = (LISTS.format(1, 2, 3) + LISTS.format(4, 5, 16)).encode()


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (b"torch.IntStorage\n", "too early: the size of a storage"),
        (b"4\n1", "within a number; as it stands, the storage of a tensor is a table"),
        (b"32 1", None),
        (b"32 ", "too early: a storage of 2 elements"),
    ],
)
def test_a_torn_text_is_called_torn(end: bytes, words: str | None) -> None:
    raw = TEXT[: TEXT.rindex(end) + len(end)]
    file = load_file(raw, salvage=True)
    assert file.objects[0][1].numpy().tolist() == [32, 17]
    if words is None:
        # nothing tells that this was 17
        assert file.objects[1][1].numpy().tolist() == [32, 1]
        return
    assert isinstance(file.error, TornFile)
    assert words in str(file.error)
    assert file.losses == (Loss("<object 2>", "", 0, 1), Loss("<object 2>[1]", "torch.IntTensor"))


def test_of_two_ways_to_read_a_torn_file_the_torn_one_is_told() -> None:
    # with longs of 8 bytes, a string stands where the storage is, and the file ends there
    raw = tensor(1, (), (), 1, storage(2, 1.5, size=4), size=4)
    with pytest.raises(TornFile):
        load(raw[: raw.index(b"V 1", 20) + 3])
