"""Writes what is said of planted faults into docs/why-do-my-numbers-differ.md; it takes minutes."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import golden  # noqa: E402
from planted_faults import FAULTS, FRESH, Outcome, golden_model, outcomes  # noqa: E402

PAGE = ROOT / "docs" / "why-do-my-numbers-differ.md"
BEGIN, END = "<!-- planted faults: written by docs/planted_faults.py -->\n", "<!-- end of planted faults -->\n"


def table(found: dict[tuple[str, bool], list[Outcome]]) -> str:
    """One row per fault: found and located, of those that matter, by kind of reference."""
    lines = ["| Fault in one layer | Torch7's reference file | activations in the file |", "|---|---|---|"]
    for fault in FAULTS:
        cells = []
        for recorded in (False, True):
            matter = [outcome for outcome in found[fault, recorded] if outcome.matters]
            right = sum(outcome.right for outcome in matter)
            cells.append(f"{right} of {len(matter)}" if matter else "none")
        lines.append(f"| {fault} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Plants every fault into the first layer of every golden model that it changes."""
    found: dict[tuple[str, bool], list[Outcome]] = defaultdict(list)
    for row in golden.model_rows():
        for recorded in (False, True):
            if recorded and row["name"] not in FRESH:
                continue
            for outcome in outcomes(golden_model(row["name"], recorded=recorded), list(FAULTS)):
                found[outcome.fault, recorded].append(outcome)
                if not outcome.right:
                    print(f"{row['name']}: {outcome}")  # noqa: T201 - for whoever runs it
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table(found)}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
