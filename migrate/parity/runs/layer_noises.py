"""What rounding makes of each layer while a network runs, and of layers that work in the memory of others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from ...model.layer_record import LayerRecord
from ...shapes.rounding_noise import RoundingNoise
from ..judge.compare import Noise, Tolerance
from ..trace import LayerRun
from .noise_beneath import noise_of_step, noise_with
from .rounded_means import RoundedMeans, rounded_means, together

Key = tuple[int, int]


class LayerNoises:
    """What is known of the layers that have run.

    Args:
        layers: those of the network, without the hooks of a trace.
        now: the same with the weights of the file, where those are of an earlier time; else None.
        training: the layers in training mode.
        overwrites: tells of two layers whether their outputs share memory.

    Attributes:
        beneath: layers that found numbers of others in their memory -> these.
    """

    def __init__(
        self,
        layers: Sequence[LayerRecord],
        now: Sequence[LayerRecord] | None,
        training: Collection[int],
        overwrites: Callable[[int, int], bool],
    ) -> None:
        self.beneath: dict[Key, list[Key]] = {}
        self._layers = layers
        self._now = now
        self._training = training
        self._overwrites = overwrites
        self._noises: dict[Key, Noise] = {}
        self._means: dict[Key, RoundedMeans | None] = {}

    def note(self, key: Key, noise: Noise, means: RoundedMeans | None) -> None:
        """Is told what is known of a layer whose numbers another one wrote over."""
        self._noises[key], self._means[key] = noise, means

    def noise_of(self, step: LayerRun, rule: Tolerance) -> Noise:
        """The rounding noise of a layer, with that of the layers whose numbers it found in its memory."""
        i = step.index
        own: Noise = partial(self._own_noise, i, step.input)
        if self._now is not None:
            module = self._now[i].module
            module.train(i in self._training)
            own = partial(noise_with, own, [partial(noise_of_step, module, step.input, step.output, rule)])
        beneath = [key for key in self._noises if self._overwrites(i, key[0])]
        if not beneath:
            return own
        self.beneath[step.key] = beneath
        return partial(noise_with, own, [self._noises[key] for key in beneath])

    def means_of(self, step: LayerRun, rule: Tolerance) -> RoundedMeans | None:
        """What the rounding of means makes of a layer, and of those whose numbers it found in its memory."""
        module, i = self._layers[step.index].module, step.index
        beneath = (means for key, means in self._means.items() if self._overwrites(i, key[0]))
        return together((rounded_means(module, step.input, rule, training=i in self._training), *beneath))

    def _own_noise(self, index: int, given: Any) -> Iterator[Any]:
        module = self._layers[index].module
        module.train(index in self._training)
        try:
            yield from RoundingNoise(module, given)
        finally:
            module.eval()


def random_like(generator: torch.Generator, tensor: torch.Tensor) -> torch.Tensor:
    """Random numbers of the same sizes and type; whole numbers stay."""
    if not tensor.is_floating_point():
        return tensor
    return torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor.dtype)
