"""Converted from crnn_bisequencer.t7 (Torch7, sha256 b44204c60046…) by torchmigrate."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        updates = self.training and len(input) > 1  # Torch7 freezes it for one sample
        known = self.running_mean, self.running_var, self.weight, self.bias
        return nn.functional.batch_norm(input, *known, updates, self.momentum, self.eps)


class Scale(nn.Module):
    """Multiplies each feature by a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(10))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class LSTMCell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.forget_x = nn.Linear(16, 10)
        self.forget_h = nn.Linear(10, 10, bias=False)
        self.forget_c = Scale()
        self.input_x = nn.Linear(16, 10)
        self.input_h = nn.Linear(10, 10, bias=False)
        self.input_c = Scale()
        self.candidate_x = nn.Linear(16, 10)
        self.candidate_h = nn.Linear(10, 10, bias=False)
        self.output_x = nn.Linear(16, 10)
        self.output_h = nn.Linear(10, 10, bias=False)
        self.output_c = Scale()

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        f = self.forget_x(x) + self.forget_h(h) + self.forget_c(c)
        i = self.input_x(x) + self.input_h(h) + self.input_c(c)
        g = torch.tanh(self.candidate_x(x) + self.candidate_h(h))
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * g
        o = self.output_x(x) + self.output_h(h) + self.output_c(c)
        return torch.sigmoid(o) * torch.tanh(c), c


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = LSTMCell()

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        xs = x[::-1]
        h = xs[0].new_zeros(len(xs[0]), 10)
        c = xs[0].new_zeros(len(xs[0]), 10)
        outputs = []
        for step in xs:
            h, c = self.cell(step, h, c)
            outputs.append(h)
        return outputs[::-1]


class CrnnBisequencer(nn.Module):
    """Input: (N, 1, H, W) float32 (H such as 16 or 32, W such as 20 or 40).

    Output: (N, T, 11) float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3, padding=1),
            BatchNorm2d(12),
            nn.ReLU(),
            nn.MaxPool2d(2, stride=(2, 1), padding=(0, 1)),
            nn.Conv2d(12, 16, 2, stride=2),
            BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2, stride=(2, 1), padding=(0, 1)),
        )
        self.cell = LSTMCell()
        self.branch = Block()
        self.lstm = nn.LSTM(20, 10, bidirectional=True)
        self.linear = nn.Linear(20, 11)
        self.log_softmax = nn.LogSoftmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        torch._assert((x.dim() == 4) & (x.size(1) == 1), "not (N, 1, H, W)")
        x = self.features(x).flatten(2).transpose(1, 2).contiguous()
        xs = list(x.unbind(1))
        h = xs[0].new_zeros(len(xs[0]), 10)
        c = xs[0].new_zeros(len(xs[0]), 10)
        outputs = []
        for step in xs:
            h, c = self.cell(step, h, c)
            outputs.append(h)
        xs2 = [list(items) for items in zip(outputs, self.branch(xs), strict=True)]
        x = torch.stack([torch.cat(step, 1) for step in xs2])
        x, _ = self.lstm(x)
        xs3 = [self.linear(step) for step in x]
        xs3 = [self.log_softmax(step) for step in xs3]
        return torch.cat([step.unsqueeze(1) for step in xs3], 1)

    @classmethod
    def from_pretrained(cls, folder: str, device: str | None = None) -> "Model":
        """The model with the weights of a folder, in evaluation mode."""
        model = cls().eval()
        model.load_state_dict(load_file(f"{folder}/model.safetensors"))
        return model.to(device)


Model = CrnnBisequencer
