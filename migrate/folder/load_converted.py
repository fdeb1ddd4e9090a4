"""load_converted(): the module of a folder that `convert` wrote, without the .t7 file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import safetensors
from safetensors.torch import load_file
from torch import nn

from ..base.errors import UsageError
from ..base.folder_files import CONFIG, WEIGHTS, read_config
from ..model import registry
from ..model.architecture import restore


def load_converted(folder: str | Path, *, plugins: Iterable[str | Path] = ()) -> nn.Module:
    """The module of a folder that `Conversion.save` wrote, without the .t7 file.

    Args:
        folder: holds model.safetensors and config.json.
        plugins: Python files that define the module classes of the user's own layers.

    Returns:
        The module, each submodule in the mode in which it was saved.

    Raises:
        UsageError: the folder is no such folder, or its files do not fit together.
    """
    path = Path(folder)
    for plugin in plugins:
        registry.load_plugin(plugin)
    config = read_config(path)
    module = restore(config["architecture"])
    try:
        # copies, since the speed and the last bits of a sum depend on the alignment of its numbers
        tensors = {name: tensor.clone() for name, tensor in load_file(path / WEIGHTS).items()}
        state = {name: tensors[place] for name, place in config["tensors"].items()}
        module.load_state_dict(state, strict=True, assign=True)
    except (OSError, KeyError, RuntimeError, safetensors.SafetensorError) as error:
        raise UsageError(f"{path / WEIGHTS} does not fit {CONFIG}: {error}") from error
    for name, first in config["tied"].items():
        owner, _, attribute = name.rpartition(".")
        first_owner, _, first_attribute = first.rpartition(".")
        setattr(module.get_submodule(owner), attribute, getattr(module.get_submodule(first_owner), first_attribute))
    training = set(config["training"])
    for name, submodule in module.named_modules():
        submodule.training = name in training
    return module
