"""Files of other times and machines: of 2011, appended, big-endian, packed, from a pipe, inside strings."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from t7.handwritten import FIXTURES, NIL, integer, longs, number, storage, string, table, tensor, torch

from torchmigrate.t7 import LuaTable, T7Error, T7File, Tensor, TornFile, deserialize, load, load_file
from torchmigrate.t7.reading.fields_by_position import FORMS, bodies_of
from torchmigrate.t7.writing.dump import dump, dump_all


def double(value: float) -> bytes:
    return number(value)[4:]


def written(file: T7File) -> bytes:
    stream = io.BytesIO()
    dump_all(file.objects, stream, long_size=file.long_size or 8, big_endian=file.big_endian, bodies=file.bodies)
    return stream.getvalue()


def empty(index: int) -> bytes:
    return tensor(index, (), (), 1, NIL)


OLD_LINEAR = (
    empty(2)
    + empty(3)
    + double(0.25)
    + tensor(4, (2, 3), (3, 1), 1, storage(5, 1, 2, 3, 4, 5, 6))
    + tensor(6, (2,), (1,), 1, storage(7, 7, 8))
    + empty(8)
    + empty(9)
)
PLANES = integer(5, 3, 2, 1, 7, 4)
CONVOLUTION = empty(2) + empty(3) + PLANES + b"".join(empty(i) for i in range(4, 8))
TANH = torch(30, "nn.Tanh", empty(31) + empty(32))
SEPTEMBER = table(2, string("val"), number(0.5), string("threshold"), number(0.1)) + double(0.1) + double(0.5)
POOLING = table(2, string("kW"), number(2)) + integer(2, 3, 4, 5) + tensor(3, (1,), (1,), 1, storage(4, 9.0))


class Test2011:
    """nn wrote fields at their places, without names."""

    def test_a_linear_layer_of_summer(self) -> None:
        file = load_file(torch(1, "nn.Linear", OLD_LINEAR))
        (layer,) = file.objects
        assert file.form == FORMS[2]
        assert [key for key, _ in layer.items()] == [
            "gradInput", "output", "weightDecay", "weight", "bias", "gradWeight", "gradBias",
        ]  # fmt: skip
        assert layer["weightDecay"] == 0.25
        assert layer["weight"].numpy().tolist() == [[1, 2, 3], [4, 5, 6]]
        assert layer["bias"].numpy().tolist() == [7, 8]

    def test_a_network_of_summer(self) -> None:
        raw = torch(
            1,
            "nn.Sequential",
            empty(10)
            + empty(11)
            + table(12, number(1), torch(13, "nn.SpatialConvolution", CONVOLUTION), number(2), TANH),
        )
        file = load_file(raw)
        convolution, tanh = file.objects[0]["modules"].list()
        assert [convolution[name] for name in ("kW", "kH", "dW", "dH", "nInputPlane", "nOutputPlane")] == [
            5, 3, 2, 1, 7, 4,
        ]  # fmt: skip
        assert len(tanh) == 2
        assert len(written(file)) == len(raw)

    def test_a_threshold_of_september_has_its_table_first(self) -> None:
        raw = torch(1, "nn.Threshold", SEPTEMBER)
        file = load_file(raw)
        assert file.form == FORMS[1]
        assert dict(file.objects[0].items()) == {"val": 0.5, "threshold": 0.1}
        assert written(file) == raw

    def test_a_pooling_of_september(self) -> None:
        layer = load_file(torch(1, "nn.SpatialMaxPooling", POOLING)).objects[0]
        assert [layer[name] for name in ("kW", "kH", "dW", "dH")] == [2, 3, 4, 5]
        assert layer["indices"].numpy().tolist() == [9.0]

    def test_nnx_wrote_so_until_november(self) -> None:
        raw = torch(1, "nn.SpatialPadding", table(2, string("a"), number(1)) + integer(1, 2, 3, 4))
        raw += torch(3, "nn.Threshold", table(4, string("val"), number(0.5)))
        file = load_file(raw)
        assert file.form == FORMS[0]
        padding, threshold = file.objects
        assert [padding[f"pad_{side}"] for side in "lrtb"] == [1, 2, 3, 4]
        assert threshold["val"] == 0.5

    @pytest.mark.parametrize("kernel_is_a_table", [False, True])
    def test_a_normalization_of_two_kernels_has_more_fields(self, kernel_is_a_table: bool) -> None:
        kernel = table(4) if kernel_is_a_table else empty(4)
        more = integer(6, 7, 1, 0) if kernel_is_a_table else b""
        raw = torch(
            1,
            "nn.SpatialNormalization",
            empty(2) + empty(3) + kernel + integer(1, 3, 3, 0, 1) + NIL * 10 + more + integer(5),
        )
        layer = load_file(raw).objects[0]
        assert layer["fixedThres"] == 5
        assert layer.get("pad2H") == (7 if kernel_is_a_table else None)
        assert written(load_file(raw)) == raw

    def test_the_parts_of_a_network_may_stand_alone(self) -> None:
        # what network:write(file) left, without the network's own name
        raw = empty(1) + empty(2) + table(3, number(1), torch(4, "nn.Tanh", empty(5) + empty(6)))
        file = load_file(raw)
        assert [type(item) for item in file.objects] == [Tensor, Tensor, LuaTable]
        assert file.objects[2][1].typename == "nn.Tanh"

    def test_a_file_of_today_is_never_taken_for_one(self) -> None:
        raw = torch(1, "nn.Threshold", table(2, string("val"), number(0.5)))
        assert load_file(raw).form == ""
        assert load_file(raw + integer(99)).form == ""

    def test_a_class_that_has_a_table_today_says_so(self) -> None:
        with pytest.raises(T7Error, match=r"ends at byte|no table"):
            load_file(torch(1, "nn.Linear", number(1)))

    def test_torn(self) -> None:
        with pytest.raises(TornFile):
            load_file(torch(1, "nn.Linear", OLD_LINEAR)[:-10])

    @pytest.mark.parametrize("form", FORMS)
    def test_every_class_is_described(self, form: str) -> None:
        for name, body in bodies_of(form).items():
            assert body.fields, name
            assert all(field.kind in ("object", *"ildbt@") for field in body.fields)
            names = [field.name for field in body.fields]
            assert len(names) == len(set(names)), name


class TestAppended:
    """Files one after the other in one: each counts its objects from 1."""

    FIRST = table(1, string("a"), table(2, string("b"), number(1)))
    SECOND = table(1, string("c"), tensor(2, (2,), (1,), 1, storage(3, 1.5, 2.5)))

    def test_two_saves_in_one_file(self) -> None:
        file = load_file(self.FIRST + self.SECOND + self.FIRST)
        assert (file.parts, len(file.objects)) == (3, 3)
        assert file.objects[1]["c"].numpy().tolist() == [1.5, 2.5]
        assert file.objects[0] is not file.objects[2]

    def test_a_back_reference_stays_one(self) -> None:
        file = load_file(self.FIRST + integer(3, 1))
        assert file.parts == 1
        assert file.objects[0] is file.objects[1]

    def test_ascii(self) -> None:
        raw = (FIXTURES / "values" / "views_of_one_storage.ascii.t7").read_bytes()
        file = load_file(raw * 2)
        assert (file.parts, len(file.objects)) == (2, 2)


class TestBigEndian:
    @pytest.mark.parametrize("long_size", [4, 8])
    @pytest.mark.parametrize("name", ["views_of_one_storage", "mixed_keys", "cyclic", "tensor_Long", "tensor_Byte"])
    def test_is_read_like_little_endian(self, name: str, long_size: int) -> None:
        value = load(FIXTURES / "values" / f"{name}.t7")
        stream = io.BytesIO()
        dump(value, stream, long_size=long_size, big_endian=True)
        file = load_file(stream.getvalue())
        assert file.big_endian
        assert written(file) == stream.getvalue()
        again = io.BytesIO()
        dump(file.objects[0], again)
        assert again.getvalue() == (FIXTURES / "values" / f"{name}.t7").read_bytes()

    def test_bytes_of_a_big_endian_file(self) -> None:
        raw = bytes.fromhex("00000003 00000001 00000001 00000002 00000001 61 00000001 3ff8000000000000")
        assert dict(load(raw).items()) == {"a": 1.5}

    def test_its_numbers_are_those_of_this_machine(self) -> None:
        stream = io.BytesIO()
        dump(np.array([1.5, -2.0], np.float32), stream, big_endian=True)
        array = load(stream.getvalue()).numpy()
        assert array.dtype == np.dtype("<f4")
        assert array.tolist() == [1.5, -2.0]
        assert not array.flags.writeable


class TestPacked:
    RAW = (FIXTURES / "values" / "views_of_one_storage.t7").read_bytes()

    def test_gzip(self, tmp_path: Path) -> None:
        path = tmp_path / "model.t7.gz"
        path.write_bytes(gzip.compress(self.RAW))
        file = load_file(path)
        assert (file.packed, file.size) == ("gzip", len(self.RAW))
        assert written(file) == self.RAW

    def test_ascii_in_several_members_with_zeros_after_them(self) -> None:
        raw = (FIXTURES / "values" / "strings.ascii.t7").read_bytes()
        packed = gzip.compress(raw[:50]) + gzip.compress(raw[50:]) + bytes(512)
        assert load_file(packed).format == "ascii"

    def test_more_than_memory_is_kept_in_a_file(self) -> None:
        big = np.random.default_rng(0).integers(0, 2, 5_000_000).astype(np.float64)
        stream = io.BytesIO()
        dump(big, stream)
        value = load(gzip.compress(stream.getvalue(), 1))
        assert not value.storage.data.flags.owndata
        assert np.array_equal(value.numpy(), big)

    def test_torn(self) -> None:
        packed = gzip.compress(self.RAW)
        with pytest.raises(TornFile, match="gzip archive is torn"):
            load(packed[:-20])
        assert load_file(packed[:-9], salvage=True).packed == "gzip"


def test_standard_input() -> None:
    raw = (FIXTURES / "values" / "tensor_Float.t7").read_bytes()
    code = "from torchmigrate.t7 import load; print(load('-').size)"
    done = subprocess.run([sys.executable, "-c", code], input=raw, capture_output=True, check=True)
    assert done.stdout.split() == [b"(2,", b"3)"]


class TestSerialized:
    """What torch.serialize leaves in strings, and torch.serializeToStorage in storages."""

    @pytest.mark.parametrize("name", ["views_of_one_storage.t7", "views_of_one_storage.ascii.t7"])
    def test_a_string_inside_a_table(self, name: str) -> None:
        inner = (FIXTURES / "values" / name).read_bytes()
        outer = load(table(1, string("model"), string(inner)))
        value = deserialize(outer["model"])
        stream = io.BytesIO()
        dump(value, stream, ascii="ascii" in name)
        assert stream.getvalue() == inner

    def test_a_storage_of_bytes(self) -> None:
        inner = table(1, string("a"), number(2))
        data = load(torch(1, "torch.CharStorage", longs(len(inner)) + inner))
        assert deserialize(data)["a"] == 2
        view = tensor(1, (len(inner),), (1,), 1, torch(2, "torch.CharStorage", longs(len(inner)) + inner), kind="Char")
        assert deserialize(load(view))["a"] == 2

    def test_other_text_is_refused(self) -> None:
        with pytest.raises(T7Error, match="a text file that begins with 'hello"):
            deserialize("hello there")
