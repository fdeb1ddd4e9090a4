"""Recurrent networks as people write them, on words (T, N) counted from 0."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn


class Tagger(nn.Module):
    """A word's embedding, an LSTM of several layers or directions, and scores for each step or the last."""

    def __init__(
        self,
        sizes: list[int],
        words: int = 11,
        classes: int = 11,
        last: bool = False,
        both: bool = False,
        **options: bool,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, sizes[0])
        self.last = last
        self.layers = nn.ModuleList(
            nn.LSTM(i * (2 if both and at else 1), o, bidirectional=both, **options)
            for at, (i, o) in enumerate(pairwise(sizes))
        )
        self.out = nn.Linear(sizes[-1] * (2 if both else 1), classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.embed(x)
        for layer in self.layers:
            # as many write it: a state of zeros of the type that tensors have by themselves
            ways = 2 if layer.bidirectional else 1
            state = torch.zeros(layer.num_layers * ways, y.shape[1], layer.hidden_size)
            y = layer(y, (state, state))[0]
        return self.out(y[-1] if self.last else y)


class Stacked(nn.Module):
    """Two layers in one nn.LSTM, with dropout between them."""

    def __init__(self, size: int = 5, words: int = 11, batch_first: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, size)
        self.lstm = nn.LSTM(size, size, num_layers=2, dropout=0.5, batch_first=batch_first)
        self.out = nn.Linear(size, words)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.lstm.batch_first
        y = self.out(self.lstm(self.embed(x.t() if first else x))[0])
        return torch.log_softmax(y.transpose(0, 1) if first else y, 2)


class Around(nn.Module):
    """A word from those before it, and those behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.before, self.behind, self.out = nn.LSTM(6, 5), nn.LSTM(6, 5), nn.Linear(10, 11)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.embed(x)
        none = torch.zeros(1, y.shape[1], 5)
        before = torch.cat([none, self.before(y[:-1])[0]])
        behind = torch.cat([self.behind(y[1:].flip(0))[0].flip(0), none])
        return self.out(torch.cat([before, behind], 2))


class Cells(nn.Module):
    """Step by step, with nn.LSTMCell."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.cell, self.out = nn.Embedding(11, 6), nn.LSTMCell(6, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = c = torch.zeros(x.shape[1], 5)
        for step in self.embed(x):
            h, c = self.cell(step, (h, c))
        return torch.log_softmax(self.out(h), 1)
