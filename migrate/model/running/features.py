"""What single layers of a converted model give: as features, or as the end of a shorter model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from ...base.errors import UsageError
from ...base.tensor_trees import apply


class Features(nn.Module):
    """Runs a network, and gives what some of its layers gave.

    Its `forward` takes what the network takes, and returns the outputs by their Torch7 paths, in the order asked for.

    Args:
        network: the converted module.
        paths: Torch7 path -> name of the module in `network.named_modules()`.
    """

    def __init__(self, network: nn.Module, paths: Mapping[str, str]) -> None:
        super().__init__()
        self.network = network
        self.paths = dict(paths)

    def forward(self, given: Any) -> dict[str, Any]:
        """The outputs, copied where they are tensors, since a later layer may write into them.

        Raises:
            UsageError: a layer did not run once, so that it has no output, or several.
        """
        found: dict[str, list[Any]] = {path: [] for path in self.paths}
        handles = [
            self.network.get_submodule(name).register_forward_hook(partial(_keep, found[path]))
            for path, name in self.paths.items()
        ]
        try:
            self.network(given)
        finally:
            for handle in handles:
                handle.remove()
        for path, outputs in found.items():
            if len(outputs) != 1:
                runs = f"runs {len(outputs)} times in one run" if outputs else "is computed by the layers around it"
                raise UsageError(f"The layer at {path!r} {runs} of the model, so there is no one output to give.")
        return {path: outputs[0] for path, outputs in found.items()}

    def extra_repr(self) -> str:
        return ", ".join(map(repr, self.paths))


def _keep(outputs: list[Any], module: nn.Module, given: Any, output: Any) -> None:
    """A hook: keeps a copy of what a layer gives."""
    outputs.append(apply(output, torch.clone))


class FeatureList(Features):
    """The same as a list, as Torch7's tables are."""

    def forward(self, given: Any) -> list[Any]:  # type: ignore[override]  # an exported graph has outputs in order
        """The outputs in the order asked for.

        Raises:
            UsageError: a layer did not run once.
        """
        return list(super().forward(given).values())


def cut_after(network: nn.Module, name: str, path: str) -> nn.Sequential:
    """The part of a network that ends with one of its layers, which it shares with the network.

    Args:
        network: the converted module.
        name: of the layer in `network.named_modules()`.
        path: Torch7's, for the message.

    Raises:
        UsageError: the layer stands in something other than sequences of layers, so that it is no place to cut.
    """
    parts: list[nn.Module] = []
    module = network
    for step in filter(None, name.split(".")):
        if type(module) is not nn.Sequential:
            raise UsageError(
                f"There is no cut after {path}: it stands in a {type(module).__name__}, whose parts do not run one "
                f"after the other. conv.features([{path!r}]) gives its output."
            )
        children = list(module._modules.items())
        index = [key for key, _ in children].index(step)
        parts += [child for _, child in children[:index] if child is not None]
        module = module.get_submodule(step)
    return nn.Sequential(*parts, module)
