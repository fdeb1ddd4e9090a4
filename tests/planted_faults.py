"""Faults that a converter could have, planted into one layer of a conversion, and what a comparison says of each.

A fault is planted behind the converter of the layer's class, so that every conversion has it and the file stays right:
activations, gradients and optimizer states in it are those of the right weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import golden
import torch
from torch import nn

import torchmigrate as tm
from torchmigrate.base.tensor_trees import leaves, moved
from torchmigrate.model import registry
from torchmigrate.model.layer_record import LayerRecord
from torchmigrate.parity.network_copies import copy_network, leaf_indices
from torchmigrate.parity.runs.layers import LayerResult
from torchmigrate.parity.trace import LayerRun, trace

#: Changes a converted module; False where it has nothing to change.
Fault = Callable[[nn.Module], bool]


def _put(module: nn.Module, name: str, numbers: torch.Tensor) -> bool:
    """Gives a module, and none that shares the parameter, other numbers; False if they are the same."""
    old = getattr(module, name)
    if torch.equal(old, numbers):
        return False
    setattr(module, name, nn.Parameter(numbers.detach().clone(), old.requires_grad))
    return True


def _parameters(module: nn.Module, kind: str) -> list[tuple[nn.Module, str, nn.Parameter]]:
    """The parameters of a module and its parts whose names begin with `kind`."""
    return [
        (part, name, parameter)
        for part in module.modules()
        for name, parameter in part.named_parameters(recurse=False)
        if name.startswith(kind) and parameter.numel()
    ]


def _each(module: nn.Module, kind: str, change: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    changed = [_put(part, name, change(value.detach())) for part, name, value in _parameters(module, kind)[:1]]
    return any(changed)


def bias_plus(module: nn.Module) -> bool:
    return _each(module, "bias", partial(torch.add, other=1e-3))


def bias_minus(module: nn.Module) -> bool:
    return _each(module, "bias", partial(torch.add, other=-1e-3))


def bias_forgotten(module: nn.Module) -> bool:
    return _each(module, "bias", torch.zeros_like)


def weight_larger(module: nn.Module) -> bool:
    return _each(module, "weight", partial(torch.mul, other=1.01))


def rows_reversed(module: nn.Module) -> bool:
    return _each(module, "weight", partial(torch.flip, dims=[0]))


def kernel_transposed(module: nn.Module) -> bool:
    """The last two dimensions, where they are of one size."""

    def swap(weight: torch.Tensor) -> torch.Tensor:
        square = weight.dim() > 3 and weight.shape[-1] == weight.shape[-2]
        return weight.transpose(-1, -2) if square else weight

    return _each(module, "weight", swap)


def gates_swapped(module: nn.Module) -> bool:
    """The second and third block of rows of what computes gates."""

    def swap(weight: torch.Tensor) -> torch.Tensor:
        blocks = list(weight.chunk(3 if weight.shape[0] % 4 else 4))
        blocks[1], blocks[2] = blocks[2], blocks[1]
        return torch.cat(blocks)

    return _each(module, "weight_ih", swap)


def _set(module: nn.Module, name: str, change: Callable[[Any], Any]) -> bool:
    if not hasattr(module, name):
        return False
    old = getattr(module, name)
    new = change(old)
    setattr(module, name, new)
    return bool(new != old)


def eps(module: nn.Module) -> bool:
    def larger(value: Any) -> Any:
        return value * 1000 if isinstance(value, float) else value

    return _set(module, "eps", larger)


def ceil_mode(module: nn.Module) -> bool:
    def other(value: Any) -> Any:
        return not value

    return _set(module, "ceil_mode", other)


#: A field that old files lack -> what a converter that does not know Torch7's default might take.
_DEFAULTS = {"negative_slope": 0.5, "count_include_pad": False, "divisor_override": 7, "beta": 2.0}


def other_default(module: nn.Module) -> bool:
    def default(name: str, value: Any) -> Any:
        return _DEFAULTS[name] if value is not None else value

    return any(_set(module, name, partial(default, name)) for name in _DEFAULTS)


#: Golden models whose activations belong to their weights.
FRESH = ("alexnet_grouped_lrn", "googlenet_aux", "mobile_b32", "siamese_cosine", "stn_affine6", "superres_vgg7")

#: Files of fixtures/trained whose activations are older than their weights by a step of an optimizer, of each kind.
STEPPED = (
    "charlstm-stochastic-train-float",
    "conv-sgd-zeroed_evaluate-float",
    "deep-sgd-zeroed-double",
    "joined-sgd-zeroed_evaluate-double",
    "lookup-adagrad-checkpoint-float",
    "mlp-adam-checkpoint-float",
    "mlp-groups-train-double",
    "mlp-update-train-double",
    "mlp-weightdecay-checkpoint-float",
    "mlp-weightdecay-zeroed_evaluate-double",
    "residual-rmsprop-checkpoint-float",
    "scalar-adam-checkpoint-double",
    "seqlstm-dampened-checkpoint-float",
    "seqlstm-sgd-zeroed_evaluate-float",
)

FAULTS: dict[str, Fault] = {
    "bias + 0.001": bias_plus,
    "bias - 0.001": bias_minus,
    "weight x 1.01": weight_larger,
    "bias forgotten": bias_forgotten,
    "rows reversed": rows_reversed,
    "kernel transposed": kernel_transposed,
    "gates swapped": gates_swapped,
    "eps x 1000": eps,
    "ceil_mode": ceil_mode,
    "default of a field": other_default,
}


@contextmanager
def planted(fault: Fault, typename: str, path: str) -> Iterator[list[bool]]:
    """While it lasts, conversions of the layer at a Torch7 path have a fault; tells of each whether it applied."""
    applied: list[bool] = []
    right, traits = registry.find(typename), registry.traits_of(typename)
    assert right is not None

    def wrong(layer: tm.Layer) -> nn.Module:
        module = right(layer)
        if layer.path == path:
            applied.append(fault(module))
        return module

    tm.converts(typename, traits=traits, override=True)(wrong)
    try:
        yield applied
    finally:
        tm.converts(typename, traits=traits, override=True)(right)


@dataclass(frozen=True)
class Model:
    """A right file with Torch7's numbers.

    Attributes:
        file: the .t7 file.
        key: of the model in it, or None.
        reference: a file of dump_reference.lua; None: what is recorded in the file.
        plugins: that it needs.
    """

    file: Path
    key: str | None = None
    reference: Path | None = None
    plugins: tuple[Path, ...] = ()

    def convert(self) -> tm.Conversion:
        return tm.convert(self.file, key=self.key, plugins=list(self.plugins))

    def verify(self, conversion: tm.Conversion) -> tm.ParityReport:
        return tm.verify(conversion, reference=self.reference or "recorded", batches=())


def golden_model(name: str, *, recorded: bool) -> Model:
    """A model of fixtures/models with its reference, or with what Torch7 left in it."""
    row = next(row for row in golden.model_rows() if row["name"] == name)
    plugins = [golden.FIXTURES / "plugins" / "shave_crop.py"] if name.startswith("style_shave") else []
    key = None if row["key"] == "-" else row["key"]
    reference = None if recorded else golden.MODELS / f"{name}.reference.t7"
    return Model(golden.MODELS / row["file"], key, reference, tuple(plugins))


@dataclass(frozen=True)
class Target:
    """A layer that a reference judges by itself.

    Attributes:
        index: its number.
        record: what it became.
        inputs: what it got in a run of the right conversion.
        tolerance: the absolute one of its output.
    """

    index: int
    record: LayerRecord
    inputs: tuple[Any, ...]
    tolerance: float


def targets(conversion: tm.Conversion, report: tm.ParityReport) -> list[Target]:
    """The layers without layers inside that were judged by themselves, in the order of the model."""
    inner = leaf_indices(conversion.layers)
    judged = {layer.path: layer.own.atol for layer in report.backends[0].layers if layer.own is not None}
    network = copy_network(conversion)
    inputs: dict[int, list[Any]] = {}

    def see(step: LayerRun) -> None:
        inputs.setdefault(step.index, []).append(moved(step.input))

    value = report.reference.input if report.reference.probe is None else report.reference.probe
    trace(network, network.taken(value), see, copy_inputs=True)
    return [
        Target(i, record, tuple(inputs[i]), judged[record.path])
        for i, record in enumerate(conversion.layers)
        if i in inner and i in inputs and record.path in judged
    ]


def changed_by(target: Target, faulty: LayerRecord) -> float:
    """How many tolerances the output of a layer changes by, on the inputs of the right conversion."""
    largest = 0.0
    with torch.no_grad():
        for value in target.inputs:
            try:
                pairs = [list(leaves(record.module.eval()(moved(value)))) for record in (target.record, faulty)]
            except Exception:  # it no longer runs on what it got
                return float("inf")
            for (_, right), (_, wrong) in zip(*pairs, strict=True):
                if right.shape != wrong.shape:
                    return float("inf")
                difference = (right.double() - wrong.double()).abs()
                largest = max(largest, float(difference.max()) if difference.numel() else 0.0)
    return largest / target.tolerance if target.tolerance else float("inf") if largest else 0.0


#: A fault must be found where it changes a judged output by more than so many tolerances.
TOLERANCES = 10


@dataclass(frozen=True)
class Outcome:
    """What was said of a planted fault.

    Attributes:
        fault: its name.
        path: of the layer.
        typename: of the layer.
        change: of the layer's output, in tolerances.
        found: did the comparison fail?
        located: is it the layer that it names?
        proven: was it called a proof of parity?
        said: the verdict in words.
    """

    fault: str
    path: str
    typename: str
    change: float
    found: bool
    located: bool
    proven: bool
    said: str

    @property
    def matters(self) -> bool:
        """Must it be found?"""
        return self.change > TOLERANCES

    @property
    def right(self) -> bool:
        """Is what was said of it right?"""
        return (self.found and self.located) if self.matters else not (self.proven and self.change > 1)


def _name(layer: LayerResult) -> str:
    return f"{layer.typename} at {layer.path or 'the top'}"


def judge(model: Model, fault: str, target: Target, right: tm.ParityReport) -> Outcome | None:
    """What is said of a fault in one layer of a model; None where the fault has nothing to change there.

    Args:
        model: the model.
        fault: its name.
        target: the layer.
        right: what is said without it.
    """
    record = target.record
    with planted(FAULTS[fault], record.typename, record.path) as applied:
        conversion = model.convert()
        if not any(applied):
            return None
        faulty = conversion.layers[target.index]
        change = changed_by(target, faulty)
        report = model.verify(conversion)
    diverging = report.backends[0].diverging
    # a container of one layer, such as a Recursor, became that layer itself
    same = diverging is not None and any(
        layer.module is faulty.module for layer in conversion.layers if layer.path == diverging.path
    )
    # a layer that wrote over the output of the one before it is judged together with that
    together = diverging is not None and diverging.remark.endswith(
        f"written over by {record.typename} at {record.path}"
    )
    # the steps of a sequence are judged as a whole
    whole = diverging is not None and any(
        layer.path == record.path and layer.remark.endswith(f"judged with all steps of {_name(diverging)}")
        for layer in right.backends[0].layers
    )
    return Outcome(
        fault,
        record.path,
        record.typename,
        change,
        not report,
        diverging is not None and (diverging.path in record.paths or same or together or whole),
        bool(getattr(report, "proven", False)),
        f"{report.verdict.title}: {report.summary()}",
    )


def outcomes(model: Model, faults: list[str], *, each: int = 1) -> Iterator[Outcome]:
    """What is said of each fault in the first layers that it changes, `each` of them (of different classes first)."""
    conversion = model.convert()
    report = model.verify(conversion)
    assert report, report.summary()
    possible = targets(conversion, report)
    seen: set[str] = set()
    fresh = [t for t in possible if not (t.record.typename in seen or seen.add(t.record.typename))]  # type: ignore[func-returns-value]
    ordered = [*fresh, *(t for t in possible if t not in fresh)]
    for fault in faults:
        count = 0
        for target in ordered:
            outcome = judge(model, fault, target, report)
            if outcome is not None:
                yield outcome
                count += 1
            if count >= each:
                break
