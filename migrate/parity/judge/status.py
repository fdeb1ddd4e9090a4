"""What became of a comparison, and how the kinds of references are called."""

from __future__ import annotations

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"

#: References that are numbers of a real Torch7, and how they are called.
TORCH7 = {
    "dump": "Torch7's own numbers",
    "live": "a Torch7 that was run for it",
    "given": "the output that was given as Torch7's",
    "recorded": "the activations that Torch7 left in the file",
}

#: References that are not, and prove no parity with it; so does any kind that is in neither.
OTHER = {
    "lua": "Torch7's own Lua, with PyTorch's kernels",
    "self": "the same model in float64",
    "run": "a saved run of the same conversion",
}


def name_of(kind: str) -> str:
    """How a kind of reference is called."""
    return TORCH7.get(kind) or OTHER.get(kind) or f"a reference of the kind {kind}"
