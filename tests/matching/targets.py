"""Networks as people write them, into which the files of fixtures/match go."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class Basic(nn.Module):
    def __init__(self, i: int, o: int, stride: int, bias: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=bias), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=bias), nn.BatchNorm2d(o)
        self.downsample = None
        if i != o or stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=bias), nn.BatchNorm2d(o))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    def __init__(self, i: int, m: int, o: int, stride: int, first: bool) -> None:
        super().__init__()
        one, three = (stride, 1) if first else (1, stride)
        self.conv1, self.bn1 = nn.Conv2d(i, m, 1, one, bias=False), nn.BatchNorm2d(m)
        self.conv2, self.bn2 = nn.Conv2d(m, m, 3, three, 1, bias=False), nn.BatchNorm2d(m)
        self.conv3, self.bn3 = nn.Conv2d(m, o, 1, bias=False), nn.BatchNorm2d(o)
        self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNet(nn.Module):
    def __init__(
        self, blocks: list[nn.Module], *, bias: bool = False, classes: int = 5, eps: float = 1e-5, **pool: Any
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 7, 2, 3, bias=bias), nn.BatchNorm2d(4, eps=eps)
        self.pool = nn.MaxPool2d(**{"kernel_size": 3, "stride": 2, "padding": 1, **pool})
        self.layers = nn.Sequential(*blocks)
        self.avg = nn.AdaptiveAvgPool2d(1)
        last = [module for module in self.layers.modules() if isinstance(module, nn.BatchNorm2d)][-1]
        self.fc = nn.Linear(last.num_features, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.avg(self.layers(self.pool(F.relu(self.bn1(self.conv1(x)))))).flatten(1))


def residual(bias: bool = False, **options: Any) -> ResNet:
    return ResNet([Basic(4, 4, 1, bias), Basic(4, 6, 2, bias)], bias=bias, **options)


def bottleneck(first: bool = True, **options: Any) -> ResNet:
    return ResNet([Bottleneck(4, 3, 8, 1, first), Bottleneck(8, 3, 10, 2, first)], **options)


class Fire(nn.Module):
    def __init__(self, i: int, s: int, e: int, exchanged: bool) -> None:
        super().__init__()
        self.exchanged = exchanged
        self.expand3, self.expand1 = nn.Conv2d(s, e, 3, padding=1), nn.Conv2d(s, e, 1)  # not in the order they run
        self.squeeze = nn.Conv2d(i, s, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.squeeze(x))
        both = [F.relu(self.expand1(x)), F.relu(self.expand3(x))]
        return torch.cat(both[::-1] if self.exchanged else both, 1)


class Head(nn.Module):
    """A matrix (in, out), as Keras writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.bias = nn.Parameter(torch.randn(96, 7)), nn.Parameter(torch.randn(7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.kernel + self.bias


class FireNet(nn.Module):
    def __init__(
        self, ceil: bool = True, exchanged: bool = False, last: bool = False, own: bool = False, wide: bool = False
    ) -> None:
        super().__init__()
        self.last = last  # channels last, before the head
        self.features = nn.Sequential(
            nn.Conv2d(3, 5, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=ceil), Fire(5, 3, 4, exchanged)
        )
        self.features.append(Fire(8, 3, 4, False))
        head = Head() if own else nn.Conv2d(8, 7, (4, 3)) if wide else nn.Linear(96, 7)
        self.classifier = nn.Sequential(head, nn.PReLU(7), nn.Flatten(), nn.Linear(7, 4))
        self.wide = wide

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)
        return self.classifier(x if self.wide else (x.permute(0, 2, 3, 1) if self.last else x).flatten(1))


class Words(nn.Module):
    def __init__(self, ends_with: Any = torch.softmax) -> None:
        super().__init__()
        self.embed, self.one, self.two = nn.Embedding(11, 5), nn.Linear(15, 6), nn.Linear(6, 6)
        self.ends_with = ends_with

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.two(torch.tanh(self.one(self.embed(x).flatten(1))))
        return x if self.ends_with is None else self.ends_with(x, -1)


class Crnn(nn.Module):
    """As in crnn.pytorch: (T, N, classes) of pictures (N, 1, H, W)."""

    def __init__(self, batch_first: bool = False, hidden: int = 3) -> None:
        super().__init__()
        self.cnn = nn.Sequential(
            *(nn.Conv2d(1, 3, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2, 2)),
            *(nn.Conv2d(3, 5, (4, 2)), nn.BatchNorm2d(5), nn.ReLU()),
        )
        self.batch_first = batch_first
        self.both = nn.LSTM(5, 4, bidirectional=True, batch_first=batch_first)
        self.one = nn.LSTM(8, hidden, batch_first=batch_first)
        self.fc = nn.Linear(hidden, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.cnn(x).squeeze(2)
        x = x.permute(0, 2, 1) if self.batch_first else x.permute(2, 0, 1)
        y = self.fc(self.one(self.both(x)[0])[0])
        return y.transpose(0, 1) if self.batch_first else y
