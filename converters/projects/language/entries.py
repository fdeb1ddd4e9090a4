"""Layers on lists of tensors, of cheng6076/SNLI-attention, and the alignment of castorini/VDPWI-NN-Torch."""

from __future__ import annotations

import torch
from torch import nn

from ....model.layer import Layer
from ....model.registry import converts
from ....model.traits import Traits


class MeanOfEntries(nn.Module):
    """The mean of the entries of a list."""

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(x).sum(0) / len(x)


@converts("nn.CAveTable", traits=Traits(picture="merge"))
def mean_of_entries(layer: Layer) -> MeanOfEntries:
    """nn.CAveTable(), of cheng6076/SNLI-attention

    The mean of the entries. In training Torch7 computes the gradients of the layer behind it from the sum; here they
    are those of the mean.
    """
    return MeanOfEntries()


class TanhOfLast(nn.Module):
    """As often as a list has entries the tanh of its last entry, as one Tanh gives it that runs on each of them.

    What comes back for an entry goes to that of the last: each entry gets the gradient of the last result.
    """

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        y = torch.tanh(x[-1])
        slope = (1 - y * y).detach()
        last = y
        for entry in x[:-1]:
            last = last + (entry - entry.detach()) * slope
        return [y.detach().clone() for _ in x[:-1]] + [last]


@converts("nn.TableTanh")
def tanh_of_last(layer: Layer) -> TanhOfLast:
    """nn.TableTanh(), of cheng6076/SNLI-attention

    Torch7 runs one nn.Tanh on each entry and gives its one output several times: all are that of the last entry.
    """
    layer.ignore("tanh")
    layer.note("as in Torch7 all its results are the tanh of the last entry")
    return TanhOfLast()


class LinearOfEach(nn.Linear):
    """One linear layer for each entry of a list."""

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:  # type: ignore[override]
        return [super(LinearOfEach, self).forward(entry) for entry in x]


@converts("nn.TableLinear", traits=Traits(picture="weights"))
def linear_of_each(layer: Layer) -> LinearOfEach:
    """nn.TableLinear(inputSize, outputSize), of cheng6076/SNLI-attention

    nn.Linear on each entry.
    """
    out_features, in_features = layer.tensor("weight").shape
    return layer.put_all(layer.make(LinearOfEach, in_features, out_features), "weight", "bias")


class AlignWords(nn.Module):
    """Scales similarities (planes, limit, limit) of the words of two sentences, so that aligned words count most.

    The last plane is 1 where there are words. Words are aligned greedily, the most similar ones first, by one plane and
    then by another; pairs that the first finds none of count a tenth.

    Args:
        limit: the most words of a sentence.
        first: plane, 0-based, by which words are aligned.
        second: plane by which they are aligned again.
        words: plane that tells where there are words.
    """

    def __init__(self, limit: int, first: int, second: int, words: int) -> None:
        super().__init__()
        self.limit = limit
        self.first = first
        self.second = second
        self.words = words

    def aligned(self, scores: torch.Tensor, free: torch.Tensor, most: torch.Tensor) -> torch.Tensor:
        """Where `free`, the pairs (limit, limit) of the largest scores, one in each row and column; at most `most`."""
        chosen = torch.zeros_like(free)
        places = torch.arange(self.limit * self.limit, device=scores.device)
        for i in range(self.limit):
            best = scores.masked_fill(~free, float("-inf")).flatten().argmax()
            pair = (places == best).reshape(self.limit, self.limit) & free & (most > i)
            chosen = chosen | pair
            free = free & ~pair.any(1, keepdim=True) & ~pair.any(0, keepdim=True)
        return chosen

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = x.detach()
        free = scores[self.words] == 1
        chosen = self.aligned(scores[self.first], free, free.sum())
        again = self.aligned(scores[self.second], free, chosen.sum() + 1)
        scale = torch.where(chosen | again, 1.0, torch.where(free, 0.1, 0.0).to(x.dtype))
        return x * scale.to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.limit}, first={self.first}, second={self.second}, words={self.words}"


@converts("nn.AlignMax", traits=Traits(keeps_size=True, reuses="nothing"))
def align_words(layer: Layer) -> AlignWords:
    """nn.AlignMax([limitS = 32], yoDim), of castorini/VDPWI-NN-Torch

    Takes similarities (yoDim, limitS, limitS) of the words of two sentences; pairs that are not aligned count a tenth,
    or nothing where there are no words. Which of equally similar pairs comes first is not known of Torch7's sort.
    """
    layer.ignore("alignMask")
    first, second = layer.integer("ind1"), layer.integer("ind2")
    return AlignWords(layer.integer("limit"), first - 1, second - 1, layer.integer("yo_dim") - 1)
