"""Tensors, storages and tables as Python values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from torchmigrate.base.errors import T7Error
from torchmigrate.t7 import LuaObject, LuaTable, Storage, Tensor, load
from torchmigrate.t7.writing.dump import dump

STORAGE = Storage("torch.DoubleStorage", np.arange(12.0))


@pytest.mark.parametrize(
    ("size", "stride", "offset", "expected"),
    [
        ((2, 3), (3, 1), 1, [[0, 1, 2], [3, 4, 5]]),
        ((3, 2), (1, 3), 1, [[0, 3], [1, 4], [2, 5]]),
        ((2, 2), (0, 1), 5, [[4, 5], [4, 5]]),
        ((2, 2), (0, 0), 12, [[11, 11], [11, 11]]),
        ((3,), (-2,), 5, [4, 2, 0]),
        ((2, 1, 2), (7, 99, 1), 4, [[[3, 4]], [[10, 11]]]),
        ((12,), (1,), 1, list(range(12))),
        ((1,), (1,), 12, [11]),
    ],
)
def test_views(size: tuple[int, ...], stride: tuple[int, ...], offset: int, expected: list[object]) -> None:
    view = Tensor("torch.DoubleTensor", size, stride, offset, STORAGE).numpy()
    assert view.tolist() == expected
    assert np.shares_memory(view, STORAGE.data)
    assert not view.flags.writeable
    assert STORAGE.data.flags.writeable


@pytest.mark.parametrize(("size", "shape"), [((), (0,)), ((0,), (0,)), ((0, 3), (0, 3)), ((2, 0), (2, 0))])
def test_empty_tensors(size: tuple[int, ...], shape: tuple[int, ...]) -> None:
    for storage in (None, STORAGE):
        view = Tensor("torch.FloatTensor", size, (1,) * len(size), 1, storage).numpy()
        assert view.shape == shape
        assert view.dtype == np.float32


@pytest.mark.parametrize(
    ("size", "stride", "offset", "storage"),
    [
        ((13,), (1,), 1, STORAGE),
        ((2, 3), (7, 3), 1, STORAGE),
        ((2,), (1,), 12, STORAGE),
        ((2,), (1,), 0, STORAGE),
        ((2,), (1,), 2**70, STORAGE),
        ((2, 3), (3,), 1, STORAGE),
        ((-2, -3), (3, 1), 1, STORAGE),
        ((2, 3.5), (3, 1), 1, STORAGE),
        ((2,), (2**63,), 1, STORAGE),
        ((2, -3), (3, 1), 1, None),
        ((0, -3), (3, 1), 1, STORAGE),
    ],
)
def test_a_view_outside_the_storage_is_refused(
    size: tuple[int, ...], stride: tuple[int, ...], offset: int, storage: Storage | None
) -> None:
    for read in (Tensor.numpy, Tensor.copy):
        with pytest.raises(T7Error) as refused:
            read(Tensor("torch.DoubleTensor", size, stride, offset, storage))
        assert f"size {size}, stride {stride} and offset {offset}" in str(refused.value)


def test_unaligned_data() -> None:
    data = np.frombuffer(b"x" + np.arange(3.0).tobytes(), "<f8", 3, 1)
    view = Tensor("torch.DoubleTensor", (3,), (1,), 1, Storage("torch.DoubleStorage", data)).numpy()
    assert view.tolist() == [0, 1, 2]


def test_table() -> None:
    value = LuaTable([("a", 1.0), (b"b", 2.0), (1, "one"), (True, "yes"), (2.0, "two")])
    assert value.keys() == ["a", "b", 1.0, True, 2.0]
    assert (value["b"], value[b"b"], value[1], value[1.0], value[True]) == (2.0, 2.0, "one", "one", "yes")
    assert False not in value
    assert value.list() == ["one", "two"]
    assert not value.is_list
    assert LuaTable.from_list("ab").is_list
    with pytest.raises(KeyError):
        value["c"]
    for key in (None, float("nan"), 2**53 + 1, 10**400):
        with pytest.raises(ValueError, match="can't have the key"):
            value[key] = 1
    assert value.get(10**400) is None


def test_object() -> None:
    value = LuaObject("nn.Linear", LuaTable([("bias", 1.0)]))
    assert value["bias"] == 1
    assert "weight" not in value
    assert value.get("weight") is None
    assert repr(value) == "<nn.Linear with 1 fields>"


@pytest.mark.parametrize(("size", "stride"), [((3, 5), (5, 1)), ((5, 3), (1, 5)), ((15,), (1,)), ((), ())])
def test_a_copy_is_contiguous_and_can_be_written(size: tuple[int, ...], stride: tuple[int, ...]) -> None:
    tensor = Tensor("torch.DoubleTensor", size, stride, 1, Storage("torch.DoubleStorage", np.arange(15.0)))
    copy = tensor.copy()
    assert copy.flags.c_contiguous
    assert copy.flags.writeable
    assert np.array_equal(copy, tensor.numpy())
    assert not np.shares_memory(copy, tensor.numpy())


def test_a_large_mapped_tensor_is_copied_piece_by_piece(tmp_path: Path) -> None:
    numbers = np.random.default_rng(3).standard_normal((7001, 300))
    dump([numbers, numbers[:2]], tmp_path / "a.t7")
    value = load(tmp_path / "a.t7")
    assert np.array_equal(value[1].copy(), numbers)
    assert np.array_equal(value[1].numpy(), numbers)
    value[2].storage.release()
    assert np.array_equal(value[2].numpy(), numbers[:2])
