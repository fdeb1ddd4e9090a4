"""What a comparison found: how each backend compares with the reference."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from typing import Any

from ...base.json_values import JsonValues
from ..judge.compare import Difference, Tolerance
from ..judge.status import FAILED, PASSED
from ..reference_numbers import Reference
from ..runs.batches import BatchResult
from ..runs.gradients import GradientResult
from ..runs.layers import LayerResult, first_diverging
from .worst_runs import rows_of_runs


@dataclass(frozen=True)
class ModelLayer(JsonValues):
    """One layer of the model, compared or not.

    Attributes:
        paths: every Torch7 path at which it is found; "" is the model itself.
        typename: its Torch7 class.
        module: class of the PyTorch module.
        parameters: how many distinct numbers its parameters and those of the layers in it have.
        own_parameters: the same without the layers in it.
    """

    paths: tuple[str, ...]
    typename: str
    module: str
    parameters: int
    own_parameters: int = 0


@dataclass
class BackendResult:
    """How one backend compares with the reference.

    Attributes:
        name: such as "pytorch-cpu".
        status: "passed", "failed" or "not run".
        reason: why it failed or was not run; "" if it passed.
        tolerance: the rule; None if it was not run.
        outputs: one difference per output tensor.
        layers: one result per run of each layer, in the order of execution.
        decides: does it make the verdict? Otherwise it is information.
        batches: one result per other size of the batch.
        gradients: one result per gradient, if they were asked for and the reference has them.
    """

    name: str
    status: str
    reason: str = ""
    tolerance: Tolerance | None = None
    outputs: list[Difference] = field(default_factory=list)
    layers: list[LayerResult] = field(default_factory=list)
    decides: bool = True
    batches: list[BatchResult] = field(default_factory=list)
    gradients: list[GradientResult] = field(default_factory=list)

    @property
    def diverging(self) -> LayerResult | None:
        """The first layer that diverges."""
        return first_diverging(self.layers)

    @property
    def comparable(self) -> bool:
        """Has every output a difference? One of the wrong shape, or with a NaN, has none."""
        return bool(self.outputs) and all(each.passed or each.max_abs > 0 for each in self.outputs)

    @property
    def largest(self) -> float:
        """The largest absolute difference of all outputs."""
        return max((difference.max_abs for difference in self.outputs), default=0.0)

    @property
    def largest_in_words(self) -> str:
        """The same beside the scale of that output."""
        worst = max(self.outputs, key=attrgetter("max_abs"), default=None)
        return "0" if worst is None else worst.error

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        tolerance = self.tolerance
        diverging = self.diverging
        return {
            "backend": self.name,
            "status": self.status,
            "decides": self.decides,
            "reason": self.reason,
            "tolerance": None if tolerance is None else {"rule": str(tolerance), **asdict(tolerance)},
            "outputs": [difference.to_json() for difference in self.outputs],
            "first_diverging": None
            if diverging is None
            else {
                "path": diverging.path,
                "class": diverging.typename,
                "call": diverging.call,
                "by_itself": not diverging.passed,
                "remark": diverging.remark,
            },
            "layers": rows_of_runs(self.layers),
            "batches": [batch.to_json() for batch in self.batches],
            "gradients": [gradient.to_json() for gradient in self.gradients],
        }


@dataclass
class Comparison:
    """The outcome of a comparison; true when nothing failed, and something ran: no proof yet, see `verdict`.

    Attributes:
        reference: what was compared with.
        backends: one result per backend, those that were not run included.
        source: provenance of the model.
        seed: of random inputs.
        environment: versions and settings.
        model: every layer of the model, in its order.
        options: what `torchmigrate verify` was told, by the names of its options; None and False stand for the default.
        not_finite: which weights of the file itself hold NaN or Inf, in words; "" if none does.
    """

    reference: Reference
    backends: list[BackendResult]
    source: dict[str, Any]
    seed: int
    environment: dict[str, Any]
    model: Sequence[ModelLayer] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    not_finite: str = ""

    def __bool__(self) -> bool:
        statuses = [backend.status for backend in self.backends if backend.decides]
        return PASSED in statuses and FAILED not in statuses

    @property
    def command(self) -> str:
        """The command line that compares the same again, in the folder of the files."""
        words = ["torchmigrate", "verify", self.source.get("file") or "model.t7"]
        for name, value in self.options.items():
            for item in value if isinstance(value, (list, tuple)) else [value]:
                words += [] if item in (None, False) else [f"--{name}"] if item is True else [f"--{name}", str(item)]
        return shlex.join(words)
