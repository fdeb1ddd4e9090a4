"""What became of one file of a zoo, and the record of it by which a second run goes on."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..base.folder_files import COLLECTION
from ..base.json_values import JsonValues
from ..base.messages import cut, file_text
from ..folder.run import ConvertOptions
from ..model.convert import sha256

CONVERTED = "converted"
PARITY_FAILED = "parity failed"
NOT_PROVEN = "not proven"
DIED = "died"

_LONGEST_MESSAGE, _LONGEST_NAME = 4000, 500


@dataclass
class Outcome(JsonValues):
    """What became of one file.

    Attributes:
        source: path or URL.
        name: of its folder.
        status: "converted", "parity failed", "not proven" (with --require-proof), "unsupported", "unreadable",
            "no model", "needs an option", "export failed", "fault" or "died".
        exit_code: what `torchmigrate convert` would have exited with for this file alone.
        message: what went wrong, or what was compared.
        verdict: its title, such as PASSED or NOT COMPARED; "" where nothing was converted or compared.
        sha256: of the file, once it was read.
        size: of the file in bytes.
        seconds: how long it took.
        key: where the model was found in the file.
        parameters: distinct numbers of the model.
        reference: what the numbers were compared with: "dump", "recorded", "live", "self"; None: nothing was compared.
        not_run: what was left out, and why.
        missing: class -> number of layers, of the classes that have no converter.
        refused: (path, class, reason) of each layer that could not be converted.
        resumed: was it done by an earlier run?
        options: fingerprint of the options and of the version of torchmigrate.
    """

    source: str
    name: str
    status: str
    exit_code: int
    message: str = ""
    sha256: str | None = None
    size: int | None = None
    seconds: float = 0.0
    key: str = ""
    parameters: int | None = None
    reference: str | None = None
    not_run: dict[str, str] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    resumed: bool = False
    options: str = field(default="", repr=False)
    verdict: str = ""

    @property
    def has_folder(self) -> bool:
        """Was a folder written?"""
        return self.status in (CONVERTED, PARITY_FAILED, NOT_PROVEN)


def shorten(outcome: Outcome) -> None:
    """Cuts what a file or a plugin may make as long as it likes."""
    outcome.message = file_text(cut(outcome.message, _LONGEST_MESSAGE))
    outcome.key = cut(outcome.key, _LONGEST_NAME)
    outcome.not_run = {name: cut(reason, _LONGEST_MESSAGE) for name, reason in outcome.not_run.items()}
    counts: Counter[str] = Counter()
    for name, count in outcome.missing.items():
        counts[cut(name, _LONGEST_NAME)] += count
    outcome.missing = dict(counts)
    outcome.refused = [
        (cut(path, _LONGEST_NAME), cut(name, _LONGEST_NAME), cut(reason, _LONGEST_NAME))
        for path, name, reason in outcome.refused
    ]


def record_path(folder: Path, name: str) -> Path:
    """Where the record of a file is."""
    return folder / COLLECTION / f"{name}.json"


def read_record(folder: Path, name: str) -> Outcome | None:
    """What an earlier run wrote about a file; None if there is nothing that can be read."""
    try:
        found = json.loads(record_path(folder, name).read_text("utf-8"))
        return Outcome(**{**found, "refused": [tuple(entry) for entry in found["refused"]]})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_record(folder: Path, outcome: Outcome, staging: Path) -> None:
    """Writes the record of a file, whole or not at all."""
    part = staging / "record.json"
    told = {**asdict(outcome), "source": file_text(outcome.source)}
    part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    part.replace(record_path(folder, outcome.name))


#: Options that do not change what a folder holds.
_SAME_FOLDER = ("force", "reference", "limits", "max_download")


def fingerprint(options: ConvertOptions, reference: Path | None) -> str:
    """Changes with everything that changes the folder of a file: options, plugins, the version of torchmigrate.

    Args:
        options: of the conversion.
        reference: what Torch7 answered, beside the file.
    """
    told: Mapping[str, Any] = {
        **{name: str(value) for name, value in sorted(vars(options).items()) if name not in _SAME_FOLDER},
        "plugins": [sha256(path) if path.is_file() else None for path in map(Path, options.plugins)],
        "lua": [sha256(path) if path.is_file() else None for path in map(Path, options.lua)],
        "reference": None if reference is None else sha256(reference),
        "version": version("torchmigrate"),
    }
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
