"""The README.md of a converted folder: a model card that says what it is, how to use it, and what was proven."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..base.errors import UsageError
from ..base.folder_files import (
    CARD,
    CONFIG,
    ONNX,
    OPTIMIZER,
    OPTIMIZER_TENSORS,
    PACKAGE,
    PARITY,
    PREPROCESS,
    REPORT,
    SOURCE,
    WEIGHTS,
    read_config,
)
from ..base.messages import repeated
from ..model.conversion import ConvertedModel
from ..onnx.result import FIRST, OnnxExport
from ..parity.report.markdown import code, sentence
from ..parity.report.report import ParityReport

_TAGS = ("torch7", "lua-torch", "torchmigrate", "safetensors")

_FILES = {
    WEIGHTS: "the weights",
    SOURCE: "the model as plain PyTorch source; it does not need torchmigrate",
    PACKAGE: "makes the folder a package, which has the class of the model",
    PREPROCESS: "pictures as it takes them, and the names of its classes, as code",
    CONFIG: "where it comes from, and how `torchmigrate.load_converted` makes the module again",
    ONNX: "the same for ONNX Runtime and others",
    PARITY: "what was compared, with all numbers",
    REPORT: "the same to look at",
    OPTIMIZER_TENSORS: "the state of the optimizer beside the model",
    OPTIMIZER: "its settings; `torchmigrate.load_optimizer` reads both",
}


def check_license(name: str | None) -> None:
    """Stops where a license is no name as the Hub has them.

    Raises:
        UsageError: it is none.
    """
    if name is not None and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", name) is None:
        raise UsageError(f"--license takes a name as the Hub has them, such as mit or cc-by-nc-4.0, and not {name!r}.")


def write_card(
    folder: Path,
    conv: ConvertedModel,
    onnx: OnnxExport | None,
    report: ParityReport | None,
    notes: Sequence[str],
    license_name: str | None = None,
) -> None:
    """Writes README.md, with YAML front matter, into a folder that holds all else."""
    config = read_config(folder)
    source = conv.provenance.file or "a Torch7 model"
    title = "".join(c if c.isalnum() or c in "_-. " else " " for c in source.removesuffix(".t7")).strip()
    where = f" at {code(conv.key)}" if conv.key else ""
    files = [path.name for path in sorted(folder.iterdir()) if path.name in _FILES]
    lines = [
        "---",
        "library_name: pytorch",
        *([f"license: {license_name}"] if license_name is not None else []),
        *([f"pipeline_tag: {config['pipeline_tag']}"] if "pipeline_tag" in config else []),
        *([f"architectures: [{name}]" for name in config.get("architectures", [])]),
        f"tags: [{', '.join(_TAGS if onnx is None else (*_TAGS, 'onnx'))}]",
        "---",
        "",
        f"# {title or 'Model'}",
        "",
        f"Converted from {code(source)}{where} (Lua Torch7) by torchmigrate.",
        f"It has {len(conv.layers)} layers and {conv.parameter_count:,} parameters.",
        "",
        "## Use",
        "",
    ]
    if SOURCE in files:
        lines += ["```python", "from model import Model", "", 'model = Model.from_pretrained(".")', "```", ""]
    lines += ["```python", "import torchmigrate", "", 'module = torchmigrate.load_converted(".")', "```", ""]
    if PREPROCESS in files and conv.preprocessing.mean is not None:
        lines += ["```python", *_PICTURE, "```", ""]
    if onnx is not None and onnx.states:
        lines += ["## States", "", *_states(onnx), ""]
    lines += ["## Data", "", *(f"- {code(line)}" for line in conv.preprocessing.lines()), ""]
    limits = [sentence(limit) for limit in (() if report is None else report.verdict.limits)]
    limits += [code(remark) for remark in (*repeated(conv.notes), *notes)]
    if limits:
        lines += ["## Limits", "", *(f"- {limit}" for limit in limits), ""]
    lines += ["## Parity", "", *_verdict(report), ""]
    lines += ["## Files", "", "| file | what |", "|---|---|"]
    lines += [*(f"| `{name}` | {_FILES[name]} |" for name in files), ""]
    (folder / CARD).write_text("\n".join(lines), encoding="utf-8")


#: How a picture goes through the model.
_PICTURE = (
    "from PIL import Image",
    "from preprocess import preprocess",
    "",
    'output = model(preprocess(Image.open("picture.jpg")))',
)


def _states(onnx: OnnxExport) -> list[str]:
    """How runs of an ONNX file go on from each other."""
    begin, later = "zeros as states", ""
    if FIRST in onnx.inputs:
        begin, later = f"`{FIRST}` 1, for which no state is read", f"`{FIRST}` 0 and "
    said = f"Give it {begin}, in the first run, and in each later run {later}what the run before gave:"
    return [
        f"`{ONNX}` keeps nothing between two runs. {said}",
        "",
        "| input | output of the run before | Torch7 path |",
        "|---|---|---|",
        *(f"| `{one['input']}` | `{one['output']}` | {code(one['layer'])} |" for one in onnx.states),
    ]


def _verdict(report: ParityReport | None) -> list[str]:
    """The verdict in one line, with a link to all numbers."""
    if report is None:
        return ["It was not compared with Torch7."]
    verdict = report.verdict
    return [f"**{sentence(verdict.title)}**: {sentence(verdict.meaning)} All numbers: [{REPORT}]({REPORT})."]
