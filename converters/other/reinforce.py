"""Package dpnn: layers that draw samples, and learn by the reward that these bring (REINFORCE)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits


class RewardGradient(torch.autograd.Function):
    """Passes a sample on; the gradient is the slope of its log-likelihood times the reward, whatever comes back."""

    @staticmethod
    def forward(x: torch.Tensor, sample: torch.Tensor, slope: torch.Tensor, layer: nn.Module) -> torch.Tensor:
        return sample.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, _, slope, ctx.layer = inputs
        ctx.save_for_backward(slope)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        reward = ctx.layer.reward
        if reward is None:
            raise RuntimeError("set the attribute `reward`, one number per sample, before the backward pass")
        (slope,) = ctx.saved_tensors
        return -slope * reward.reshape(-1, *[1] * (slope.dim() - 1)), gradient, None, None


class ReinforceNormal(nn.Module):
    """A normal sample around its input in training; the input itself in evaluation.

    Its gradient is that of REINFORCE: `reward` (one number per sample) must be set before the backward pass.

    Args:
        stdev: standard deviation; None: the input is a list of mean and standard deviation.
        stochastic: sample in evaluation too.
    """

    def __init__(self, stdev: float | None = None, stochastic: bool = False) -> None:
        super().__init__()
        self.stdev = stdev
        self.stochastic = stochastic
        self.reward: torch.Tensor | None = None

    def forward(self, x: Any) -> torch.Tensor:
        mean: torch.Tensor = x if isinstance(x, torch.Tensor) else x[0]
        stdev: Any = self.stdev if isinstance(x, torch.Tensor) else x[1]
        if torch.compiler.is_exporting() and not (self.training or self.stochastic):
            return mean.clone()
        sample = mean.detach()
        if self.training or self.stochastic:
            sample = sample + torch.randn_like(sample) * (stdev.detach() if isinstance(stdev, torch.Tensor) else stdev)
        away = sample - mean.detach()
        if isinstance(stdev, torch.Tensor):
            deviation = stdev.detach()
            slope = (away.square() - deviation.square()) / (deviation.pow(3) + 1e-8)
            sample = RewardGradient.apply(stdev, sample, slope, self)  # type: ignore[no-untyped-call]
            slope = away / deviation.square()
        else:
            slope = away / stdev**2
        output: torch.Tensor = RewardGradient.apply(mean, sample, slope, self)  # type: ignore[no-untyped-call]
        return output

    def extra_repr(self) -> str:
        return f"stdev={self.stdev}, stochastic={self.stochastic}"


_LEFT = ("reward", "_reward", "__reward", "_index", "_uniform", "_div", "_stdev", "__stdev", "_stdev2")


def _stochastic(layer: Layer) -> bool:
    """The `stochastic` flag, with which a layer samples in evaluation too."""
    stochastic = layer.flag("stochastic", False)
    layer.traits(random=stochastic)
    return stochastic


@converts("nn.ReinforceNormal")
def reinforce_normal(layer: Layer) -> ReinforceNormal:
    """nn.ReinforceNormal([stdev], [stochastic = false])

    Set the module's `reward` before a backward pass; in Torch7 the criterion does that.
    """
    layer.trains()  # unless it is told otherwise
    layer.ignore(*_LEFT)
    stdev = layer.number("stdev") if layer.has("stdev") else None
    return ReinforceNormal(stdev, _stochastic(layer))


class ReinforceCategorical(nn.Module):
    """One-hot samples of rows of probabilities in training; the probabilities themselves in evaluation.

    Its gradient is that of REINFORCE: `reward` (one number per sample) must be set before the backward pass.

    Args:
        stochastic: sample in evaluation too.
    """

    def __init__(self, stochastic: bool = False) -> None:
        super().__init__()
        self.stochastic = stochastic
        self.reward: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sample = x.detach()
        if self.training or self.stochastic:
            sample = torch.zeros_like(x).scatter(1, torch.multinomial(x.detach(), 1), 1)
        if torch.compiler.is_exporting():
            return sample.clone()
        slope = sample / (x.detach() + 1e-8)
        output: torch.Tensor = RewardGradient.apply(x, sample, slope, self)  # type: ignore[no-untyped-call]
        return output

    def extra_repr(self) -> str:
        return f"stochastic={self.stochastic}"


@converts("nn.ReinforceCategorical", traits=Traits(safe_on_own_output=True))
def reinforce_categorical(layer: Layer) -> ReinforceCategorical:
    """nn.ReinforceCategorical([stochastic = false])

    Set the module's `reward` before a backward pass; in Torch7 the criterion does that.
    """
    if layer.has("bMomentum"):
        layer.refuse("it is shubhtuls/volumetricPrimitives' class of that name, whose answers hang on chance always")
    layer.trains()  # unless it is told otherwise
    layer.ignore(*_LEFT)
    return ReinforceCategorical(_stochastic(layer))


class ReinforceBernoulli(nn.Module):
    """Ones with the probabilities that come in, in training; the probabilities themselves in evaluation.

    Its gradient is that of REINFORCE: `reward` (one number per sample) must be set before the backward pass.

    Args:
        stochastic: sample in evaluation too.
    """

    def __init__(self, stochastic: bool = False) -> None:
        super().__init__()
        self.stochastic = stochastic
        self.reward: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        p = x.detach()
        sample = (torch.rand_like(p) < p).to(p.dtype) if self.training or self.stochastic else p
        if torch.compiler.is_exporting():
            return sample.clone()
        slope = (sample - p) / ((1 - p) * p)
        output: torch.Tensor = RewardGradient.apply(x, sample, slope, self)  # type: ignore[no-untyped-call]
        return output

    def extra_repr(self) -> str:
        return f"stochastic={self.stochastic}"


@converts("nn.ReinforceBernoulli", traits=Traits(safe_on_own_output=True))
def reinforce_bernoulli(layer: Layer) -> ReinforceBernoulli:
    """nn.ReinforceBernoulli([stochastic = false])

    Set the module's `reward` before a backward pass; in Torch7 the criterion does that.
    """
    layer.trains()  # unless it is told otherwise
    layer.ignore(*_LEFT)
    return ReinforceBernoulli(_stochastic(layer))


class NCE(nn.Module):
    """Noise-contrastive estimation over a linear layer; input: [x (N, in_features), targets (N,), 1-based].

    In training it gives a list: probabilities of the targets (N,) and of k noise samples (N, k) by the model, and by
    the noise. In evaluation it does the same, or, when `normalized`, gives (N, out_features) probabilities.

    Args:
        in_features, out_features: sizes of `weight`.
        k: noise samples.
        normalized: in evaluation, the softmax of all classes.
        log_softmax: its logarithm instead.
        batch_noise: the same noise samples for the whole batch.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        k: int,
        normalized: bool = False,
        log_softmax: bool = False,
        batch_noise: bool = True,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.k = k
        self.normalized = normalized
        self.log_softmax = log_softmax
        self.batch_noise = batch_noise
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        self.register_buffer("unigrams", torch.empty(out_features))
        self.register_buffer("z", torch.empty(1))
        self.unigrams: torch.Tensor
        self.z: torch.Tensor

    def forward(self, x: list[torch.Tensor]) -> Any:
        rows, targets = x[0], x[1].long() - 1
        if self.normalized and not self.training:
            scores = nn.functional.linear(rows, self.weight, self.bias)
            return scores.log_softmax(1) if self.log_softmax else scores.softmax(1)
        n = rows.shape[0]
        shape = (self.k,) if self.batch_noise else (n, self.k)
        noise = torch.multinomial(self.unigrams, self.k if self.batch_noise else n * self.k, True).reshape(shape)
        target = ((rows * self.weight[targets]).sum(1) + self.bias[targets]).exp()
        if self.batch_noise:
            sampled = (rows @ self.weight[noise].t() + self.bias[noise]).exp()
        else:
            sampled = (torch.einsum("nf,nkf->nk", rows, self.weight[noise]) + self.bias[noise]).exp()
        seen = sampled if self.batch_noise else torch.cat([target.unsqueeze(1), sampled], 1)
        fresh = seen.detach().mean() * self.out_features
        self.z = torch.where(self.z > 0, self.z, fresh)
        probabilities = self.unigrams.to(rows.dtype)
        return [target / self.z, sampled / self.z, probabilities[targets], probabilities[noise].expand(n, self.k)]

    def extra_repr(self) -> str:
        options = f"normalized={self.normalized}, log_softmax={self.log_softmax}, batch_noise={self.batch_noise}"
        return f"{self.in_features}, {self.out_features}, k={self.k}, {options}"


@converts("nn.NCEModule", traits=Traits(reads="numbers", picture="weights"))
def nce_module(layer: Layer) -> NCE:
    """nn.NCEModule(inputSize, outputSize, k, unigrams, [Z = -1])

    A normalization constant Z below 0 is taken from the first batch, as in Torch7.
    """
    layer.trains()  # unless it is told otherwise
    layer.ignore("aliasmultinomial", "linout", "sampleidx", "sampleprob", "_sampleidx", "_noiseidx", "_noiseprob")
    layer.ignore("_bias", "_pm", "_tgradOutput", "testedtargets", "_metaidx")
    outputs, inputs = layer.tensor("weight").shape
    normalized = layer.flag("normalized", False)
    layer.traits(random=not normalized)
    module = layer.make(
        NCE,
        inputs,
        outputs,
        layer.integer("k"),
        normalized,
        layer.flag("logsoftmax", False),
        layer.flag("batchnoise", False),
    )
    layer.put_all(module, "weight", "bias")
    layer.put(module, "unigrams", layer.tensor("unigrams").detach())
    return layer.put(module, "z", layer.tensor("Z").detach(), field="Z")
