"""Chooses what a converted model is compared with: the strongest reference that there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...base.errors import ModelNotFound, UsageError
from ...base.files import AUTO, LUA, RECORDED, SELF, reference_file
from ...model.conversion import ConvertedModel
from ...model.locate import follow
from ...shapes.check_sizes import check_sizes
from ...shapes.infer import Guess, input_of
from ...t7 import LuaTable
from ..reference_numbers import Reference
from ..torch7_lua import Torch7Lua, run_torch7_lua
from .dump import load_dump, read_dump, reference_of
from .live import run_torch7
from .recorded import read_recorded, require_recorded
from .saved_runs import read_run
from .self_reference import compute_self


def read_beside(conv: ConvertedModel, file: Path) -> Reference:
    """The reference that lies beside the model's file, which nobody named; another, if it is of another model there.

    Raises:
        T7Error: it can't be read.
        UsageError: it is no reference, or does not fit the model.
    """
    taken = "It was taken since it lies beside the file; --reference names another, or `self` or `recorded`."
    try:
        value = load_dump(file)
    except UsageError as error:
        raise UsageError(f"{error} {taken}") from error
    if key := _key_of_another(conv, value):
        left_out = f"{file.name} lies beside the file, and was left out since it is of the model at {key} (--key {key})"
        return replace(choose_reference(conv, None), chosen=left_out)
    try:
        found = reference_of(conv, file, value)
    except UsageError as error:
        raise UsageError(f"{error} {taken}") from error
    return replace(found, chosen=f"{file.name} lies beside the file, so it was taken as the reference")


def _key_of_another(conv: ConvertedModel, value: LuaTable) -> str:
    """The key of another model of the same file of which a reference is; "" if it is of this one, or does not say."""
    meta = value.get("meta")
    key = meta.get("key") if isinstance(meta, LuaTable) else None
    text = key.decode(errors="replace") if isinstance(key, bytes) else key
    if not isinstance(text, str) or not text or not conv.layers:
        return ""
    try:
        there = follow(conv.value, text)
    except ModelNotFound:
        return ""
    return "" if there is conv.layers[0].object else text


@dataclass(frozen=True)
class ReferenceOptions:
    """What a user may say of the reference beside its name.

    Attributes:
        guess: the input that the user gave, or None.
        input_shape: sizes of random input, or None.
        seed: of random input.
        torch7: the command that starts a Torch7, or None.
        model_file: the .t7 file, which such a Torch7 reads.
        compare_run: a run that was saved elsewhere, or None.
        gradients: are gradients wanted of the reference?
        requires: what such a Torch7 loads first.
        torch7_lua: where Torch7's own Lua is, or None.
    """

    guess: Guess | None = None
    input_shape: object = None
    seed: int = 0
    torch7: str | None = None
    model_file: Path | None = None
    compare_run: str | Path | None = None
    gradients: bool = False
    requires: Sequence[str] = ()
    torch7_lua: Torch7Lua | None = None


def choose_reference(
    conv: ConvertedModel, reference: str | Path | None, options: ReferenceOptions | None = None
) -> Reference:
    """The reference to compare with.

    Without a choice of the user: a file that Torch7 wrote, or a Torch7 that is there to be asked, else the activations
    in the file unless they are stale, else Torch7's own Lua where its checkouts are given, else the converted model in
    float64.

    Args:
        conv: the converted model.
        reference: a file that dump_reference.lua wrote, "recorded", "lua", "self", or "auto" (None).
        options: what else the user said.

    Raises:
        LimitExceeded: on its input a layer would compute more than the limits allow.
        UsageError: the choices exclude each other, or the chosen one can't be had.
    """
    found = _chosen(conv, reference, options or ReferenceOptions())
    if found.kind != SELF:  # whose input was tried when it was looked for
        check_sizes(conv, found.input if found.probe is None else found.probe)
    return found


def _chosen(conv: ConvertedModel, reference: str | Path | None, options: ReferenceOptions) -> Reference:
    """The reference of `choose_reference`."""
    chosen = None if reference is None or str(reference) == AUTO else str(reference)
    ways = (("--reference", chosen), ("--torch7", options.torch7), ("--compare-run", options.compare_run))
    given = [name for name, value in ways if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other: each says what to compare with.")
    if options.torch7_lua is not None and (chosen not in (None, LUA) or len(given) > (chosen is not None)):
        raise UsageError("--torch7-source says where Torch7's own Lua is; it goes with --reference lua, and no other.")
    if options.requires and options.torch7 is None:
        raise UsageError("--require names what a Torch7 loads first; say with --torch7 which one.")
    if options.compare_run is not None:
        return read_run(conv, Path(options.compare_run))
    guess, seed = options.guess, options.seed
    if options.torch7 is not None:
        found = guess or input_of(conv, options.input_shape, seed)
        how = options.torch7, options.model_file
        return run_torch7(conv, *how, found, gradients=options.gradients, requires=options.requires)
    if (file := reference_file(chosen)) is not None:
        return read_dump(conv, file)
    if guess is None and options.input_shape is not None:
        guess = input_of(conv, options.input_shape, seed)
    if chosen == RECORDED:
        return require_recorded(conv, guess, seed)
    if chosen == SELF:
        return compute_self(conv, guess or input_of(conv, None, seed))
    if chosen == LUA:
        if options.torch7_lua is None:
            raise UsageError(
                "--reference lua runs Torch7's own Lua: say with --torch7-source which folder holds checkouts of nn, "
                "nngraph, rnn … (github.com/torch/nn and its like)."
            )
        return run_torch7_lua(conv, options.torch7_lua, guess or input_of(conv, None, seed))
    recorded = read_recorded(conv, guess, seed)
    if recorded is not None and not recorded.stale:
        return recorded
    if recorded is None:
        return _without_torch7(conv, guess or input_of(conv, None, seed), options.torch7_lua)
    sized = guess or Guess(recorded.input, "it has the size that Torch7's own input had")
    return _without_torch7(conv, sized, options.torch7_lua, recorded.stale)


def _without_torch7(conv: ConvertedModel, guess: Guess, where: Torch7Lua | None, stale: str = "") -> Reference:
    """Torch7's own Lua, if it is there and runs the model; else the model itself."""
    notes = (stale,) if stale else ()
    limits: tuple[str, ...] = (f"{stale[:1].upper()}{stale[1:]}.",) if stale else ()
    if where is not None:
        try:
            found = run_torch7_lua(conv, where, guess)
            return replace(found, notes=(*found.notes, *notes), limits=(*found.limits, *limits))
        except UsageError as error:
            limits += (f"There is no comparison with Torch7's own Lua (--torch7-source): {error}.",)
    return compute_self(conv, guess, notes, limits)
