"""load_converted(): the module of a folder that `convert` wrote, without the .t7 file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import nn

from ..base.errors import UsageError
from ..base.folder_files import CONFIG, WEIGHTS, read_config
from ..model import registry
from ..model.architecture import restore
from ..model.layer_runs import check_runs
from ..t7.limits import DEFAULT_LIMITS, Limits
from .config_schema import check_config, wrong
from .file_names import carry_names
from .scripting import make_scriptable


def load_converted(
    folder: str | Path,
    *,
    plugins: Iterable[str | Path] = (),
    limits: Limits = DEFAULT_LIMITS,
    device: str = "cpu",
) -> nn.Module:
    """The module of a folder that `Conversion.save` wrote, without the .t7 file.

    Nothing is made of what config.json says before model.safetensors has tensors of these sizes.

    Args:
        folder: holds model.safetensors and config.json.
        plugins: Python files that define the module classes of the user's own layers.
        limits: how much a run of the model may ask for.
        device: where its weights are put, such as "cuda".

    Returns:
        The module, each submodule in the mode in which it was saved.

    Raises:
        UsageError: the folder is no such folder, or its files do not fit together; it says in which place.
        LimitExceeded: one run of the model is more runs of layers than the limits allow.
    """
    path = Path(folder)
    for plugin in plugins:
        registry.load_plugin(plugin)
    config = read_config(path)
    check_config(config)
    try:
        with safetensors.safe_open(path / WEIGHTS, framework="pt", device=device) as file:
            module = restore(config["architecture"], tensors=len(file.keys()))
            check_runs(module, limits)
            wanted = module.state_dict(keep_vars=True)
            _check_sizes(config["tensors"], wanted, file)
            _check_names(config, wanted, module)
            # copies, since the speed and the last bits of a sum depend on the alignment of its numbers
            tensors = {place: file.get_tensor(place).clone() for place in dict.fromkeys(config["tensors"].values())}
        module.load_state_dict({name: tensors[place] for name, place in config["tensors"].items()}, assign=True)
    except (OSError, RuntimeError, ValueError, safetensors.SafetensorError) as error:
        raise UsageError(f"{path / WEIGHTS} does not fit {CONFIG}: {error}") from error
    for name, first in config["tied"].items():
        owner, _, attribute = name.rpartition(".")
        first_owner, _, first_attribute = first.rpartition(".")
        setattr(module.get_submodule(owner), attribute, getattr(module.get_submodule(first_owner), first_attribute))
    for name in config.get("frozen", []):  # folders of models without such layers have no such entry
        module.get_parameter(name).requires_grad_(False)
    carry_names(module, config["tensors"])
    make_scriptable(module)
    training = set(config["training"])
    for name, submodule in module.named_modules():
        submodule.training = name in training
    return module


def _check_names(config: Mapping[str, Any], wanted: Mapping[str, torch.Tensor], module: nn.Module) -> None:
    """Checks that only modules train, only parameters are frozen, only tensors are tied, and only what is alike."""
    modules = {name for name, _ in module.named_modules(remove_duplicate=False)}
    for i, name in enumerate(config["training"]):
        if name not in modules:
            raise wrong(f"training[{i}]", "the name of a module of the model")
    for i, name in enumerate(config.get("frozen", [])):
        if not isinstance(wanted.get(name), nn.Parameter):
            raise wrong(f"frozen[{i}]", "the name of a parameter of the model")
    for name, first in config["tied"].items():
        if name not in wanted or first not in wanted:
            raise wrong(f"tied.{name}", "the names of two tensors of the model")
        one, other = wanted[name], wanted[first]
        if (one.shape, isinstance(one, nn.Parameter)) != (other.shape, isinstance(other, nn.Parameter)):
            raise wrong(f"tied.{name}", f"the names of two tensors of one size and kind, and not {first}")


def _check_sizes(places: Mapping[str, str], wanted: Mapping[str, torch.Tensor], file: Any) -> None:
    """Checks that every tensor of the module has a place, and the size that the header of model.safetensors tells."""
    if places.keys() != wanted.keys():
        other = min(places.keys() ^ wanted.keys())
        raise UsageError(f"{CONFIG}: tensors and architecture do not fit together at {other}.")
    held = set(file.keys())
    for name, place in places.items():
        if place not in held:
            raise wrong(f"tensors.{name}", f"the name of a tensor of {WEIGHTS}, which has no {place}")
        size = tuple(file.get_slice(place).get_shape())
        if size != tuple(wanted[name].shape):
            raise UsageError(
                f"{CONFIG}: {name} has the size {tuple(wanted[name].shape)}, and {WEIGHTS} has {size} under {place}."
            )
