"""Makes gradients that a script has zeroed since again, of those of the inputs, and finds the step along them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch

from ...model.conversion import ConvertedModel
from ...model.layer_record import LayerRecord
from ...optim.last_step import step_of_gradients
from ..network_copies import Network
from ..references.recorded_gradients import backward
from ..references.recorded_layers import Judgement, Key, Probe
from .step_search import UNKNOWN_STEP, Before, Search, names_of_parameters

#: A step that leaves less than this, in tolerances, leaves nothing to explain.
NEAR = 0.1

#: Rounds in which gradients are made again, and the share by which they then no longer change.
ROUNDS_OF_GRADIENTS, SETTLED = 24, 1e-9


@dataclass(frozen=True)
class Gradients:
    """Gradients that were made again.

    Attributes:
        steps: by how much a step along them changes the converted parameters, by the names of these.
        moving: the layers whose gradients depend on the weights before the step, as they are worked out of these.
    """

    steps: Mapping[str, torch.Tensor]
    moving: frozenset[Key] = frozenset()

    def share_moved(self, before: Gradients) -> float:
        """The share of the largest number by which they differ from earlier ones."""
        return max((_moved(before.steps.get(name), step) for name, step in self.steps.items()), default=0.0)


@dataclass(frozen=True)
class Zeroed:
    """A model whose gradients have been zeroed.

    Attributes:
        conv: the converted model.
        network: a copy of it in float64, with the weights of the file.
        probe: runs it on the activations of its file.
        judgement: what came of that.
    """

    conv: ConvertedModel
    network: Network
    probe: Probe
    judgement: Judgement

    def gradients(self, changes: Mapping[str, torch.Tensor]) -> Gradients:
        """The gradients as they are made of these weights, where all that use a parameter are known.

        Args:
            changes: what is added to the weights of the file, by the names of the parameters.
        """
        network = self.network.changed(changes)
        users = {
            name: {i for i, names in names_of_parameters(network).items() if name in names}
            for name, _ in network.module.named_parameters()
        }
        gradients: dict[str, torch.Tensor] = {}
        moving = set()
        for key, back in backward(network, self.judgement, self.probe.values, solve=True).items():
            if _weights_are_worked_out(network.layers, network.layers[key[0]].path):
                continue
            if back.reader is None and back.parameters:
                moving.add(key)
            for name, gradient in back.parameters.items():
                gradients[name] = gradients[name] + gradient if name in gradients else gradient
                users[name] -= {key[0], *self.probe.sequences.get(key[0], ())}
        steps = step_of_gradients(self.conv, {name: g for name, g in gradients.items() if not users[name]})
        return Gradients(steps, frozenset(moving))

    def search(self, changes: Mapping[str, torch.Tensor], network: Network | None = None) -> Search:
        """Looks for the length of a step of SGD along these changes of parameters.

        Args:
            changes: by the names of the parameters.
            network: where it begins; None: at the weights of the file.
        """
        return Search(UNKNOWN_STEP, changes, network or self.network, self.probe, self.judgement)


@dataclass
class Settling:
    """Makes gradients again with the weights that they give, until these no longer change.

    Attributes:
        zeroed: the model.
        moving: the layers that are off, and whose gradients change with the weights.
        gradients: the last ones.
        found: the weights before the step.
    """

    zeroed: Zeroed
    moving: Collection[Key]
    gradients: Gradients
    found: Before | None = None

    def run(self, search: Search, start: Key | None) -> bool:
        """Tells whether the gradients are those of the weights that they give, as far as matters.

        Args:
            search: that with the gradients of the weights in the file.
            start: the layer whose own length of the step is taken as long as nothing is found.
        """
        most, before = math.inf, math.inf
        for _ in range(ROUNDS_OF_GRADIENTS):
            if self.found is not None:
                scale = self.found.scale
                # explained by gradients that are nearly right is not enough: other backends have their own tolerances
                if all(search.off(key, scale) <= NEAR for key in self.moving):
                    return True
            else:
                scale = 0.0 if start is None else search.best_for(start)
                off = math.inf if start is None else search.off(start, scale)
                # the first gradients are nearly right; each round halves what is left at least
                before = before if before < math.inf else search.off(start, 0.0) if start is not None else 0.0
                if off > before / 2 or scale <= 0:
                    return False
                before = off
            again = self.zeroed.gradients({name: scale * step for name, step in self.gradients.steps.items()})
            moved = again.share_moved(self.gradients)
            self.gradients = again
            search = self.zeroed.search(again.steps)
            self.found = search.run() or self.found
            if moved <= SETTLED or moved > most:
                return moved <= SETTLED
            most = moved
        return False


def _moved(old: torch.Tensor | None, new: torch.Tensor) -> float:
    most = float(new.abs().max()) if new.numel() else 0.0
    return 0.0 if not most else math.inf if old is None else float((new - old).abs().max()) / most


def _weights_are_worked_out(layers: Sequence[LayerRecord], path: str) -> bool:
    """Does a layer around this one learn parameters, of which the weights of this one are worked out?"""
    return any(layer.traits.parameters and path.startswith(f"{layer.path}.") for layer in layers)
