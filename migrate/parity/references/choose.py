"""Chooses what a converted model is compared with: the strongest reference that there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...base.errors import ModelNotFound, UsageError
from ...model.conversion import ConvertedModel
from ...model.locate import follow
from ...shapes.check_sizes import check_sizes
from ...shapes.infer import Guess, input_of
from ...t7 import LuaTable, load
from ..reference_numbers import Reference
from .dump import read_dump
from .live import run_torch7
from .recorded import read_recorded, require_recorded
from .saved_runs import read_run
from .self_reference import compute_self

#: What `reference` may say instead of naming a file.
AUTO, RECORDED, SELF = "auto", "recorded", "self"


def read_beside(conv: ConvertedModel, file: Path) -> Reference:
    """The reference that lies beside the model's file, which nobody named; another, if it is of another model there.

    Raises:
        T7Error: it can't be read.
        UsageError: it is no reference, or does not fit the model.
    """
    if key := _key_of_another(conv, file):
        left_out = f"{file.name} lies beside the file, and was left out since it is of the model at {key} (--key {key})"
        return replace(choose_reference(conv, None), chosen=left_out)
    try:
        found = read_dump(conv, file)
    except UsageError as error:
        raise UsageError(
            f"{error} It was taken since it lies beside the file; --reference names another, or `self` or `recorded`."
        ) from error
    return replace(found, chosen=f"{file.name} lies beside the file, so it was taken as the reference")


def _key_of_another(conv: ConvertedModel, file: Path) -> str:
    """The key of another model of the same file of which a reference is; "" if it is of this one, or does not say."""
    value = load(file)
    meta = value.get("meta") if isinstance(value, LuaTable) else None
    key = meta.get("key") if isinstance(meta, LuaTable) else None
    text = key.decode(errors="replace") if isinstance(key, bytes) else key
    if not isinstance(text, str) or not text or not conv.layers:
        return ""
    try:
        there = follow(conv.value, text)
    except ModelNotFound:
        return ""
    return "" if there is conv.layers[0].object else text


def choose_reference(
    conv: ConvertedModel,
    reference: str | Path | None,
    *,
    guess: Guess | None = None,
    input_shape: object = None,
    seed: int = 0,
    torch7: str | None = None,
    model_file: Path | None = None,
    compare_run: str | Path | None = None,
    gradients: bool = False,
    requires: Sequence[str] = (),
) -> Reference:
    """The reference to compare with.

    Without a choice of the user: a file that Torch7 wrote, or a Torch7 that is there to be asked, else the activations
    in the file unless they are stale, else the converted model in float64.

    Args:
        conv: the converted model.
        reference: a file that dump_reference.lua wrote, "recorded", "self", or "auto" (None).
        guess: the input that the user gave, or None.
        input_shape: sizes of random input, or None.
        seed: of random input.
        torch7: the command that starts a Torch7, or None.
        model_file: the .t7 file, which such a Torch7 reads.
        compare_run: a run that was saved elsewhere, or None.
        gradients: are gradients wanted of the reference?
        requires: what such a Torch7 loads first.

    Raises:
        LimitExceeded: on its input a layer would compute more than the limits allow.
        UsageError: the choices exclude each other, or the chosen one can't be had.
    """
    found = _chosen(
        conv,
        reference,
        guess=guess,
        input_shape=input_shape,
        seed=seed,
        torch7=torch7,
        model_file=model_file,
        compare_run=compare_run,
        gradients=gradients,
        requires=requires,
    )
    if found.kind != SELF:  # whose input was tried when it was looked for
        check_sizes(conv, found.input if found.probe is None else found.probe)
    return found


def _chosen(
    conv: ConvertedModel,
    reference: str | Path | None,
    *,
    guess: Guess | None = None,
    input_shape: object = None,
    seed: int = 0,
    torch7: str | None = None,
    model_file: Path | None = None,
    compare_run: str | Path | None = None,
    gradients: bool = False,
    requires: Sequence[str] = (),
) -> Reference:
    """The reference of `choose_reference`."""
    chosen = None if reference is None or str(reference) == AUTO else str(reference)
    ways = (("--reference", chosen), ("--torch7", torch7), ("--compare-run", compare_run))
    given = [name for name, value in ways if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other: each says what to compare with.")
    if requires and torch7 is None:
        raise UsageError("--require names what a Torch7 loads first; say with --torch7 which one.")
    if compare_run is not None:
        return read_run(conv, Path(compare_run))
    if torch7 is not None:
        found = guess or input_of(conv, input_shape, seed)
        return run_torch7(conv, torch7, model_file, found, gradients=gradients, requires=requires)
    if chosen is not None and chosen not in (RECORDED, SELF):
        return read_dump(conv, Path(chosen))
    if guess is None and input_shape is not None:
        guess = input_of(conv, input_shape, seed)
    if chosen == RECORDED:
        return require_recorded(conv, guess, seed)
    if chosen == SELF:
        return compute_self(conv, guess or input_of(conv, None, seed))
    recorded = read_recorded(conv, guess, seed)
    if recorded is not None and not recorded.stale:
        return recorded
    if recorded is None:
        return compute_self(conv, guess or input_of(conv, None, seed))
    stale = recorded.stale
    sized = guess or Guess(recorded.input, "it has the size that Torch7's own input had")
    return compute_self(conv, sized, (stale,), (f"{stale[:1].upper()}{stale[1:]}.",))
