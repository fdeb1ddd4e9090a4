"""ParityReport: what was compared with what, how far it differs, and the verdict."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..nested import shapes
from .compare import Difference, Tolerance
from .layers import LayerResult, first_diverging
from .references import Reference

PARITY = "parity.json"

#: Version of the layout of parity.json.
PARITY_VERSION = 1

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"


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
    """

    name: str
    status: str
    reason: str = ""
    tolerance: Tolerance | None = None
    outputs: list[Difference] = field(default_factory=list)
    layers: list[LayerResult] = field(default_factory=list)

    @property
    def diverging(self) -> LayerResult | None:
        """The first layer that diverges."""
        return first_diverging(self.layers)

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
            "reason": self.reason,
            "tolerance": None if tolerance is None else {"rule": str(tolerance), "reason": tolerance.reason},
            "outputs": [difference.to_json() for difference in self.outputs],
            "first_diverging": None if diverging is None else {"path": diverging.path, "class": diverging.typename},
            "layers": [layer.to_json() for layer in self.layers],
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
    """

    reference: Reference
    backends: list[BackendResult]
    source: dict[str, Any]
    seed: int
    environment: dict[str, Any]

    def __bool__(self) -> bool:
        statuses = [backend.status for backend in self.backends]
        return PASSED in statuses and FAILED not in statuses

    def summary(self) -> str:
        """The verdict in one line: what was compared with what, and how far it is off."""
        against = {"dump": f"Torch7's own numbers ({self.reference.file})", "self": "itself in float64"}
        ran = [backend for backend in self.backends if backend.status != NOT_RUN]
        parts = []
        for backend in ran:
            text = f"{backend.name} {backend.status}, largest difference {backend.largest:.2g}"
            if backend.status == FAILED:
                diverging = backend.diverging
                text = f"{backend.name} failed: {backend.reason}"
                if diverging is not None:
                    text += f"; the first layer that diverges is {diverging.typename} at {diverging.path or 'the top'}"
            parts.append(text)
        end = "" if self.reference.kind != "self" else " This shows rounding, not that the mapping is right."
        verdict = "; ".join(parts) or "nothing ran"
        return f"against {against.get(self.reference.kind, self.reference.kind)}: {verdict}.{end}"

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """One row per backend: name, status, largest difference, tolerance, reason."""
        return [
            (
                backend.name,
                backend.status,
                f"{backend.largest:.3g}" if backend.outputs else "",
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
            "backends": [backend.to_json() for backend in self.backends],
        }

    def write(self, folder: str | Path) -> Path:
        """Writes parity.json into an existing folder."""
        path = Path(folder) / PARITY
        path.write_text(json.dumps(finite(self.to_json()), indent=1, ensure_ascii=True, allow_nan=False) + "\n")
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
