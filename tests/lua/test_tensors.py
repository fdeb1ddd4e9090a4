"""Pieces of Lua on tensors give what Torch7 gave, or fail in its words."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from golden import FIXTURES
from lua_runtimes import evaluated, runtime

import torchmigrate as tm

pytest.importorskip("lupa")

from torchmigrate.lua.runtime import LuaStopped, Runtime

ROWS = [row for name in ("tensors", "randoms") for row in tm.load(FIXTURES / "lua" / f"{name}.t7").list()]


def plain(value: Any) -> Any:
    """A value with everything that must be the same in it."""
    if isinstance(value, tm.Tensor):
        return [value.type, list(value.size), value.numpy().tolist()]
    if isinstance(value, tm.Storage):
        return [value.typename, value.data.tolist()]
    if isinstance(value, tm.LuaTable):
        return {key: plain(held) for key, held in value.items()}
    return "nil" if value is None else value


def same(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(got, (float, int)) and not isinstance(got, bool):
        return got == pytest.approx(wanted, rel=1e-12, nan_ok=True)
    if type(got) is not type(wanted):
        return False
    if isinstance(wanted, list):
        return len(got) == len(wanted) and all(same(g, w) for g, w in zip(got, wanted, strict=True))
    if isinstance(wanted, dict):
        return got.keys() == wanted.keys() and all(same(got[key], wanted[key]) for key in wanted)
    return bool(got == wanted)


@cache
def shared() -> Runtime:
    """One Lua for all rows, which leave nothing behind but classes of their own."""
    lua = runtime()
    lua.guarded(lua.host.require, "nn")
    return lua


@pytest.mark.parametrize("row", ROWS, ids=[row["text"] for row in ROWS])
def test_as_in_torch7(row: tm.LuaTable) -> None:
    lua = shared()
    if row["ok"]:
        got = [plain(value) for value in evaluated(lua, row["text"])]
        wanted = [plain(value) for value in row["results"].list()]
        assert same(got, wanted), f"{got} is not {wanted}"
        return
    with pytest.raises(LuaStopped) as caught:
        evaluated(lua, row["text"])
    message = str(caught.value).removeprefix("row:1: ").split("\n")[0]
    assert message.startswith(row["message"]), message


def test_the_rows_are_told_apart() -> None:
    assert not same([1.0], [1.0000001])
    assert not same(["torch.FloatTensor", [1], [1.0]], ["torch.DoubleTensor", [1], [1.0]])


def test_an_error_names_the_line_of_the_author(tmp_path: Any) -> None:
    (tmp_path / "model.lua").write_text("local x = torch.zeros(2, 3)\n\nlocal y = x:narrow(1, 2, 2)\nreturn y\n")
    lua = runtime(tmp_path)
    with pytest.raises(LuaStopped, match=r"^model\.lua:3: out of range"):
        lua.guarded(lua.host.run_file, "model.lua")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("return torch.zeros(2):unknown()", "attempt to call method 'unknown'"),
        ("return torch.fft(torch.zeros(2))", "attempt to call field 'fft'"),
        ("torch.serialize(3)", "reads and writes no files"),
        ("torch.load('x.t7')", "no .t7 files are read here"),
        ("return torch.zeros(4):split({1, 2})", "isn't implemented"),
    ],
)
def test_what_is_not_there_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(LuaStopped, match=words):
        evaluated(runtime(), text)


def test_random_numbers_repeat_and_differ_between_the_two_runs() -> None:
    text = "torch.manualSeed(3) return torch.rand(2), torch.uniform(), math.random()"
    once, again, other = ([plain(value) for value in evaluated(runtime(run=run), text)] for run in (0, 0, 1))
    assert once == again
    assert all(a != b for a, b in zip(once, other, strict=True))


@pytest.mark.parametrize("draw", ["uniform(2, 3)", "normal(0, 2)", "bernoulli(0.25)", "exponential(2)", "random(3, 5)"])
def test_moments_of_random_numbers(draw: str) -> None:
    wanted = {"u": (2.5, 1 / 12), "n": (0, 4), "b": (0.25, 0.1875), "e": (0.5, 0.25), "r": (4, 2 / 3)}[draw[0]]
    numbers = evaluated(runtime(), f"torch.manualSeed(1) return torch.Tensor(40000):{draw}")[0].numpy()
    assert numbers.mean() == pytest.approx(wanted[0], abs=0.03)
    assert numbers.var() == pytest.approx(wanted[1], rel=0.04)


@pytest.mark.parametrize(
    ("numbers", "largest", "wanted"),  # what Torch7 gave for topk(5) on a CPU, counted from 1
    [
        ([2, 1, 5, 3, 7, 6, 4], True, [4, 3, 5, 6, 7]),
        ([2, 1, 5, 3, 7, 6, 4], False, [2, 1, 4, 7, 3]),
        ([2, 3, 8, 1, 9, 4, 5, 6, 7], True, [7, 8, 9, 3, 5]),
        ([2, 3, 8, 1, 9, 4, 5, 6, 7], False, [2, 6, 1, 4, 7]),
        ([2, 3, 2, 3, 4, 3, 1, 0, 0, 2, 1, 1], True, [2, 5, 4, 3, 6]),
        ([2, 3, 2, 3, 4, 3, 1, 0, 0, 2, 1, 1], False, [9, 8, 7, 12, 11]),
    ],
)
def test_topk_without_sorting_has_the_order_of_torch7(numbers: list[int], largest: bool, wanted: list[int]) -> None:
    text = ", ".join(map(str, numbers))
    flag = str(largest).lower()
    lua = f"local v, i = torch.topk(torch.Tensor{{{text}}}, 5, 1, {flag}) return i"
    assert plain(evaluated(runtime(), lua)[0])[2] == wanted
