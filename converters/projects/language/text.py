"""Layers of text networks: yoonkim/lstm-char-cnn, eladhoffer/recurrent.torch, facebook/fbcunn."""

from __future__ import annotations

import torch
from torch import nn

from ....model.layer import Layer
from ....model.registry import converts
from ....model.traits import Traits
from ...linear.lookup import LookupTable
from ..generation.generative import no_other_fields


class ScaleMatrix(nn.Module):
    """Multiplies (…, pos, length) by a weight (pos, length), number by number."""

    def __init__(self, positions: int, length: int) -> None:
        super().__init__()
        self.positions = positions
        self.length = length
        self.weight = nn.Parameter(torch.empty(positions, length))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight

    def extra_repr(self) -> str:
        return f"{self.positions}, {self.length}"


class ScaleEntries(nn.Module):
    """Multiplies each entry along the first dimension by a weight of its own."""

    def __init__(self, entries: int) -> None:
        super().__init__()
        self.entries = entries
        self.weight = nn.Parameter(torch.empty(entries))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight.reshape(-1, *(1 for _ in range(x.dim() - 1)))

    def extra_repr(self) -> str:
        return f"{self.entries}"


@converts("nn.Diag", traits=Traits(keeps_size=True, picture="weights"))
def diag(layer: Layer) -> ScaleMatrix | ScaleEntries:
    """nn.Diag(pos, length), of yoonkim/lstm-char-cnn

    Multiplies by the weight number by number. nn.Diag(nFeature) of koraykv/unsup is told by its weight, a vector: it
    multiplies each entry along the first dimension by one number.
    """
    layer.ignore("tmp", "tmpGrad")
    if layer.tensor("weight").dim() == 1:
        return layer.put_all(layer.make(ScaleEntries, layer.tensor("weight").numel()), "weight")
    return layer.put_all(layer.make(ScaleMatrix, *layer.tensor("weight").shape), "weight")


class TensorProduct(nn.Module):
    """Of [a (…, A), b (…, B)] the bilinear forms a W b + bias, (…, outputs)."""

    def __init__(self, size_a: int, size_b: int, outputs: int) -> None:
        super().__init__()
        self.size_a = size_a
        self.size_b = size_b
        self.outputs = outputs
        self.weight = nn.Parameter(torch.empty(outputs, size_a, size_b))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return nn.functional.bilinear(x[0], x[1], self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.size_a}, {self.size_b}, {self.outputs}"


@converts("nn.TensorProd", traits=Traits(picture="weights"))
def tensor_prod(layer: Layer) -> TensorProduct:
    """nn.TensorProd(vec1_size, vec2_size, output_size), of yoonkim/lstm-char-cnn

    Takes {a, b}, vectors or batches of them.
    """
    layer.ignore("tmp", "ab", "buffer", "buffer2")
    outputs, size_a, size_b = layer.tensor("weight").shape
    return layer.put_all(layer.make(TensorProduct, size_a, size_b, outputs), "weight", "bias")


class TimeAsBatch(nn.Module):
    """Runs a module on every entry of sequences (N, T, …)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.module(x.flatten(0, 1))
        return y.reshape(*x.shape[:2], *y.shape[1:])


@converts("nn.TemporalModule", traits=Traits(output="children", flow="chain"))
def temporal_module(layer: Layer) -> TimeAsBatch:
    """nn.TemporalModule(module), of eladhoffer/recurrent.torch

    Runs a module on every entry of sequences (N, T, …).
    """
    layer.ignore("_input", "_gradOutput")
    modules = layer.modules()
    return TimeAsBatch(modules[0] if len(modules) == 1 else nn.Sequential(*modules))


class Flip(nn.Module):
    """Reverses the order along `dim` (0-based)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flip(self.dim)

    def extra_repr(self) -> str:
        return f"{self.dim}"


@converts("nn.Reverse", traits=Traits(keeps_size=True))
def reverse(layer: Layer) -> Flip:
    """nn.Reverse([dim = 2]), of eladhoffer/recurrent.torch"""
    layer.ignore("reverseIdx")
    return Flip(layer.integer("dim", 2) - 1)


class LookupWithUnknown(nn.Module):
    """Rows of a weight by their 1-based index, zeros for one index.

    Args:
        num_embeddings: number of rows.
        embedding_dim: numbers of a row.
        features_first: a batch (N, T) becomes (N, D, T) rather than (N, T, D).
        unknown: 1-based index that has no row; 0: there is none.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, features_first: bool = False, unknown: int = 0) -> None:
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.features_first = features_first
        self.unknown = unknown
        self.weight = nn.Parameter(torch.empty(num_embeddings, embedding_dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.long()
        known = (rows != self.unknown).unsqueeze(-1)
        y = nn.functional.embedding(torch.where(known[..., 0], rows - 1, 0), self.weight) * known
        return y.transpose(1, 2) if self.features_first and y.dim() == 3 else y

    def extra_repr(self) -> str:
        sizes = f"{self.num_embeddings}, {self.embedding_dim}"
        return f"{sizes}, features_first={self.features_first}, unknown={self.unknown}"


@converts("nn.LookupTableGPU", traits=Traits(reads="indices", picture="weights"))
def lookup_table_gpu(layer: Layer) -> nn.Module:
    """nn.LookupTableGPU(nInput, nOutput, [featuresInDim2 = false]), of facebook/fbcunn"""
    layer.ignore("nInput", "nOutput", "zeros")
    rows, size = layer.tensor("weight").shape
    first, unknown = layer.flag("featuresInDim2", default=False), layer.integer("unk_index", 0)
    if not first and not unknown:
        return layer.put(layer.make(LookupTable, rows, size), "weight")
    return layer.put(layer.make(LookupWithUnknown, rows, size, first, unknown), "weight")


class MaskedLoss(nn.Module):
    """Of [log probabilities (N, C), targets (N)] the loss, how many targets are the likeliest, and how many count.

    The loss is the mean over all; targets (1-based) that are 0 don't count.
    """

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        scores, targets = x
        counts = targets != 0
        index = torch.where(counts, targets.long() - 1, 0)
        chosen = scores.gather(1, index.unsqueeze(1)).squeeze(1)
        right = counts & (chosen == scores.max(1).values)
        loss = -torch.where(counts, chosen, 0).sum() / targets.shape[0]
        return [loss, right.sum().to(scores.dtype), counts.sum().to(scores.dtype)]


@converts("MaskedLoss", traits=Traits(reuses="nothing"))
def masked_loss(layer: Layer) -> MaskedLoss:
    """MaskedLoss(), of wojciechz/learning_to_execute

    Takes {log probabilities, targets}; targets that are 0 don't count. Gives the loss, how many targets are the
    likeliest of all, and how many count.
    """
    no_other_fields(layer)
    return MaskedLoss()


class HierarchicalLoss(nn.Module):
    """The negative log likelihood of a target's cluster, and of its place in the cluster, each a mean over the batch.

    Args:
        clusters: gives the log probabilities of the clusters (N, clusters) of the input (N, D).
        classes: gives the log probabilities of the places in a cluster, of [input, cluster of each sample].
        targets: how many there are.
    """

    mapping: torch.Tensor

    def __init__(self, clusters: nn.Module, classes: nn.Module, targets: int) -> None:
        super().__init__()
        self.clusters = clusters
        self.classes = classes
        self.targets = targets
        self.register_buffer("mapping", torch.empty(targets, 2, dtype=torch.int64))

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        placed = self.mapping[target.reshape(-1).long() - 1]
        cluster = self.clusters(x).gather(1, placed[:, :1] - 1)
        within = self.classes([x, placed[:, 0]]).reshape(x.shape[0], -1).gather(1, placed[:, 1:] - 1)
        loss: torch.Tensor = -(cluster.mean() + within.mean())
        return loss

    def extra_repr(self) -> str:
        return f"targets={self.targets}"


CLUSTERS = Traits(criterion=True, children=("cluster_model", "class_model"))


@converts("nn.HLogSoftMax", traits=CLUSTERS)
def hierarchical_log_soft_max(layer: Layer) -> HierarchicalLoss:
    """nn.HLogSoftMax(mapping, input_size), of yoonkim/lstm-char-cnn

    A criterion with parameters: the negative log likelihood of the target's cluster and of its place there.
    """
    layer.ignore("input_size", "n_classes", "n_clusters", "n_class_in_cluster", "n_max_class_in_cluster", "batch_size")
    layer.ignore("class_bias", "class_weight")
    for name in ("logLossCluster", "logLossClass"):
        if getattr(layer.value(name), "typename", "") != "nn.ClassNLLCriterion":
            layer.refuse(f"its {name} is no nn.ClassNLLCriterion")
    mapping = layer.tensor("mapping").detach().long()
    parts = layer.module("cluster_model"), layer.module("class_model")
    return layer.put(layer.make(HierarchicalLoss, *parts, mapping.shape[0]), "mapping", mapping)
