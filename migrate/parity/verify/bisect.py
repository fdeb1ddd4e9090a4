"""Writes the smallest part of a model that fails, with its input and a script that shows the failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...base.output_folder import REPRODUCTION, output_folder
from ...base.tensor_trees import leaves, moved, position
from ...model.conversion import ConvertedModel
from ...t7 import LuaObject, LuaTable
from ...t7.writing.dump import dump
from ..judge.compare import Difference
from ..judge.status import FAILED
from ..network_copies import copy_network
from ..reference_numbers import Reference, TensorSummary
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
    found = None if failing is None else _layer(conv, failing, report.reference)
    found = found or _whole(conv, report)
    if found is None:
        return None
    record = conv.layers[found.chain[0]]
    modules = LuaTable.from_list(conv.layers[i].object for i in found.chain)
    part = record.object if len(found.chain) == 1 else LuaObject("nn.Sequential", LuaTable([("modules", modules)]))
    with output_folder(folder, REPRODUCTION, force=force, inputs=[conv.file, *plugins]) as made:
        dump(part, made / MODULE)
        case = {"input": to_lua(found.given), "output": _output(found.expected)}
        dump(LuaTable(case.items()), made / CASE)
        names = []
        for plugin in plugins:
            (made / plugin.name).write_bytes(plugin.read_bytes())
            names.append(plugin.name)
        training = found.chain[0] in report.reference.training
        (made / SCRIPT).write_text(_script(conv, found, report, names, training=training), encoding="utf-8")
    return Reproduction(folder, record.path, record.typename, found.exact)


@dataclass(frozen=True)
class _Case:
    """What shows a fault.

    Attributes:
        given: the input.
        expected: the output that is expected of it.
        exact: is the input the reference's own?
        chain: the layers that lead from the one to the other: more than one where Torch7 wrote over the output of the
            first, which is not known then.
        difference: how far the output is off.
    """

    given: Any
    expected: Any
    exact: bool
    chain: list[int]
    difference: Difference


def _layer(conv: ConvertedModel, failing: LayerResult, reference: Reference) -> _Case | None:
    """A layer that fails by itself; None where its output is not known."""
    index = next(i for i, record in enumerate(conv.layers) if record.path == failing.path)
    found = _fed(conv, reference, (index, failing.call))
    return None if found is None or failing.own is None else _Case(*found, failing.own)


def _whole(conv: ConvertedModel, report: ParityReport) -> _Case | None:
    """The whole model, where no layer of it can be shown to fail; None where that passes too."""
    top = next((i for i, record in enumerate(conv.layers) if record.path == ""), None)
    wrong = next(
        (
            difference
            for backend in report.backends
            if backend.status == FAILED and backend.decides and backend.name.startswith("pytorch")
            for difference in backend.outputs
            if not difference.passed
        ),
        None,
    )
    if top is None or wrong is None:
        return None
    return _Case(report.reference.input, report.reference.output, True, [top], wrong)


def _output(expected: Any) -> Any:
    """What is expected, as Torch7's: of a tensor that was too large to be stored, what the reference keeps of it."""
    if not isinstance(expected, TensorSummary):
        return to_lua(expected)
    kept = {"size": [*expected.size], "mean": expected.mean, "std": expected.std, "head": expected.head}
    return LuaTable((name, to_lua(value)) for name, value in kept.items())


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
            kept = isinstance(expected, TensorSummary) or not summarized(expected)
            found = (given, moved(expected), exact, chain) if expected is not None and kept else None
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


def _script(conv: ConvertedModel, case: _Case, report: ParityReport, plugins: Sequence[str], *, training: bool) -> str:
    own = case.difference
    layer = conv.layers[case.chain[0]]
    note = "".join(f" and {conv.layers[i].typename}, which wrote over its output" for i in case.chain[1:])
    places = [position(place) for place, _ in leaves(case.expected)]
    number = places.index(own.place) if own.place in places else None
    averages = isinstance(case.expected, TensorSummary) and own.shape == (2,)
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
TENSOR = {number!r}  # which of several tensors these tolerances are for; None: all
SLICE = {own.slice!r}  # axis and index of the slice that they are for; (): all of it
AVERAGES = {averages!r}  # of a summary, the mean and the deviation only


def summary(value):
    """The first numbers, the mean and the deviation, as the reference keeps them of a large tensor."""
    flat = value.double().reshape(-1)
    deviation = flat.std() if flat.numel() > 1 else flat.new_zeros(())
    return torch.cat([flat[: case["output"]["head"].numel()], flat.mean()[None], deviation[None]])


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
if isinstance(case["output"], dict):
    kept = case["output"]
    averages = torch.tensor([kept["mean"], kept["std"]], dtype=torch.float64)
    expected = [torch.cat([kept["head"].double().reshape(-1), averages])]
    got = [summary(value)[-2:] if AVERAGES else summary(value) for value in got]
    expected = [value[-2:] if AVERAGES else value for value in expected]
else:
    expected = list(tensors(case["output"]))
print(conversion.module)
failed = len(got) != len(expected)
for number, (a, b) in enumerate(zip(got, expected), 1):
    if a.shape != b.shape:
        print(f"tensor {{number}}: its shape is {{tuple(a.shape)}}, expected {{tuple(b.shape)}}")
        failed = True
        continue
    if TENSOR not in (None, number - 1):
        continue
    a, b = a.double(), b.double()
    if SLICE:
        a, b = a.select(*SLICE), b.select(*SLICE)
    off = (a - b).abs() - ATOL - RTOL * b.abs()
    worst = int(torch.nan_to_num(off, nan=float("inf")).argmax())
    print(f"tensor {{number}}: {{int((~(off <= 0)).sum())}} of {{off.numel()}} numbers are off; at worst "
          f"{{float(a.reshape(-1)[worst])!r}} where {{float(b.reshape(-1)[worst])!r}} is expected")
    failed = failed or not bool((off <= 0).all())
print("FAILED" if failed else "PASSED")
sys.exit(1 if failed else 0)
'''
