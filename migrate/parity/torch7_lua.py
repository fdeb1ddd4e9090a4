"""A reference between what Torch7 left and the model itself: Torch7's own Lua, with PyTorch's kernels."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..base.errors import LimitExceeded, UsageError
from ..model.conversion import ConvertedModel
from ..shapes.infer import Guess
from ..t7 import LuaObject
from ..t7.writing.dump import dump
from .reference_numbers import Reference
from .references.dump import read_dump
from .references.live import MAX_ELEMENTS, TIMEOUT, script, to_lua

#: What agreement shows.
PROVES = (
    "how the layers are put together is right: Torch7's own Lua gave the same with PyTorch's kernels. "
    "What Torch7's kernels in C compute it does not show"
)


@dataclass(frozen=True)
class Torch7Lua:
    """Where Torch7's own Lua is.

    Attributes:
        source: a folder with the user's checkouts of Torch7's packages, such as `DIR/nn` and `DIR/rnn`.
        lua: authors' files that define classes of the model.
    """

    source: Path
    lua: tuple[Path, ...] = ()


def run_torch7_lua(conv: ConvertedModel, where: Torch7Lua, guess: Guess) -> Reference:
    """Runs the model with Torch7's own Lua, in a process of its own, and records what each module gave.

    Args:
        conv: the converted model.
        where: the checkouts.
        guess: the input.

    Raises:
        UsageError: the model was opened from a folder, there are no checkouts, or the Lua ended with an error; it has
            no kernel, or no class of the model, for example; or it was stopped.
    """
    from ..lua.limits import LuaLimits  # which few need
    from ..lua.sandbox import LuaFailed
    from ..lua.witness.run import run_model

    model = conv.layers[0].object if conv.layers else None
    if conv.value is None or not isinstance(model, LuaObject):
        raise UsageError("--reference lua runs the model as its .t7 file holds it: give that file, not a folder.")
    options = ["--max-elements", str(MAX_ELEMENTS)]
    how: dict[str, Any] = {"torch7_source": where.source, "lua": where.lua, "options": options}
    limits = LuaLimits(seconds=TIMEOUT, cpu_seconds=TIMEOUT)
    try:
        saved = run_model(model, to_lua(guess.value), script(), limits=limits, **how)
    except (LuaFailed, LimitExceeded) as error:
        raise UsageError(f"Torch7's own Lua did not run the model: {' '.join(str(error).split())}") from error
    with tempfile.TemporaryDirectory(prefix="torchmigrate-") as folder:
        answer = Path(folder, "answer.t7")
        dump(saved, answer)
        found = read_dump(conv, answer, "lua", (guess.reason,))
    return replace(found, proves=PROVES, file=where.source.resolve().name, sha256=None)


def torch7_lua(source: str | Path | None, lua: Iterable[str | Path]) -> Torch7Lua | None:
    """Where Torch7's own Lua is, if that was said."""
    return None if source is None else Torch7Lua(Path(source), tuple(map(Path, lua)))
