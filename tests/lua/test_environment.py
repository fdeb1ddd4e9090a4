"""What definitions use around their layers: options of scripts, and classes of plain tables, as in Torch7."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("lupa")

from lua_runtimes import evaluated, runtime

from torchmigrate.lua.runtime import LuaStopped

_OPTIONS = (
    "local c = torch.CmdLine() c:option('-n', 3, 'x') c:option('--rate', 0.5) c:option('-flag', true) "
    "c:option('-name', 'a', 'x', 'string') c:argument('-file', 'x', 'string') "
)


# what th printed for the same chunks
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("local o = c:parse{'f', '-n', '0x10'} return o.n, o.rate, o.flag, o.name, o.file", [16, 0.5, True, "a", "f"]),
        ("local o = c:parse{'-name', '-n', '--rate', '1e-3', 'f', '-flag'} return o.name, o.rate, o.flag, o.n",
         ["-n", 1e-3, False, 3]),
        ("local o = c:default() return o.n, o.file", [3, None]),
    ],
)  # fmt: skip
def test_options_of_a_script(text: str, wanted: list[Any]) -> None:
    assert evaluated(runtime(), _OPTIONS + text) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c:parse{'f', '--n', '4'}", "invalid argument: --n"),
        ("c:parse{'f', '-n'}", "missing argument for option -n"),
        ("c:parse{'f', '-n', 'many'}", r"invalid type for option -n \(should be number\)"),
        ("c:parse{}", "not enough arguments"),
        ("c:option('-k')", "option -k has no default value"),
        ("c:option('-k', 3, 'x', 'string')", "option -k has wrong default type value"),
    ],
)
def test_options_that_do_not_fit(text: str, message: str) -> None:
    with pytest.raises(LuaStopped, match=message):
        evaluated(runtime(), _OPTIONS + text)


def test_classic() -> None:
    text = (
        "local Object = require 'classic' local A = Object:extend() function A:new(n) self.n = n end "
        "function A:twice() return 2 * self.n end local B = A:extend() "
        "function B:new(n) B.super.new(self, n + 1) end local b = B(4) "
        "return b:twice(), b:is(A), b:is(Object), A(1):is(B), tostring(b)"
    )
    assert evaluated(runtime(), text) == [10, True, True, False, "Object"]
