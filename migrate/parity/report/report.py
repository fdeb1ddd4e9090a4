"""ParityReport: what was compared with what, how far it differs, and the verdict."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...base.folder_files import PARITY, REPORT
from ...base.tensor_trees import shapes
from ..judge.compare import Difference, Tolerance
from .verdict import FAILED, NOT_RUN, PASSED, TORCH7, Verdict, judge, name_of
from ..reference import Reference
from ..runs.layers import LayerResult, first_diverging
from . import html, markdown

if TYPE_CHECKING:
    from ..runs.batches import BatchResult
    from ..runs.gradients import GradientResult

__all__ = ["FAILED", "NOT_RUN", "PARITY", "PASSED", "REPORT", "BackendResult", "ModelLayer", "ParityReport", "finite"]


#: Version of the layout of parity.json.
PARITY_VERSION = 1


@dataclass(frozen=True)
class ModelLayer:
    """One layer of the model, compared or not.

    Attributes:
        paths: every Torch7 path at which it is found; "" is the model itself.
        typename: its Torch7 class.
        module: class of the PyTorch module.
        parameters: how many distinct numbers its parameters and those of the layers in it have.
    """

    paths: tuple[str, ...]
    typename: str
    module: str
    parameters: int

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "paths": list(self.paths),
            "class": self.typename,
            "module": self.module,
            "parameters": self.parameters,
        }


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
            "layers": [layer.to_json() for layer in self.layers],
            "batches": [batch.to_json() for batch in self.batches],
            "gradients": [gradient.to_json() for gradient in self.gradients],
        }


@dataclass
class ParityReport:
    """The outcome of `verify`; true when everything that ran agrees, and something ran.

    Attributes:
        reference: what was compared with.
        backends: one result per backend, those that were not run included.
        source: provenance of the model.
        seed: of random inputs.
        environment: versions and settings.
        model: every layer of the model, in its order.
        options: what `torchmigrate verify` was told, by the names of its options; None and False stand for the default.
    """

    reference: Reference
    backends: list[BackendResult]
    source: dict[str, Any]
    seed: int
    environment: dict[str, Any]
    model: Sequence[ModelLayer] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        statuses = [backend.status for backend in self.backends if backend.decides]
        return PASSED in statuses and FAILED not in statuses

    @property
    def verdict(self) -> Verdict:
        """What it shows, and what it does not show."""
        return judge(self)

    @property
    def command(self) -> str:
        """The command line that compares the same again, in the folder of the files."""
        words = ["torchmigrate", "verify", self.source.get("file") or "model.t7"]
        for name, value in self.options.items():
            for item in value if isinstance(value, (list, tuple)) else [value]:
                words += [] if item in (None, False) else [f"--{name}"] if item is True else [f"--{name}", str(item)]
        return shlex.join(words)

    def summary(self) -> str:
        """The verdict in one line: what was compared with what, and how far it is off."""
        against = "itself in float64" if self.reference.kind == "self" else name_of(self.reference.kind)
        if self.reference.file is not None:
            against += f" ({self.reference.file})"
        ran = [backend for backend in self.backends if backend.status != NOT_RUN]
        parts = []
        for backend in ran:
            text = f"{backend.name} {backend.status}, largest difference {backend.largest:.2g}"
            if backend.status == FAILED:
                diverging = backend.diverging
                text = f"{backend.name} failed: {backend.reason}"
                if diverging is not None:
                    text += f"; the first layer that diverges is {diverging.typename} at {diverging.path or 'the top'}"
                    text += f" ({diverging.remark})" if diverging.remark else ""
            parts.append(text)
        end = "" if self.reference.kind in TORCH7 else " This shows rounding, not that the mapping is right."
        verdict = "; ".join(parts) or "nothing ran"
        return f"against {against}: {verdict}.{end}"

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """One row per backend: name, status, largest difference, tolerance, reason."""
        return [
            (
                backend.name,
                backend.status,
                f"{backend.largest:.3g}" if backend.comparable else "",
                "" if backend.tolerance is None else str(backend.tolerance),
                backend.reason,
            )
            for backend in self.backends
        ]

    def to_json(self) -> dict[str, Any]:
        """What parity.json holds."""
        reference = self.reference
        return {
            "format": "torchmigrate-parity",
            "format_version": PARITY_VERSION,
            "passed": bool(self),
            "summary": self.summary(),
            "verdict": {**asdict(self.verdict), "limits": list(self.verdict.limits)},
            "source": self.source,
            "reference": {
                "kind": reference.kind,
                "proves": reference.proves,
                "file": reference.file,
                "sha256": reference.sha256,
                "input": shapes(reference.input),
                "notes": list(reference.notes),
            },
            "rule": "|a-b| <= atol + rtol*|b|, b being the reference",
            "seed": self.seed,
            "environment": self.environment,
            "command": self.command,
            "model": [layer.to_json() for layer in self.model],
            "backends": [backend.to_json() for backend in self.backends],
        }

    def html(self) -> str:
        """The report as one HTML file, which needs nothing else."""
        return html.render(finite(self.to_json()))

    def markdown(self) -> str:
        """The verdict, the backends and the worst layers, for a pull request."""
        return markdown.render(finite(self.to_json()))

    def write(self, folder: str | Path) -> Path:
        """Writes parity.json and report.html into an existing folder.

        Returns:
            The path of parity.json.
        """
        made = finite(self.to_json())
        path = Path(folder) / PARITY
        path.write_text(json.dumps(made, indent=1, ensure_ascii=True, allow_nan=False) + "\n", encoding="ascii")
        (Path(folder) / REPORT).write_text(html.render(made), encoding="utf-8", newline="\n")
        return path


def finite(value: Any) -> Any:
    """The same JSON value with NaN and infinities as text, since JSON has none."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
