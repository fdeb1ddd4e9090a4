"""Networks that authors' Lua defines, filled with recorded numbers, give what Torch7 computed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import FIXTURES
from lua_objects import LABELS, differences

import torchmigrate as tm

pytest.importorskip("lupa")

from torchmigrate.lua import define, define_with_details
from torchmigrate.lua.building import build
from torchmigrate.lua.folders import Folders
from torchmigrate.lua.limits import LuaLimits
from torchmigrate.lua.result import CantLeave
from torchmigrate.lua.runtime import LuaStopped
from torchmigrate.lua.sandbox import LuaFailed

CASES = sorted((FIXTURES / "lua" / "definitions").iterdir())
#: A class that the author's files define has no converter.
OWN_CLASS = {"m03_char_lstm": "OneHotRows"}
#: Fields that a forward leaves, and that cutorch's stand-ins had when the models were recorded.
LEFT_BY_A_RUN = LABELS | {
    *("train", "finput", "fgradInput", "save_mean", "save_std", "addBuffer", "iheight", "iwidth", "itime", "inputSize"),
    *("outputSize", "batchsize", "iSize", "threshold", "val", "divide", "count_include_pad", "algorithm", "output"),
    *(
        "gradInput",
        "_type",
        "gradWeight",
        "gradBias",
        "noise",
        "indices",
        "input",
        "scale",
        "_output",
        "buffer",
        "norm",
        "normp",
        "totalOutputSize",
    ),
}


def arguments(case: Path) -> dict[str, Any]:
    said = json.loads((case / "case.json").read_text())
    options = {"options": said["options"]} if said["arguments"] is None else {"arguments": said["arguments"]}
    return {
        "file": said["file"],
        "folder": case,
        "call": said["call"] or None,
        "returns": said["returns"],
        "global_name": said["global"],
        "options_as": said["options_as"],
        "require": said["require"],
        "before": said["before"],
        "setup": said["setup"],
        "default_type": said["type"],
        **options,
    }


def leaves(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    else:
        for part in value:
            yield from leaves(part)


def assert_torch7s_output(case: Path, model: tm.LuaObject) -> None:
    network = tm.convert(model).module
    with torch.no_grad():
        got = list(leaves(network(tm.to_torch(tm.load(case / "input.t7")))))
    wanted = list(leaves(tm.to_torch(tm.load(case / "output.t7"))))
    assert [part.shape for part in got] == [part.shape for part in wanted]
    for a, b in zip(got, wanted, strict=True):
        assert (a - b).abs().max() <= (1e-5 if b.dtype == torch.float32 else 1e-10) * b.abs().max()


def stats_of(case: Path) -> Path | None:
    return case / "stats.t7" if (case / "stats.t7").exists() else None


def cases(having: str) -> list[Any]:
    return [pytest.param(case, id=case.name) for case in CASES if (case / having).exists()]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the Lua in the process of the tests, which is quicker; `test_sandbox` is about the other."""

    def run(job: Any, limits: LuaLimits) -> Any:
        try:
            return build(job, Folders(job["folders"], limits.file_bytes), limits)
        except (LuaStopped, CantLeave) as error:
            raise LuaFailed(str(error)) from error

    monkeypatch.setattr("torchmigrate.lua.definition.run", run)


def test_in_a_process_of_its_own() -> None:
    case = FIXTURES / "lua" / "definitions" / "m13_alexnet_groups"
    model = define(**arguments(case), weights=case / "params.t7", stats=case / "stats.t7")
    assert_torch7s_output(case, model)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("case", cases("params.t7"))
def test_from_the_flat_vector(case: Path) -> None:
    found = define_with_details(**arguments(case), weights=case / "params.t7", stats=stats_of(case))
    said = json.loads((case / "case.json").read_text())
    assert (found.parameters, found.batch_norms) == (said["tensors"], said["batch_norms"])
    assert list(found.own_classes) == said["own_classes"]
    assert found.missing == ()
    if case.name in OWN_CLASS:
        with pytest.raises(tm.UnsupportedLayers, match=OWN_CLASS[case.name]):
            tm.convert(found.model)
    else:
        assert_torch7s_output(case, found.model)
    if (case / "model.t7").exists():
        found_differences = differences(tm.load(case / "model.t7"), found.model, ignored=LEFT_BY_A_RUN)
        # nn.JoinTable keeps the size of its last output
        assert [line for line in found_differences if ".size: [] is not " not in line] == []


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("case", cases("params_list.t7"))
def test_from_the_list(case: Path) -> None:
    model = define(**arguments(case), weights=case / "params_list.t7", stats=stats_of(case))
    if case.name not in OWN_CLASS:
        assert_torch7s_output(case, model)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("case", cases("checkpoint.t7"))
def test_from_the_checkpoint(case: Path) -> None:
    file = case / "checkpoint.t7"
    model = define(**arguments(case), weights=file, weights_key="parameters", stats=file, stats_key="bnVars")
    assert_torch7s_output(case, model)


RECORDED = tm.load(FIXTURES / "lua" / "stories" / "sequencer" / "recorded.t7").list()


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("row", RECORDED, ids=[row["opt"]["layer"] for row in RECORDED])
def test_recurrent_layers_of_rnn(row: tm.LuaTable) -> None:
    folder = FIXTURES / "lua" / "stories" / "sequencer"
    # its options come from the table that holds the parameters
    model = define("tagger.lua", folder=folder, call="tagger(opt)", weights=row, weights_key="params")
    with torch.no_grad():
        got = tm.convert(model).module(tm.to_torch(row["input"]))
    for a, b in zip(got, tm.to_torch(row["output"]), strict=True):
        assert (a - b).abs().max() < 1e-6


LUA = """
local function build(opt)
   local net = nn.Sequential():add(nn.Linear(3, 2)):add(nn.BatchNormalization(2))
   if opt.noise then net:add(nn.CMul(2)) net:get(3).scale = torch.rand(2) end
   if opt.coin and torch.uniform() > 0.25 then net:add(nn.Tanh()) end
   if opt.pairs then for name, f in pairs{a = nn.ReLU, b = nn.Tanh, c = nn.Sigmoid} do net:add(f()) end end
   local layers = opt.numbers and {[1] = nn.ReLU, [2] = nn.Tanh, [3] = nn.Sigmoid} or {nn.ReLU, nn.Tanh, nn.Sigmoid}
   if opt.numbers or opt.list then for name, f in pairs(layers) do net:add(f()) end end
   if opt.one then for name, f in pairs({[1] = nn.ReLU}) do net:add(f()) end end
   if opt.fresh then net.table = torch.Tensor(2) end
   if opt.absent then net.value = require('ffi').C end
   if opt.fails then net:add(nil) end
   if opt.patch then function nn.Linear:updateOutput(input) return input end end
   if opt.run then
      local out = net:forward(torch.ones(4, 3))
      net:add(nn.Linear(out:size(2), 1))
   end
   if opt.value and net:forward(torch.ones(4, 3)):sum() > 1e-3 then net:add(nn.Tanh()) end
   if opt.extend then function nn.Linear:size() return 1 end end
   return net
end
return build
"""


def small(folder: Path, weights: Any, **rest: Any) -> tm.LuaObject:
    (folder / "model.lua").write_text(LUA)
    return define(
        "model.lua",
        folder=folder,
        call="build(opt)",
        returns="build",
        options=rest.pop("options", {}),
        weights=weights,
        **rest,
    )


def vector(count: int) -> tm.Tensor:
    return tm.Tensor.from_numpy(torch.arange(count, dtype=torch.float32).numpy())


STATS = tm.LuaTable.from_list([tm.LuaTable.from_list([vector(2), vector(2)])])


@pytest.mark.usefixtures("in_process")
def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    folder = FIXTURES / "lua" / "stories" / "charrnn"
    call = "LSTM.lstm(opt.vocab_size, opt.rnn_size, opt.num_layers, opt.dropout)"
    for name in ("a.t7", "b.t7"):
        made = define(
            "model/LSTM.lua", folder=folder, call=call, weights=folder / "checkpoint.t7", weights_key="params"
        )
        tm.dump(made, tmp_path / name)
    assert (tmp_path / "a.t7").read_bytes() == (tmp_path / "b.t7").read_bytes()


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(("options", "count"), [({"list": True}, 5), ({"one": True}, 3)])
def test_pairs_over_a_list_or_one_entry_has_one_order(options: Any, count: int, tmp_path: Path) -> None:
    assert len(small(tmp_path, vector(12), stats=STATS, options=options)["modules"]) == count


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("lupa.luajit21") is None, reason="the wheel of lupa does not hold it")
def test_the_syntax_of_luajit(tmp_path: Path) -> None:
    (tmp_path / "model.lua").write_text(
        "local net = nn.Sequential() for i = 1, 3 do if i == 2 then goto continue end\n"
        "net:add(nn.Linear(i, i)) ::continue:: end return net"
    )
    assert len(define("model.lua", folder=tmp_path, dialect="luajit21")["modules"]) == 2
    with pytest.raises(LuaFailed):
        define("model.lua", folder=tmp_path)
    with pytest.raises(tm.UsageError, match="dialect must be 'lua51' or 'luajit21', not 'lua54'"):
        define("model.lua", folder=tmp_path, dialect="lua54")


@pytest.mark.usefixtures("in_process")
def test_a_new_method_of_a_class_changes_nothing(tmp_path: Path) -> None:
    small(tmp_path, vector(12), stats=STATS, options={"extend": True})


@pytest.mark.usefixtures("in_process")
def test_a_file_may_run_what_it_builds_to_learn_a_size(tmp_path: Path) -> None:
    net = small(tmp_path, vector(15), stats=STATS, options={"run": True})
    assert net["modules"][3]["weight"].numpy().tolist() == [[12, 13]]


@pytest.mark.usefixtures("in_process")
def test_each_number_goes_to_its_place(tmp_path: Path) -> None:
    net = small(tmp_path, vector(12), stats=STATS)
    assert net["modules"][1]["weight"].numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert net["modules"][1]["bias"].numpy().tolist() == [6, 7]
    assert net["modules"][2]["weight"].numpy().tolist() == [8, 9]
    assert net["modules"][2]["running_var"].numpy().tolist() == [0, 1]


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("weights", "rest", "words"),
    [
        (
            vector(10),
            {"stats": STATS},
            r"10 numbers, the network has 12.*first that they do not fill is model\.modules\.2\.bias",
        ),
        (vector(13), {"stats": STATS}, "13 numbers, the network has 12 parameters"),
        (vector(12), {}, "running statistics of 1 batch normalizations are not"),
        (tm.LuaTable([("params", vector(12))]), {"stats": STATS}, "a table with the keys params.*weights_key"),
        (
            tm.LuaTable.from_list([vector(6)]),
            {"stats": STATS},
            r"has the size 6, model\.modules\.1\.weight of the network 2x3",
        ),
        (vector(12), {"stats": tm.LuaTable()}, "of 0 batch normalizations, the network has 1"),
        (vector(12), {"stats": vector(2)}, "Known are a list of pairs"),
        (vector(12), {"weights_key": "a.b", "stats": STATS}, "there is nothing under 'a.b'"),
        (vector(14), {"stats": STATS, "options": {"noise": True}}, r"modules\.3\.scale holds random numbers"),
        (vector(12), {"stats": STATS, "options": {"fresh": True}}, "table holds random numbers, or memory"),
        (vector(12), {"stats": STATS, "options": {"pairs": True}}, "the order in which pairs"),
        (vector(12), {"stats": STATS, "options": {"numbers": True}}, "the order in which pairs"),
        (vector(12), {"stats": STATS, "default_type": "half"}, "default_type must be"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, weights: Any, rest: dict[str, Any], words: str) -> None:
    with pytest.raises(tm.UsageError, match=words):
        small(tmp_path, weights, **rest)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fails": True}, r"^model\.lua:12: "),
        ({"patch": True}, r"a method of their own in place of nn\.Linear\.updateOutput"),
        ({"absent": True}, r"value comes from a package that is not there"),
    ],
)
def test_an_error_of_the_lua(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(LuaFailed, match=words):
        small(tmp_path, None, options=options)


def test_a_file_outside_of_its_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "model.lua").write_text("return 1")
    with pytest.raises(tm.UsageError, match="does not lie below the folder"):
        define("../model.lua", folder=tmp_path / "folder")
    with pytest.raises(tm.UsageError, match="There is no file"):
        define("none.lua", folder=tmp_path)


@pytest.mark.usefixtures("in_process")
def test_a_coin_that_changes_the_network_is_seen(tmp_path: Path) -> None:
    """Whether it falls otherwise in the second run is chance; over several seeds it must be seen at least once."""
    outcomes = set()
    for seed in range(6):
        try:
            small(tmp_path, vector(12), stats=STATS, options={"coin": True}, setup=f"torch.manualSeed({seed})")
            outcomes.add("the same twice")
        except tm.UsageError as error:
            outcomes.add(str(error)[:60])
    assert "What the Lua builds depends on random numbers, on memory tha" in outcomes


@pytest.mark.parametrize(
    ("text", "typename"),
    [
        ("return nn.FireModule(4, 2, 3, 5)", "nn.FireModule"),
        ("return nn.Sequencer(nn.FastLSTM(2, 3))", "nn.Sequencer"),
        ("return nn.BilinearSamplerBHWD()", "nn.BilinearSamplerBHWD"),
        ("local opt = lapp [[ -n (default 3) ]] return nn.Linear(opt.n, 2)", "nn.Linear"),
    ],
)
def test_packages_that_the_calling_script_required(text: str, typename: str, tmp_path: Path) -> None:
    (tmp_path / "model.lua").write_text(text)
    _, made = build({"file": "model.lua"}, Folders([str(tmp_path)], 1 << 20), LuaLimits(lua_bytes=128 << 20))
    assert made["model"].typename == typename


def test_a_class_that_no_package_brings_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "model.lua").write_text("return nn.Unheard(3)")
    with pytest.raises(LuaStopped, match="field 'Unheard'"):
        build({"file": "model.lua"}, Folders([str(tmp_path)], 1 << 20), LuaLimits(lua_bytes=128 << 20))
