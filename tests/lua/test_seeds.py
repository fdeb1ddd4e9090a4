"""A seed gives the first weights that it gives in Torch7: the same numbers are drawn, in the same order."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("lupa")

from golden import FIXTURES
from lua_runtimes import evaluated, runtime

import torchmigrate as tm

_DRAWN = """
torch.manualSeed(1234)
local module, count, sum, placed = {}, 0, 0, 0
for _, parameter in ipairs((module:parameters())) do
   for _, value in ipairs(parameter:clone():view(-1):totable()) do
      count = count + 1
      sum, placed = sum + value, placed + value * count
   end
end
return count, sum, placed, torch.uniform()
"""


def drawn(package: str, texts: list[str]) -> list[list[Any]]:
    """Of each module its parameters: their count, sum, sum weighted by place; and the number drawn next."""
    lua = runtime()
    for name in ("nn", package):
        lua.guarded(lua.host.require, name)
    return [evaluated(lua, _DRAWN.replace("{}", text, 1)) for text in texts]


@pytest.mark.parametrize("package", ["nn", "rnn", "dpnn", "nnx"])
def test_first_weights(package: str) -> None:
    rows = tm.load(FIXTURES / "lua" / f"seeds_{package}.t7").list()
    for row, found in zip(rows, drawn(package, [row["text"] for row in rows]), strict=True):
        wanted = [row[name] for name in ("count", "sum", "placed", "next")]
        assert found == pytest.approx(wanted, rel=1e-12, abs=1e-12), row["text"]


def test_another_order_is_seen() -> None:
    one, other = drawn("nn", ["nn.Sequential():add(nn.Linear(2, 3)):add(nn.Linear(3, 2))", "nn.Linear(4, 3)"])
    assert (one[0], other[0]) == (17, 15)
    swapped = drawn(
        "nn", ["(function() local l = nn.Linear(3, 2) return nn.Sequential():add(nn.Linear(2, 3)):add(l) end)()"]
    )
    assert swapped[0][0] == one[0]
    assert swapped[0][2] != pytest.approx(one[2], rel=1e-6)
