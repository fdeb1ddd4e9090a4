"""Writes what is said of planted faults into docs/why-do-my-numbers-differ.md; it takes minutes."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import golden  # noqa: E402
from planted_faults import FAULTS, FRESH, STEPPED, Model, Outcome, golden_model, outcomes  # noqa: E402

PAGE = ROOT / "docs" / "why-do-my-numbers-differ.md"
BEGIN, END = "<!-- planted faults: written by docs/planted_faults.py -->\n", "<!-- end of planted faults -->\n"


#: Where Torch7's numbers come from -> the head of the column.
KINDS = {
    "reference": "Torch7's reference file",
    "recorded": "activations in the file",
    "stepped": "activations from before a step of an optimizer",
}


def models(kind: str) -> Iterator[tuple[str, Model]]:
    """The models that have Torch7's numbers in that way, with their names."""
    if kind == "stepped":
        for name in STEPPED:
            yield name, Model(golden.FIXTURES / "trained" / f"{name}.t7")
        return
    for row in golden.model_rows():
        if kind == "reference" or row["name"] in FRESH:
            yield row["name"], golden_model(row["name"], recorded=kind == "recorded")


def table(found: dict[tuple[str, str], list[Outcome]]) -> str:
    """One row per fault: found and located, of those that matter, by kind of reference."""
    lines = [f"| Fault in one layer | {' | '.join(KINDS.values())} |", "|---|" + "---|" * len(KINDS)]
    for fault in FAULTS:
        cells = []
        for kind in KINDS:
            matter = [outcome for outcome in found[fault, kind] if outcome.matters]
            right = sum(outcome.right for outcome in matter)
            cells.append(f"{right} of {len(matter)}" if matter else "none")
        lines.append(f"| {fault} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Plants every fault into the first layer of every model that it changes."""
    found: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for kind in KINDS:
        for name, model in models(kind):
            for outcome in outcomes(model, list(FAULTS)):
                found[outcome.fault, kind].append(outcome)
                if not outcome.right:
                    print(f"{name}: {outcome}")  # noqa: T201 - for whoever runs it
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table(found)}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
