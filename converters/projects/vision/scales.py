"""gaohuang/MSDNet: networks that look at an image at several scales, and answer several times."""

from __future__ import annotations

import torch
from torch import nn

from ....model.layer import Layer
from ....model.registry import converts
from ....model.traits import Traits


class ScalesOfImage(nn.ModuleList):
    """A list of feature maps: what the first module makes of an image, and each next one of the map before."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps: list[torch.Tensor] = []
        for module in self:
            maps.append(module(maps[-1] if maps else x))
        return maps


@converts("nn.MSDNet_Layer_first", traits=Traits(reads="images"))
def first_layer(layer: Layer) -> ScalesOfImage:
    """nn.MSDNet_Layer_first(nChannels, nOutChannels, opt), of gaohuang/MSDNet

    Gives a list of feature maps of an image, each smaller than the one before.
    """
    layer.ignore("opt", "nChannels", "nOutChannels")
    return ScalesOfImage(layer.modules())


class ScalesOfMaps(nn.ModuleList):
    """Goes on with a list of feature maps, each module with the map of its scale and the one before.

    Args:
        modules: of each scale that goes on.
        discard: the first module gets the map before too, and one scale ends.
    """

    def __init__(self, modules: list[nn.Module], discard: bool = False) -> None:
        super().__init__(modules)
        self.discard = discard

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        ahead = 1 if self.discard else 0
        given = [[x[i], x[i - 1], x[i]] if i else [x[0], x[0]] for i in range(ahead, ahead + len(self))]
        return [module(maps) for module, maps in zip(self, given, strict=True)]

    def extra_repr(self) -> str:
        return f"discard={self.discard}"


@converts("nn.MSDNet_Layer")
def next_layer(layer: Layer) -> ScalesOfMaps:
    """nn.MSDNet_Layer(nChannels, nOutChannels, opt, [inScales], [outScales]), of gaohuang/MSDNet

    Goes on with a list of feature maps; each scale gets the map of the one before too.
    """
    layer.ignore("opt", "nChannels", "nOutChannels", "nScales", "discard", "real_input", "gIn")
    modules = layer.modules()
    ending = layer.integer("inScales") - layer.integer("outScales")
    if len(modules) != layer.integer("outScales") or ending not in (0, 1):
        layer.refuse(f"it has {len(modules)} modules for {layer.integer('outScales')} scales, {ending} of which end")
    return ScalesOfMaps(modules, discard=ending == 1)


class AnswersOfBlocks(nn.ModuleList):
    """A list of answers: each block goes on with what the one before gave, and a classifier takes its last map.

    Args:
        modules: the blocks, then as many classifiers.
    """

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        blocks = len(self) // 2
        given: torch.Tensor | list[torch.Tensor] = x
        answers = []
        for i in range(blocks):
            given = self[i](given)
            answers.append(self[blocks + i](given[-1]))
        return answers


@converts("nn.JointTrainModule", traits=Traits(reads="images"))
def joint_train_module(layer: Layer) -> AnswersOfBlocks:
    """nn.JointTrainModule(nChannels, opt), of gaohuang/MSDNet

    A list of answers, one of the classifier behind each block.
    """
    layer.ignore("opt", "nChannels")
    modules = layer.modules()
    blocks = layer.integer("nBlocks")
    if len(modules) != 2 * blocks:
        layer.refuse(f"it has {len(modules)} modules for {blocks} blocks and their classifiers")
    return AnswersOfBlocks(modules)
