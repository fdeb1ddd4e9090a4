"""Where layers work in place, and where modules have to copy, so that all read what they read in Torch7."""

from __future__ import annotations

from ..layer_record import LayerRecord
from ..registry import form_of
from .buffers import Layers, MemoryRun, TooLarge, writes

_UNCOPIED = (
    "Torch7 copies its input here and the converted module does not: others may read what a layer behind it writes "
    "in place"
)


def settle_aliases(records: list[LayerRecord]) -> list[tuple[str, str]]:
    """Switches `inplace` off where nobody sees it, and makes modules copy where somebody would see what Torch7 hides.

    A layer is no longer in place where no other layer reads what it wrote, since autograd often forbids it. It stays in
    place where one does (a skip connection after an in-place ReLU). A layer that copies in Torch7 and not in PyTorch
    (nn.Dropout in evaluation) then takes the class that is registered as its form "copying", if otherwise another would
    read a write that it does not read in Torch7. The caller's own input counts as not read later.

    Returns:
        (path, remark) pairs on layers that have no such form.
    """
    writers = {id(record.module): record for record in records if writes(record)}
    layers = Layers(records)
    if not writers or "" not in layers.by_path:
        return []
    controlled = {key for key, record in writers.items() if getattr(record.module, "inplace", None) is not None}
    in_place = {key for key, record in writers.items() if getattr(record.module, "inplace", True)}
    copying: dict[int, LayerRecord] = {}
    uncopied: list[LayerRecord] = []
    try:
        in_place &= MemoryRun(layers, in_place, set()).seen | (in_place - controlled)
        while in_place:
            run = MemoryRun(layers, in_place, set(copying))
            more = {id(r.module): r for r in run.must_copy.values() if form_of("copying", r.module) is not None}
            uncopied = [r for r in run.must_copy.values() if form_of("copying", r.module) is None]
            if more.keys() <= copying.keys():
                break
            copying |= more
    except (TooLarge, RecursionError):  # all as in Torch7
        copying = {id(r.module): r for r in records if r.traits.output == "copy" or r.traits.flow == "steps"}
        copying = {key: r for key, r in copying.items() if form_of("copying", r.module) is not None}
    for key in controlled - in_place:
        writers[key].module.inplace = False  # type: ignore[assignment]
    for record in copying.values():
        record.module.__class__ = form_of("copying", record.module)
    return [(record.path, _UNCOPIED) for record in uncopied]
