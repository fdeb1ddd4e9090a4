"""Writes the smallest part of a model that fails, with its input and a script that shows the failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...base.output_folder import REPRODUCTION, output_folder
from ...base.tensor_trees import leaves, moved
from ...model.conversion import ConvertedModel
from ...t7 import LuaObject, LuaTable
from ...t7.writing.dump import dump
from ..judge.status import FAILED
from ..network_copies import copy_network
from ..reference_numbers import Reference
from ..references.live import to_lua
from ..references.self_reference import with_layers
from ..report.report import ParityReport
from ..runs.layers import LayerResult, replacement, summarized
from ..trace import LayerRun, trace

MODULE, CASE, SCRIPT = "module.t7", "case.t7", "reproduce.py"


@dataclass(frozen=True)
class Reproduction:
    """What was written.

    Attributes:
        folder: where.
        path: Torch7 path of the layer.
        typename: its class.
        exact: is the input the reference's own? Else it is what our layers made of it.
    """

    folder: Path
    path: str
    typename: str
    exact: bool


def write_reproduction(
    conv: ConvertedModel, report: ParityReport, folder: Path, *, plugins: Sequence[Path] = (), force: bool = False
) -> Reproduction | None:
    """Writes the first layer that fails by itself: a .t7 file, its input and expected output, a script.

    Args:
        conv: the converted model.
        report: what was found out about it.
        folder: is made; it appears whole or not at all.
        plugins: the user's files with converters.
        force: replace a folder that torchmigrate wrote.

    Returns:
        What was written; None if no layer fails by itself.

    Raises:
        UsageError: the folder is something else, or can't be written.
    """
    failed = [backend for backend in report.backends if backend.status == FAILED]
    failing = next((layer for backend in failed for layer in backend.layers if not layer.passed), None)
    if failing is None:
        return None
    index = next(i for i, record in enumerate(conv.layers) if record.path == failing.path)
    found = _fed(conv, report.reference, (index, failing.call))
    if found is None:
        return None
    given, expected, exact, chain = found
    record = conv.layers[index]
    modules = LuaTable.from_list(conv.layers[i].object for i in chain)
    part = record.object if chain == [index] else LuaObject("nn.Sequential", LuaTable([("modules", modules)]))
    assert failing.own is not None
    with output_folder(folder, REPRODUCTION, force=force, inputs=[conv.file, *plugins]) as made:
        dump(part, made / MODULE)
        case = {"input": to_lua(given), "output": to_lua(expected)}
        dump(LuaTable(case.items()), made / CASE)
        names = []
        for plugin in plugins:
            (made / plugin.name).write_bytes(plugin.read_bytes())
            names.append(plugin.name)
        note = "".join(f" and {conv.layers[i].typename}, which wrote over its output" for i in chain[1:])
        text = _script(conv, failing, report, names, note, training=index in report.reference.training)
        (made / SCRIPT).write_text(text, encoding="utf-8")
    return Reproduction(folder, record.path, record.typename, exact)


def _fed(conv: ConvertedModel, reference: Reference, key: tuple[int, int]) -> tuple[Any, Any, bool, list[int]] | None:
    """What shows the fault of a layer.

    Returns:
        Its input; the expected output; whether all before it was replaced by the reference's; the layers that lead from
        the one to the other: more than one where Torch7 wrote over the output of the first, which is not known then.
    """
    last = next((theirs for theirs, blamed in reference.together.items() if key in blamed), key)
    given: Any = None
    passed: Any = None
    chain: list[int] = []
    exact = True
    ended = False
    found: tuple[Any, Any, bool, list[int]] | None = None

    def see(step: LayerRun) -> Any:
        nonlocal given, passed, exact, ended, found
        if ended:
            return None
        expected = layers.get(step.key)
        if step.key == key:
            given = moved(step.input)
        if given is not None:
            if chain and not _same(step.input, passed):
                ended = True  # they do not follow each other
                return None
            chain.append(step.index)
            passed = moved(step.output)
        if step.key == last:
            ended = True
            found = None if expected is None or summarized(expected) else (given, moved(expected), exact, chain)
            return None
        reply = None if expected is None else replacement(expected, step.output)
        exact = exact and reply is not None
        return reply

    network = copy_network(conv)
    network.train(reference.training)
    value = network.taken(reference.input if reference.probe is None else reference.probe)
    with with_layers(reference) as whole:
        layers = whole.layers
        try:
            trace(network, value, see, copy_inputs=True)
        except Exception:
            if not ended:  # what fails behind the layer does not matter
                raise
    return found


def _same(value: Any, other: Any) -> bool:
    ours, theirs = ([tensor for _, tensor in leaves(nested)] for nested in (value, other))
    return len(ours) == len(theirs) and all(torch.equal(a.cpu(), b.cpu()) for a, b in zip(ours, theirs, strict=True))


def _script(
    conv: ConvertedModel, layer: LayerResult, report: ParityReport, plugins: Sequence[str], note: str, *, training: bool
) -> str:
    own = layer.own
    assert own is not None
    arguments = "".join(f", plugins=[HERE / {name!r}]" for name in plugins)
    if conv.build.aliases:
        arguments += f", aliases={dict(conv.build.aliases)!r}"
    where = layer.path or "the top"
    mode = "conversion.module.train()  # Torch7 ran it in training mode\n" if training else ""
    return f'''"""Shows where a converted layer differs from its reference.

layer: {ascii(layer.typename)[1:-1]} at {ascii(where)[1:-1]} of {ascii(report.source.get("file") or "a value")[1:-1]}
module.t7 is the layer{ascii(note)[1:-1]}, case.t7 its input and the output that is expected of it.
"""

import sys
from pathlib import Path

import torch

import torchmigrate as tm

HERE = Path(__file__).parent
ATOL, RTOL = {own.atol!r}, {own.rtol!r}


def tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from tensors(item)


conversion = tm.convert(HERE / "module.t7"{arguments})
{mode}case = tm.to_torch(tm.load(HERE / "case.t7"))
with torch.no_grad():
    got = list(tensors(conversion.module(case["input"])))
expected = list(tensors(case["output"]))
print(conversion.module)
failed = len(got) != len(expected)
for number, (a, b) in enumerate(zip(got, expected), 1):
    if a.shape != b.shape:
        print(f"tensor {{number}}: its shape is {{tuple(a.shape)}}, expected {{tuple(b.shape)}}")
        failed = True
        continue
    a, b = a.double(), b.double()
    off = (a - b).abs() - ATOL - RTOL * b.abs()
    worst = int(torch.nan_to_num(off, nan=float("inf")).argmax())
    print(f"tensor {{number}}: {{int((~(off <= 0)).sum())}} of {{off.numel()}} numbers are off; at worst "
          f"{{float(a.reshape(-1)[worst])!r}} where {{float(b.reshape(-1)[worst])!r}} is expected")
    failed = failed or not bool((off <= 0).all())
print("FAILED" if failed else "PASSED")
sys.exit(1 if failed else 0)
'''
