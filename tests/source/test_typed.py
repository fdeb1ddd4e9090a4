"""torch.jit.script and torch.fx on conv.module and model.py: where one works, so does the other, to the same bits."""

from __future__ import annotations

import importlib.util
import pickle
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import golden
import lua
import networks
import pytest
import torch
from torch import fx, nn

import torchmigrate as tm
from torchmigrate.base.tensor_trees import apply, leaves
from torchmigrate.folder.write import write
from torchmigrate.model.recurrent_state import forget
from torchmigrate.source.examples import Calls, several_sizes

#: A name for what is compiled or traced; torch says of the first that it is deprecated.
SCRIPT, FX = "script", "fx"
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")

#: What does not work, and why: (of conv.module, of model.py); "" works.
UNPACKED = "sizes are unpacked into a call"
STEPS = "a loop over a sequence of any length"
EXCEPTIONS = {
    ("enet_unpooling", SCRIPT): ("a pooling tells its unpooling where the maxima were", ""),
    ("fcn_fullconv", SCRIPT): ("LinearUpsample unpacks sizes into a call", UNPACKED),
    ("fcn_fullconv", FX): ("", "LinearUpsample asks for the dimensions of its input"),
    ("lm_sequencer_fastlstm", SCRIPT): ("remembers its state from call to call",) * 2,
    ("lm_sequencer_fastlstm", FX): ("", STEPS),
    ("stn_affine6", SCRIPT): (UNPACKED, UNPACKED),
    ("stn_affine6", FX): ("", "BilinearSampler asks for the dimensions of its input"),
    ("stn_classifier", SCRIPT): (UNPACKED, UNPACKED),
    ("stn_classifier", FX): ("", "BilinearSampler asks for the dimensions of its input"),
    ("textcnn", SCRIPT): ("TemporalConv1d runs the forward of nn.Conv1d by super()",) * 2,
    ("crnn_bisequencer", SCRIPT): ("its cells keep their state from step to step, which plain nn.LSTM does not", ""),
    ("crnn_bisequencer", FX): ("", STEPS),
    ("sentiment_gru_cuda", FX): ("", STEPS),
    ("siamese_pairwise", FX): ("", "PairwiseDistance asks for the dimensions of its input"),
}


def made(way: str, module: nn.Module) -> Any:
    return torch.jit.script(module) if way == SCRIPT else fx.symbolic_trace(module)


def outcome(way: str, module: nn.Module, rows: list[tuple[list[Any], Any]]) -> str:
    """Why it does not work; "" if it does."""
    try:
        forget(module)
        run = made(way, module)
        for given, expected in rows:
            forget(run if way == FX else module)
            got = run(*(apply(part, torch.clone) for part in given))
            for (_, ours), (_, theirs) in zip(leaves(got), leaves(expected), strict=True):
                assert ours.dtype == theirs.dtype
                assert torch.equal(ours.nan_to_num(), theirs.nan_to_num())
    except AssertionError:
        raise
    except Exception as error:  # TorchScript and torch.fx raise all kinds
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("row", golden.model_rows(), ids=lambda row: row["name"])
def test_what_works_for_the_source_works_for_the_module(row: dict[str, str], tmp_path: Path) -> None:
    plugins = [golden.FIXTURES / "plugins" / "shave_crop.py"] if row["name"].startswith("style_shave") else []
    key = None if row["key"] == "-" else row["key"]
    conversion = tm.convert(golden.MODELS / row["file"], key=key, plugins=plugins)
    example = tm.to_torch(tm.load(golden.MODELS / f"{row['name']}.reference.t7")["input"])
    write(conversion, tmp_path, example)
    name = f"typed_{row['name']}"
    spec = importlib.util.spec_from_file_location(name, tmp_path / "model.py")
    assert spec is not None
    assert spec.loader is not None
    source = importlib.util.module_from_spec(spec)
    sys.modules[name] = source
    spec.loader.exec_module(source)
    with torch.no_grad():
        examples = several_sizes(conversion, example, Calls())[:3]
        whole = [([found.input], found.output) for found in examples]
        parts = [(one.input if isinstance(one.input, list) else [one.input], one.output) for one in examples]
        for way in (SCRIPT, FX):
            expected = EXCEPTIONS.get((row["name"], way), ("", ""))
            found = (
                outcome(way, conversion.module, whole),
                outcome(way, source.Model.from_pretrained(str(tmp_path)), parts),
            )
            assert tuple(map(bool, found)) == tuple(map(bool, expected)), (way, expected, found)


def linear(*sizes: int) -> tm.LuaObject:
    return networks.linear(*sizes)


def table(name: str, *modules: tm.LuaObject) -> tm.LuaObject:
    return lua.module(name, modules=list(modules))


#: Networks of every kind of container: name -> network, sizes of its input.
NETWORKS: dict[str, tuple[Callable[[], tm.LuaObject], Any]] = {
    "a table of two": (
        lambda: lua.sequential(table("nn.ParallelTable", linear(3, 4), linear(5, 4)), lua.module("nn.CAddTable")),
        [(2, 3), (2, 5)],
    ),
    "a nested table": (
        lambda: lua.sequential(
            table("nn.ParallelTable", linear(3, 4), table("nn.ParallelTable", linear(5, 4), linear(2, 4))),
            lua.module("nn.FlattenTable"),
            lua.module("nn.JoinTable", dimension=2),
        ),
        ((2, 3), ((2, 5), (2, 2))),
    ),
    "tables out": (
        lambda: table("nn.ConcatTable", linear(3, 4), table("nn.ConcatTable", linear(3, 2), linear(3, 5))),
        (2, 3),
    ),
    "a choice": (
        lambda: lua.sequential(
            table("nn.ConcatTable", linear(3, 4), linear(3, 2)), lua.module("nn.SelectTable", index=-1)
        ),
        (2, 3),
    ),
    "joined": (lambda: lua.module("nn.Concat", modules=[linear(3, 4), linear(3, 2)], dimension=2), (2, 3)),
    "steps": (
        lambda: lua.sequential(
            lua.module("nn.SplitTable", dimension=2),
            lua.module("nn.Sequencer", modules=[linear(3, 4)], module=None, _remember="neither"),
            lua.module("nn.JoinTable", dimension=2),
        ),
        (2, 6, 3),
    ),
}


def tensors(sizes: Any) -> Any:
    if isinstance(sizes, tuple) and all(isinstance(size, int) for size in sizes):
        return torch.linspace(-1, 1, torch.Size(sizes).numel()).reshape(sizes)
    return type(sizes)(map(tensors, sizes))


@pytest.mark.parametrize("name", NETWORKS)
def test_containers_say_what_they_take_and_give(name: str) -> None:
    network, sizes = NETWORKS[name]
    conversion = tm.convert(network())
    given = tensors(sizes)
    expected = [tensor for _, tensor in leaves(conversion.module(given))]
    copies = [conversion.module, deepcopy(conversion.module), pickle.loads(pickle.dumps(conversion.module))]
    for way in (SCRIPT, FX):
        for module in copies:
            got = [tensor for _, tensor in leaves(made(way, module)(given))]
            assert len(got) == len(expected)
            assert all(map(torch.equal, got, expected))


def test_a_new_head_is_compiled_too(tmp_path: Path) -> None:
    conversion = tm.convert(lua.sequential(linear(3, 4), lua.module("nn.View", size=[4], numElements=4)))
    conversion.module[1] = nn.Linear(4, 2)
    x = torch.ones(2, 3)
    assert torch.equal(torch.jit.script(conversion.module)(x), conversion.module(x))
    assert torch.equal(torch.jit.script(nn.Sequential(conversion.module, nn.ReLU()))(x), conversion.module(x).relu())


@pytest.mark.parametrize("way", [SCRIPT, FX])
def test_layers_keep_their_mode_of_their_own(way: str) -> None:
    """Dropout and batch norm, compiled in evaluation, train when they are put into training."""
    bn = lua.module(
        "nn.BatchNormalization",
        running_mean=lua.numbers(3),
        running_var=abs(lua.numbers(3, seed=1)) + 1,
        eps=1e-5,
        momentum=0.1,
    )
    conversion = tm.convert(lua.sequential(bn))
    x = torch.arange(12, dtype=torch.float64).reshape(4, 3)
    run = made(way, deepcopy(conversion.module))
    assert torch.equal(run(x), conversion.module(x))
    run.train()
    conversion.train()
    assert torch.equal(run(x), conversion.module(x))
    names = [name for name, _ in conversion.module.named_buffers()]
    assert names
    for name in names:
        assert torch.equal(dict(run.named_buffers())[name], conversion.module.get_buffer(name)), name
