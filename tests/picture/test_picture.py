"""Pictures of networks: every box and edge, nothing overlapping, every text escaped."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path

import golden
import lua
import pytest

import torchmigrate as tm
from torchmigrate.cli import main as cli
from torchmigrate.model.locate import locate
from torchmigrate.model.supported_classes import table
from torchmigrate.picture.draw import draw
from torchmigrate.picture.flow import Flow, flow_of
from torchmigrate.picture.graphviz import graphviz_layout
from torchmigrate.picture.layout import Layout, box_size, layered_layout

SVG = "{http://www.w3.org/2000/svg}"


def model(name: str, key: str | None = None) -> tm.LuaObject:
    return locate(tm.load(golden.MODELS / f"{name}.t7"), key, table().keys()).object


def flow(name: str, key: str | None = None, depth: int | None = None) -> Flow:
    return flow_of(model(name, key), table().keys(), {}, depth)


def conv(inputs: int, outputs: int) -> tm.LuaObject:
    numbers = {"nInputPlane": inputs, "nOutputPlane": outputs, "kW": 3, "kH": 3, "dW": 2, "dH": 2}
    return lua.module("nn.SpatialConvolution", **numbers)


def test_a_chain_with_a_shortcut() -> None:
    inner = lua.sequential(conv(4, 4), lua.module("nn.SpatialBatchNormalization"), lua.module("nn.ReLU"), conv(4, 4))
    branches = lua.module("nn.ConcatTable", modules=[inner, lua.module("nn.Identity")])
    found = flow_of(lua.sequential(conv(3, 4), branches, lua.module("nn.CAddTable")), table().keys(), {})
    assert [box.lines for box in found.boxes] == [
        ["input"],
        ["SpatialConvolution 3→4 3x3 /2"],
        ["SpatialConvolution 4→4 3x3 /2", "SpatialBatchNormalization", "ReLU"],
        ["SpatialConvolution 4→4 3x3 /2"],
        ["CAddTable"],
        ["output"],
    ]
    assert found.boxes[2].paths == ["2.1.1", "2.1.2", "2.1.3"]
    assert sorted(found.edges) == [(0, 1), (1, 2), (1, 4), (2, 3), (3, 4), (4, 5)]


def test_tables_are_followed() -> None:
    towers = lua.module("nn.ParallelTable", modules=[lua.linear(3, 2), lua.linear(5, 2)])
    second = lua.module("nn.SelectTable", index=2)
    found = flow_of(lua.sequential(towers, second, lua.linear(2, 4)), table().keys(), {})
    assert [box.lines[0] for box in found.boxes] == ["input", "Linear 3→2", "Linear 5→2", "Linear 2→4", "output"]
    assert sorted(found.edges) == [(0, 1), (0, 2), (2, 3), (3, 4)]


def test_an_nngraph_lstm_keeps_its_gates() -> None:
    found = flow("wordrnn_two_protos", "protos.lstm")
    names = [box.lines[0].split()[0] for box in found.boxes]
    assert (names.count("Sigmoid"), names.count("CMulTable"), names.count("CAddTable")) == (3, 3, 2)
    split = names.index("SplitTable")
    assert len([after for before, after in found.edges if before == split]) == 4


def test_modules_below_a_depth_are_one_box() -> None:
    found = flow("resnet_bottleneck_B", depth=1)
    assert [box.lines[0] for box in found.boxes if "Sequential" in box.lines[0]] == ["Sequential of 2"] * 3


@pytest.mark.parametrize("row", golden.model_rows(), ids=lambda row: row["name"])
def test_every_golden_model_is_laid_out(row: dict[str, str]) -> None:
    found = flow(row["name"], None if row["key"] == "-" else row["key"])
    assert all(before < after for before, after in found.edges)
    reached = {0} | {after for _, after in found.edges}
    assert reached == set(range(len(found.boxes)))
    assert_apart(found, layered_layout(found))


def test_graphviz_gives_the_same_boxes() -> None:
    found = flow("googlenet_aux")
    layout = graphviz_layout(found)
    if layout is None:
        pytest.skip("graphviz is not installed")  # a program of its own, which no package brings
    assert len(layout.curves) == len(found.edges)
    assert_apart(found, layout)


def assert_apart(found: Flow, layout: Layout) -> None:
    """No two boxes overlap, and all are inside the picture."""
    sizes = [box_size(box) for box in found.boxes]
    for (x, y), (width, height) in zip(layout.centers, sizes, strict=True):
        assert -0.5 <= x - width / 2 <= x + width / 2 <= layout.width + 0.5
        assert -0.5 <= y - height / 2 <= y + height / 2 <= layout.height + 0.5
    for i, j in combinations(range(len(sizes)), 2):
        (ax, ay), (bx, by) = layout.centers[i], layout.centers[j]
        apart_x = abs(ax - bx) >= (sizes[i][0] + sizes[j][0]) / 2 - 0.5
        assert apart_x or abs(ay - by) >= (sizes[i][1] + sizes[j][1]) / 2 - 0.5


@pytest.mark.parametrize("own", [True, False])
def test_hostile_names_are_escaped(own: bool) -> None:
    evil = "my.<script>alert(1)</script>\"'&]]>\x1b\u202e"
    text = draw(lua.sequential(lua.module(evil), lua.linear(2, 3)), evil, {"1": evil}, own=own)
    root = ElementTree.fromstring(text)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "style", "text", "g", "title", "rect", "path", "polygon"),
    }
    assert not re.search(r"[\x00-\x08\x1b\u202e]", text)
    assert "<script" not in text


@pytest.mark.parametrize("wrong", [float("inf"), float("nan"), -1e300, 0.5, "text", None])
def test_hostile_fields_do_no_harm(wrong: object) -> None:
    names = ("index", "offset", "length", "nInputPlane", "nOutputPlane", "kW", "dW", "p", "size")
    classes = ("SelectTable", "NarrowTable", "SpatialConvolution", "Dropout", "View", "FlattenTable")
    layers = [lua.module(f"nn.{name}", **dict.fromkeys(names, wrong)) for name in classes]
    branches = lua.module("nn.ConcatTable", modules=[lua.linear(2, 3), lua.linear(2, 3)])
    ElementTree.fromstring(draw(lua.sequential(branches, *layers), "net"))


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["inspect", str(golden.MODELS / "unet_nngraph.t7"), "--svg", str(tmp_path / "net.svg")])
    assert not stopped.value.code
    root = ElementTree.parse(tmp_path / "net.svg").getroot()
    assert len(root.findall(f".//{SVG}rect")) == len(flow("unet_nngraph").boxes)
    assert "net.svg" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        cli.main(["inspect", str(golden.MODELS / "unet_nngraph.t7"), "--svg", str(tmp_path / "net.svg" / "net.svg")])
    assert stopped.value.code == 2
