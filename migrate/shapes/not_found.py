"""What is said where no input shape was found: what is known of it, and what to pass."""

from __future__ import annotations

from ..base.messages import counted
from .input_readers import FRAMES, IMAGES, INDICES, NUMBERS, SEQUENCES, VOLUMES, Entries, Entry
from .parse import spelled
from .random_input import indices_of


def unknown(entries: Entries, tried: int, fitting: list[tuple[int, ...]], *, ended: bool) -> str:
    """Says what is known of the input, and how to pass its sizes.

    Args:
        entries: the layers that read it.
        tried: how many sizes were tried.
        fitting: sizes of oblong images that fit; there are several.
        ended: was the search ended before all that was worth trying was tried?
    """
    if fitting:
        listed = ", ".join(spelled(sizes) for sizes in fitting[:6])
        return (
            f"The input shape of the model is ambiguous: square images do not fit, but {listed} do. "
            f"Pass the right one: --input-shape {spelled(fitting[0])} (input_shape={spelled(fitting[0])!r})."
        )
    if isinstance(entries, Entry):
        known = f"Its first layer with weights is {entries.where}" if entries.where else ""
        if known and entries.channels:
            known += f", which takes {_taken(entries)}"
    else:
        parts = [f"entry {i}: {_told(part)}" for i, part in sorted(entries.items())]
        known = f"It takes a table of {len(parts)} ({'; '.join(parts)})"
    example = _example(entries)
    hint = f" {known}." if known else ""
    count = f"{tried} tried, then the search was ended" if ended else f"{tried} tried"
    return (
        f"The input shape of the model was not found ({count}).{hint} Pass it, such as: --input-shape {example} "
        f"(input_shape={example!r})."
    )


def _taken(entry: Entry) -> str:
    if entry.kind == INDICES:
        least = indices_of(entry.first).start if entry.first else 1
        return f"indices from {least}" + (f" to {entry.channels}" if entry.channels else "")
    noun = {IMAGES: "channel", VOLUMES: "channel"}.get(entry.kind, "number")
    return counted(entry.channels, noun) + (" a step" if entry.kind in (FRAMES, SEQUENCES) else "")


def _told(entries: Entries) -> str:
    if isinstance(entries, dict):
        return f"a table of {len(entries)}"
    return f"{entries.where}, {_taken(entries)}" if entries.where and entries.channels else "not known"


def _example(entries: Entries, *, inside: bool = False) -> str:
    """How the sizes may look: what is known is right, the rest stands for what only the user knows."""
    if isinstance(entries, dict):
        return "{" + ",".join(_example(part, inside=True) for _, part in sorted(entries.items())) + "}"
    size = entries.channels
    if entries.vector:
        return "2"
    known = {
        VOLUMES: f"2x{size}x16x112x112",
        FRAMES: f"2x100x{size}",
        SEQUENCES: f"5x2x{size}",
        INDICES: "5x2" if entries.steps else "2x16",
    }
    if entries.kind in known:
        return known[entries.kind]
    before = [record.traits for record in entries.passed if record is not entries.first]
    if entries.kind == NUMBERS and size and all(traits.keeps_size for traits in before):
        return f"2x{size}"
    if inside and entries.kind != IMAGES:
        return "2x10"
    return f"2x{size if entries.kind == IMAGES and size else 3}x224x224"
