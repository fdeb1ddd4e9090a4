"""What became of a zoo: rows, counts, which missing classes block which files; as JSON and as one HTML file."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..base.errors import EXIT_INTERRUPTED, EXIT_OK, SEVERITY
from ..base.messages import file_text, visible
from ..base.output_file import whole_file
from .outcomes import Outcome
from .zoo_files import Shard


@dataclass(frozen=True)
class MissingClass:
    """A class that has no converter.

    Attributes:
        typename: the class.
        files: names of the files that have layers of it.
        layers: how many layers of it there are in all.
        alone: names of the files that lack nothing else.
    """

    typename: str
    files: tuple[str, ...]
    layers: int
    alone: tuple[str, ...]


@dataclass(frozen=True)
class ZooSummary:
    """What became of the files of a zoo.

    Attributes:
        outcomes: of the files that were reached, in the order of the list.
        waiting: the files that were not reached.
        shard: the part of the list.
        listed: how many files the whole list has.
        interrupted: was the run ended before all was done?
    """

    outcomes: list[Outcome]
    waiting: list[str]
    shard: Shard
    listed: int
    interrupted: bool

    @property
    def exit_code(self) -> int:
        """130 after an interruption; else that of the worst file."""
        if self.interrupted:
            return EXIT_INTERRUPTED
        codes = {outcome.exit_code for outcome in self.outcomes}
        return next((code for code in SEVERITY if code in codes), EXIT_OK)

    @property
    def counts(self) -> dict[str, int]:
        """Status -> number of files, the usual ones first."""
        return dict(Counter(outcome.status for outcome in self.outcomes).most_common())

    @property
    def verdicts(self) -> dict[str, int]:
        """Title of a verdict, without its numbers -> number of files."""
        titles = (outcome.verdict.partition(" (")[0] for outcome in self.outcomes if outcome.verdict)
        return dict(Counter(titles).most_common())

    @property
    def resumed(self) -> int:
        """How many files an earlier run had done."""
        return sum(outcome.resumed for outcome in self.outcomes)

    @cached_property
    def missing(self) -> list[MissingClass]:
        """The classes that have no converter, the one that blocks most files first."""
        files: dict[str, list[str]] = {}
        alone: dict[str, list[str]] = {}
        layers: Counter[str] = Counter()
        for outcome in self.outcomes:
            for typename, count in outcome.missing.items():
                files.setdefault(typename, []).append(outcome.name)
                layers[typename] += count
                if {refused for _, refused, _ in outcome.refused} == {typename}:
                    alone.setdefault(typename, []).append(outcome.name)
        found = [
            MissingClass(name, tuple(held), layers[name], tuple(alone.get(name, ()))) for name, held in files.items()
        ]
        return sorted(found, key=_blocks_most)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "torchmigrate": version("torchmigrate"),
            "shard": f"{self.shard.index}/{self.shard.count}",
            "listed": self.listed,
            "interrupted": self.interrupted,
            "exit_code": self.exit_code,
            "counts": self.counts,
            "verdicts": self.verdicts,
            "resumed": self.resumed,
            "files": [{**outcome.to_json(), "source": file_text(outcome.source)} for outcome in self.outcomes],
            "waiting": [file_text(source) for source in self.waiting],
            "missing_classes": [
                {"class": row.typename, "files": row.files, "layers": row.layers, "only_this_class": row.alone}
                for row in self.missing
            ],
        }

    def to_html(self) -> str:
        """One file that needs no network; every string of a file is escaped."""
        from jinja2 import Environment, PackageLoader, StrictUndefined

        environment = Environment(
            loader=PackageLoader(__package__, "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        return environment.get_template("summary.html.jinja").render(summary=self, version=version("torchmigrate"))

    def write(self, folder: Path) -> None:
        """Writes summary.json and summary.html, each whole or not at all."""
        texts = {"json": json.dumps(self.to_json(), indent=1) + "\n", "html": self.to_html()}
        for ending, text in texts.items():
            with whole_file(folder / f"summary{self.shard.suffix}.{ending}", force=True) as part:
                part.write_text(text, encoding="utf-8")


def _blocks_most(row: MissingClass) -> tuple[int, int, str]:
    return -len(row.files), -len(row.alone), row.typename


def _shown(value: Any) -> Any:
    """Text of a file without characters that hide or reorder what stands beside them; the rest as it is."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return "\n".join(visible(line) for line in value.split("\n"))
    return value
