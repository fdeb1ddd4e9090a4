"""The hierarchical softmax of package nnx."""

from __future__ import annotations

import torch
from torch import nn

from ...model.layer import Layer
from ...model.registry import converts
from ...model.traits import Traits


class SoftMaxTree(nn.Module):
    """Log probability of target nodes: the sum over the path to the root of log softmaxes over siblings.

    The input is the list of a batch (N, inputs) and target node ids (N), 1-based.

    Args:
        inputs: size of a sample.
        nodes: how many nodes have a parent.
        families: how many nodes have children.
        ids: the largest node id.
        depth: length of the longest path.
    """

    family: torch.Tensor
    path: torch.Tensor

    def __init__(self, inputs: int, nodes: int, families: int, ids: int, depth: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.nodes = nodes
        self.families = families
        self.ids = ids
        self.depth = depth
        self.weight = nn.Parameter(torch.empty(nodes, inputs))
        self.bias = nn.Parameter(torch.empty(nodes))
        self.register_buffer("family", torch.empty(nodes, dtype=torch.long))  # the family of each row of weight
        self.register_buffer("path", torch.empty(ids, depth, dtype=torch.long))  # rows of weight; -1: the path ended

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        scores = nn.functional.linear(x[0], self.weight, self.bias)
        family = self.family.expand(scores.shape)
        empty = scores.new_zeros(scores.shape[0], self.families)
        largest = empty.scatter_reduce(1, family, scores.detach(), "amax", include_self=False)
        shifted = scores - largest.gather(1, family)
        total = empty.scatter_add(1, family, shifted.exp())
        log_softmax = shifted - total.log().gather(1, family)
        path = self.path[x[1].long() - 1]
        return torch.where(path < 0, 0, log_softmax.gather(1, path.clamp(min=0))).sum(1)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in ("inputs", "nodes", "families", "ids", "depth"))


@converts("nn.SoftMaxTree", traits=Traits(reads="numbers", picture="weights"))
def soft_max_tree(layer: Layer) -> SoftMaxTree:
    """nn.SoftMaxTree(inputSize, hierarchy, [rootId = 1], [accUpdate], [static], [verbose])

    Torch7's CPU code approximates the exponential (to about 1e-5); here it is exact.
    """
    layer.ignore("accUpdate", "static", "updates", "batchSize", "hierarchy", "childIds", "parentIds")
    layer.ignore("nParentNode", "minNodeId", "maxNodeId", "maxParentId", "maxChildId", "maxFamily", "maxFamilyPath")
    layer.ignore("_nodeBuffer", "_multiBuffer", "_gradTarget", "maxDept")
    layer.ignore("_nodeUpdateHost", "_nodeUpdateCuda", "_paramUpdateHost", "_paramUpdateCuda", "momGradParams")
    layer.ignore("parentChildrenCuda", "childParentCuda")
    nodes, root = layer.integer("nChildNode"), layer.integer("rootId")
    family = torch.zeros(nodes, dtype=torch.long)
    starts: dict[int, int] = {}
    for parent, (start, count) in enumerate(layer.tensor("parentChildren").tolist(), 1):
        if count > 0:
            family[int(start) - 1 : int(start) - 1 + int(count)] = len(starts)
            starts[parent] = int(start) - 1
    parents = {child: (int(p), int(i)) for child, (p, i) in enumerate(layer.tensor("childParent").tolist(), 1) if p > 0}
    paths: dict[int, list[int]] = {}
    for child in parents:
        rows: list[int] = []
        node = child
        while node in parents and len(rows) <= nodes:
            parent, place = parents[node]
            rows.append(starts[parent] + place - 1)
            if parent == root:
                paths[child] = rows
                break
            node = parent
    depth = max(map(len, paths.values()), default=0)
    path = torch.full((max(parents, default=0), depth), -1)
    path[:, :1] = nodes  # out of range: nodes without a way to the root can't be targets
    for child, found in paths.items():
        path[child - 1, : len(found)] = torch.tensor(found)
    module = layer.make(SoftMaxTree, layer.integer("inputSize"), nodes, len(starts), path.shape[0], depth)
    layer.put_all(module, "weight", "bias")
    layer.put(module, "family", family, field="parentChildren")
    return layer.put(module, "path", path, field="childParent")
