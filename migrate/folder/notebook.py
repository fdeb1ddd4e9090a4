"""How a conversion shows itself in Python and in a notebook."""

from __future__ import annotations

from itertools import islice

from ..base.messages import counted, visible
from ..model.conversion import ConvertedModel
from ..t7.display import MOST_ROWS, Row, folded


def in_words(conv: ConvertedModel) -> str:
    """A conversion in two or three lines."""
    file = visible(conv.provenance.file or "a value")
    at = f" at {visible(conv.key)}" if conv.key else ""
    top = visible(conv.layers[0].typename) if conv.layers else type(conv.module).__name__
    said = [counted(len(conv.notes), "note")] if conv.notes else []
    said += [f"{len(conv.refusals)} layers not converted"] if conv.refusals else []
    lines = [
        f"<Conversion of {file}{at}: {top}",
        f" {len(conv.layers)} layers, {conv.parameter_count:,} parameters{''.join(', ' + part for part in said)}>",
    ]
    return "\n".join(lines)


def in_html(conv: ConvertedModel) -> str:
    """The layers of a conversion as a tree that folds, with what each became."""
    rows = [Row(0, "", in_words(conv)[1:-1])]
    for record in islice(conv.layers, MOST_ROWS):
        if record.path:
            depth = min(record.path.count(".") + 1, rows[-1].depth + 1)
            became = type(record.module).__name__
            rows.append(Row(depth, "", f"{visible(record.path)} {visible(record.typename)} → {became}"))
    if len(conv.layers) > MOST_ROWS:
        rows.append(Row(1, "", f"… {len(conv.layers) - MOST_ROWS:,} more"))
    return f'<div style="font-family:monospace">{"".join(folded(rows))}</div>'
