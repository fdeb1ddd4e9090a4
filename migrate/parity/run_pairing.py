"""Finds for each run of a layer in Torch7 the run of the converted layer that computed the same."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from ..model.layer_record import LayerRecord

#: Layer -> run of the layer around it -> runs of the layer within that.
_Runs = dict[int, dict[int, list[int]]]


def pair_runs(layers: Sequence[LayerRecord], theirs: Sequence[int], ours: Sequence[int]) -> Sequence[int | None]:
    """Pairs runs of layers.

    Torch7 may run clones that have no path of their own in a layer's place: for the first step of an `nn.Recurrent`,
    for the entries of an `nn.MapTable`. So runs are paired within one run of the layer around them, and only where
    both ran as often in it. Where every layer ran as often as here, the first is the first.

    Args:
        layers: the converted layers, each after the one that holds it.
        theirs: the layers that ran in Torch7, by number, in the order in which they ended.
        ours: the same of the converted model.

    Returns:
        For each of `theirs` the run of the converted layer (0-based), or None if it can't be told.
    """
    paired: dict[tuple[int, int], int] = {}
    there, here = Counter(theirs), Counter(ours)
    if all(here[i] == runs for i, runs in there.items()):
        return _numbered(theirs)
    around = _layers_around(layers, {*theirs} & {*ours})
    their_runs, our_runs = _runs_within(around, theirs), _runs_within(around, ours)
    for i, outer in enumerate(around):
        for place, runs in their_runs[i].items():
            within = place if outer is None else paired.get((outer, place))
            same = [] if within is None else our_runs[i].get(within, [])
            if len(same) == len(runs):
                paired.update(zip([(i, run) for run in runs], same, strict=True))
        # what runs after the last run
        paired[i, there[i]] = here[i]
    return [paired.get((i, run)) for i, run in zip(theirs, _numbered(theirs), strict=True)]


def _numbered(order: Sequence[int]) -> list[int]:
    """Which run of its layer each one is."""
    seen: Counter[int] = Counter()
    found = []
    for i in order:
        found.append(seen[i])
        seen[i] += 1
    return found


def _layers_around(layers: Sequence[LayerRecord], ran: Collection[int]) -> list[int | None]:
    """For each layer the number of the one that holds it, of those that ran."""
    by_path = {record.path: i for i, record in enumerate(layers) if i in ran}
    found = []
    for record in layers:
        path, outer = record.path, None
        while path and outer is None:
            path = path.rpartition(".")[0]
            outer = by_path.get(path)
        found.append(outer)
    return found


def _runs_within(around: Sequence[int | None], order: Sequence[int]) -> _Runs:
    ended: Counter[int] = Counter()
    found: _Runs = defaultdict(dict)
    for i in order:
        outer = around[i]
        found[i].setdefault(0 if outer is None else ended[outer], []).append(ended[i])
        ended[i] += 1
    return found
