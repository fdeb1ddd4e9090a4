"""The architectures of torchvision, as narrow as the files of fixtures/match, made of torchvision's own parts."""

from __future__ import annotations

import warnings
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

#: Why tests that need torchvision are skipped; "" where it is there.
ABSENT = "" if find_spec("torchvision") else "torchvision is not installed (extra torchvision)"
#: Operators that a torchvision built for CUDA can't bring beside a PyTorch for CPUs, and needs when it is imported.
_OPERATORS = (
    *("deform_conv2d", "_deform_conv2d_backward", "ps_roi_align", "_ps_roi_align_backward", "ps_roi_pool"),
    *("_ps_roi_pool_backward", "roi_align", "_roi_align_backward", "roi_pool", "_roi_pool_backward"),
    *("qnms", "qroi_align"),
)


def models(name: str) -> Any:
    """A module of torchvision.models, whichever PyTorch torchvision was built for."""
    spec = find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    try:
        torch.ops.load_library(Path(spec.origin).with_name("_C.so"))
    except (OSError, RuntimeError):
        if not hasattr(torch.ops.torchvision, "nms"):
            for operator in _OPERATORS:
                torch.library.define(f"torchvision::{operator}", "(Tensor a) -> Tensor")
            torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(f"torchvision.models.{name}")


def narrow(n: int) -> int:
    return max(2, n // 16)


def resnet() -> nn.Module:
    block, net = models("resnet").Bottleneck, nn.Sequential()
    net.extend([nn.Conv2d(3, 4, 7, 2, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)])
    for i, planes, stride in ((4, 4, 1), (16, 4, 1), (16, 8, 2)):
        down = nn.Sequential(nn.Conv2d(i, 4 * planes, 1, stride, bias=False), nn.BatchNorm2d(4 * planes))
        net.append(block(i, planes, stride, down if i != 4 * planes else None))
    return net.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5)])


def vgg_bn() -> nn.Module:
    vgg = models("vgg")
    net = vgg.VGG(nn.Sequential(nn.Identity()), num_classes=5, init_weights=False)
    net.features = vgg.make_layers([4, "M", 8, "M"], batch_norm=True)
    net.classifier[0], net.classifier[3], net.classifier[6] = nn.Linear(392, 12), nn.Linear(12, 12), nn.Linear(12, 5)
    return net


def alexnet() -> nn.Module:
    net = models("alexnet").AlexNet(num_classes=5)
    for at, (i, o) in {0: (3, 4), 3: (4, 12), 6: (12, 24), 8: (24, 16), 10: (16, 16)}.items():
        old = net.features[at]
        net.features[at] = nn.Conv2d(i, o, old.kernel_size, old.stride, old.padding)
    net.avgpool = nn.AdaptiveAvgPool2d(1)
    net.classifier[1], net.classifier[4], net.classifier[6] = nn.Linear(16, 12), nn.Linear(12, 12), nn.Linear(12, 5)
    return net


def googlenet(**options: Any) -> nn.Module:
    module = models("googlenet")

    def unit(i: int, o: int, **settings: Any) -> nn.Module:
        return module.BasicConv2d(i if i == 3 else narrow(i), narrow(o), **settings)

    class Auxiliary(module.InceptionAux):
        def __init__(self, i: int, classes: int, dropout: float) -> None:
            super().__init__(i, classes, unit, dropout)
            self.fc1, self.fc2 = nn.Linear(128, 64), nn.Linear(64, classes)

    blocks = [unit, partial(module.Inception, conv_block=unit), Auxiliary]
    given = {"num_classes": 5, "aux_logits": False, "init_weights": False, **options}
    net = module.GoogLeNet(blocks=blocks, **given)
    net.fc = nn.Linear(64, 5)
    return net


def squeezenet() -> nn.Module:
    module = models("squeezenet")
    net = module.SqueezeNet(num_classes=5)
    net.features[0] = nn.Conv2d(3, 6, 7, 2)
    for at, part in enumerate(net.features):
        if isinstance(part, module.Fire):
            convs = [part.squeeze, part.expand1x1, part.expand3x3]
            net.features[at] = module.Fire(narrow(part.inplanes), *(narrow(conv.out_channels) for conv in convs))
    net.classifier[1] = nn.Conv2d(32, 5, 1)
    return net


def densenet() -> nn.Module:
    return models("densenet").DenseNet(
        growth_rate=4, block_config=(2, 1), num_init_features=6, bn_size=2, num_classes=5
    )
