"""Makes parity reports for tests: real ones of small models, and ones by hand with everything that can go wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lua
import torch

import torchmigrate as tm
from torchmigrate.parity.judge.compare import Difference, Tolerance, compare
from torchmigrate.parity.reference_numbers import Reference
from torchmigrate.parity.report.comparison import BackendResult, ModelLayer
from torchmigrate.parity.report.report import ParityReport
from torchmigrate.parity.runs.layers import LayerResult

RULE = Tolerance(2e-5, 0.0, True, "float32 rounds to 6e-8")

#: A name that tries to be markup in HTML and Markdown, to leave its cell, to mention people and to hide.
HOSTILE = (
    "x<script>alert(1)</script><img src=//evil onerror=alert(2)>|`@all` **b** [l](//evil) \u202e\x1b[31m&amp;\"'\\"
)


def verified(depth: int = 4, **options: Any) -> ParityReport:
    """The report of a chain of linear layers and Tanh, compared with itself."""
    modules = [lua.linear(6, 6, seed=i, dtype="f4") if i % 2 else lua.module("nn.Tanh") for i in range(1, depth)]
    return tm.verify(tm.convert(lua.sequential(*modules)), input_shape="3x6", **options)


def judged_by_record(file: Path) -> ParityReport:
    """The report of a model against the activations that its file holds."""
    return tm.verify(tm.convert(file), reference="recorded", batches=())


def dumped(folder: Path, *, broken: bool = False) -> ParityReport:
    """The report of a model in a file against a reference file with two outputs."""
    model = lua.module("nn.ConcatTable", modules=[lua.linear(7, 9), lua.linear(7, 3, seed=4)])
    conversion = tm.convert(model)
    given = lua.numbers(2, 7)
    outputs = [output.detach().numpy() for output in conversion.module(torch.from_numpy(given))]
    layers = [{"path": "", "class": "nn.ConcatTable", "call": 1, "output": outputs}]
    layers += [
        {"path": str(i), "class": "nn.Linear", "call": 1, "output": output} for i, output in enumerate(outputs, 1)
    ]
    file, reference = folder / "two.t7", folder / "two.reference.t7"
    tm.dump(model, file)
    tm.dump(lua.value({"input": given, "output": outputs, "layers": layers}), reference)
    conversion = tm.convert(file)
    if broken:
        with torch.no_grad():
            conversion.module.get_submodule("1").bias[2] += 1e-3  # type: ignore[index, operator, unused-ignore]
    return tm.verify(conversion, reference=reference, devices=["cpu"])


def difference(error: float = 1e-7, shape: tuple[int, ...] = (2, 6), **options: Any) -> Difference:
    """Of numbers that are off by up to `error`."""
    expected = torch.linspace(-1, 1, torch.Size(shape).numel(), dtype=torch.float64).reshape(shape)
    return compare(expected + error * expected, expected, RULE, **options)[0]


def layer(
    number: int, *, own: float | None = 1e-7, accumulated: float = 1e-6, typename: str = "nn.Linear"
) -> LayerResult:
    """The result of one layer of a chain."""
    return LayerResult(
        str(number),
        typename,
        "Linear",
        1,
        [(2, 6)],
        None if own is None else difference(own),
        difference(accumulated),
    )


def by_hand(layers: int = 10, name: str = "nn.Linear", kind: str = "dump", **changes: Any) -> ParityReport:
    """A report that passed, with `name` wherever a file or a plugin can put a text."""
    value = torch.zeros(2, 6)
    results = [layer(i, typename=name) for i in range(1, layers + 1)]
    backends = [
        BackendResult("pytorch-cpu", "passed", "", RULE, [difference(details=True)], results),
        BackendResult("onnxruntime-cpu", "passed", "", RULE, [difference(3e-6, details=True)]),
        BackendResult("pytorch-cuda", "not run", "no CUDA device was found"),
    ]
    model = [ModelLayer(("",), "nn.Sequential", "Sequential", 42 * layers)]
    model += [ModelLayer((str(i),), name, "Linear", 42, 42) for i in range(1, layers + 1)]
    source = {
        "file": f"{name}.t7",
        "sha256": "0" * 64,
        "format": "binary",
        "long_size": 8,
        "functions": 2,
        "key": "",
        "layers": layers + 1,
    }
    made = ParityReport(
        Reference(
            kind, "the converted model computes what Torch7 computed", value, value, torch.float32, notes=(name,)
        ),
        backends,
        source,
        0,
        {"versions": {"torchmigrate": "0.1.0"}, "cuda": None, "gpu": None, "tf32": "off"},
        model,
        {"device": ["cpu", "cuda"]},
    )
    for field, content in changes.items():
        setattr(made, field, content)
    return made


def hostile() -> ParityReport:
    """A report in which every text is hostile."""
    made = by_hand(3, HOSTILE)
    made.source["key"] = HOSTILE
    made.environment["gpu"] = HOSTILE
    made.reference = Reference("dump", HOSTILE, torch.zeros(1), torch.zeros(1), torch.float32, HOSTILE, "1" * 64)
    problem = Difference(HOSTILE, False, HOSTILE, (2, 3), worst=(0, 1))
    results = [LayerResult(f"1.{HOSTILE}", HOSTILE, HOSTILE, 1, [(2, 3)], problem, problem)]
    made.backends.append(BackendResult(HOSTILE, "failed", HOSTILE, RULE, [problem], results))
    made.model = [ModelLayer(("", HOSTILE), HOSTILE, HOSTILE, 1), ModelLayer((f"1.{HOSTILE}",), HOSTILE, HOSTILE, 1)]
    return made


#: Reports of every kind.
ALL = {
    "passed": by_hand,
    "hostile": hostile,
    "itself": lambda: by_hand(kind="self"),
    "nothing ran": lambda: by_hand(backends=[BackendResult("pytorch-cuda", "not run", "no device")]),
    "empty": lambda: by_hand(backends=[], model=[]),
    "no layers": lambda: by_hand(backends=[BackendResult("a", "passed", "", RULE, [])]),
    "one layer": lambda: by_hand(1),
}
