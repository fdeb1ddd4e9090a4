"""ParityReport: a comparison with its verdict, as text, JSON, HTML and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from ...base.folder_files import PARITY, REPORT
from ...base.messages import visible
from ...base.output_file import check_file, whole_file
from ...base.tensor_trees import shapes
from ..judge.status import FAILED, NOT_RUN, TORCH7, name_of
from . import html, markdown
from .comparison import Comparison
from .verdict import Verdict, judge

#: Version of the layout of parity.json.
PARITY_VERSION = 1


class ParityReport(Comparison):
    """The outcome of `verify`; true when nothing failed, and something ran. `proven` says more."""

    @property
    def verdict(self) -> Verdict:
        """What it shows, and what it does not show."""
        return judge(self)

    @property
    def proven(self) -> bool:
        """Do Torch7's own numbers agree, with every layer that has weights judged by them: is the verdict PASSED?"""
        return self.verdict.level == "passed"

    def summary(self) -> str:
        """The verdict in one line: what was compared with what, and how far it is off."""
        return f"{self.verdict.title} {self.details()}"

    def details(self) -> str:
        """What was compared with what, and how far it is off, without the verdict's title."""
        against = "itself in float64" if self.reference.kind == "self" else name_of(self.reference.kind)
        if self.reference.file is not None:
            against += f" ({self.reference.file})"
        ran = [backend for backend in self.backends if backend.status != NOT_RUN]
        parts = []
        for backend in ran:
            text = f"{backend.name} {backend.status}, largest difference {backend.largest_in_words}"
            if not backend.outputs:
                text = f"{backend.name} {backend.status} by what its layers do, no output being comparable"
            if backend.status == FAILED:
                diverging = backend.diverging
                text = f"{backend.name} failed: {backend.reason}"
                if diverging is not None:
                    text += f"; the first layer that diverges is {diverging.typename} at {diverging.path or 'the top'}"
                    text += f" ({diverging.remark})" if diverging.remark else ""
            parts.append(text)
        end = "" if self.reference.kind in TORCH7 else " This shows rounding, not that the mapping is right."
        if self.reference.kind == "lua":
            end = " This shows how the layers are put together, not what Torch7's kernels compute."
        verdict = "; ".join(parts) or "nothing ran"
        if self.not_finite:
            verdict = f"the file's own weights hold NaN or Inf ({self.not_finite}); {verdict}"
        return f"against {against}: {verdict}.{end}"

    def __repr__(self) -> str:
        return f"<ParityReport: {self.summary()}>"

    def _repr_html_(self) -> str:
        parts = [f"<b>{escape(self.verdict.title)}</b> {escape(visible(self.details()))}", escape(self.verdict.meaning)]
        return "".join(f"<p>{part}</p>" for part in parts)

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """One row per backend: name, status, largest difference, tolerance, reason."""
        return [
            (
                backend.name,
                backend.status,
                backend.largest_in_words if backend.comparable else "",
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
            "proven": self.proven,
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
                "chosen": reference.chosen,
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

    def write(self, folder: str | Path, *, force: bool = False) -> Path:
        """Writes parity.json and report.html into a folder, which is made if there is none.

        Args:
            folder: where to write.
            force: replace existing files.

        Returns:
            The path of parity.json.

        Raises:
            UsageError: a file exists and `force` is not set, or it can't be written.
        """
        made = finite(self.to_json())
        path = Path(folder) / PARITY
        page = Path(folder) / REPORT
        check_file(page, force=force)
        with whole_file(path, force=force) as part:
            part.write_text(compact(made), encoding="ascii")
        with whole_file(page, force=force) as part:
            part.write_text(html.render(made), encoding="utf-8", newline="\n")
        return path


def compact(report: Mapping[str, Any]) -> str:
    """A report as JSON without spaces: a line for each property, and one for each entry of its lists."""
    lines = []
    for name, value in report.items():
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        if isinstance(value, list) and value:
            entries = (json.dumps(entry, separators=(",", ":"), ensure_ascii=True, allow_nan=False) for entry in value)
            text = "[\n" + ",\n".join(entries) + "\n]"
        lines.append(f"{json.dumps(name)}:{text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def finite(value: Any) -> Any:
    """The same JSON value with NaN and infinities as text, since JSON has none."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
