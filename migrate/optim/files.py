"""The state of an optimizer as files beside the weights: optimizer.json and optimizer.safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..base.errors import UsageError
from ..base.folder_files import CONFIG, OPTIMIZER, OPTIMIZER_TENSORS, read_config, read_settings
from ..base.output_file import Inputs, check_file
from ..base.output_folder import OPTIMIZER_STATE, check_folder, output_folder
from ..model.conversion import ConvertedModel
from .state import CLASSES, SETTINGS_VERSION, Group, OptimizerState


def save_optimizer(state: OptimizerState, folder: Path, source: ConvertedModel, *, force: bool = False) -> list[str]:
    """Writes the state into a new folder, or beside the model in the folder that `convert` wrote of the same file.

    Args:
        state: from `convert_optimizer`.
        folder: where to write.
        source: the conversion of the model.
        force: replace a state that is there already.

    Returns:
        The names of the two files.

    Raises:
        UsageError: the folder is something else, or holds another model, or a state already.
    """
    if not (folder / CONFIG).is_file():
        with output_folder(folder, OPTIMIZER_STATE, force=force, inputs=[source.file]) as made:
            return state.write(made)
    config = read_config(folder)
    if config["source"]["sha256"] != source.provenance.sha256 or config["source"]["key"] != source.key:
        raise UsageError(f"{folder} holds another model than this one; write elsewhere with -o.")
    check_optimizer_folder(folder, force=force)
    return state.write(folder, config["tensors"], force=force)


def check_optimizer_folder(folder: Path, *, force: bool, inputs: Inputs = ()) -> None:
    """Stops before work is done for nothing.

    Raises:
        UsageError: nothing may be written to this folder.
    """
    if not (folder / CONFIG).is_file():
        check_folder(folder, force=force, inputs=inputs)
        return
    for name in (OPTIMIZER, OPTIMIZER_TENSORS):
        check_file(folder / name, force=force, inputs=inputs)


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """Options of an optimizer, with `betas` as the pair that PyTorch takes.

    Raises:
        ValueError: one is no number, and neither true nor false.
    """
    found = {name: tuple(value) if name == "betas" else value for name, value in given.items()}
    for name, value in found.items():
        for part in value if isinstance(value, tuple) else [value]:
            if not isinstance(part, (int, float)) or not abs(part) < 2**53:
                raise ValueError(f"{name} is {str(value)[:100]}")
    return found


def _steps(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**53:
        raise ValueError(f"steps is {str(value)[:100]}")
    return value


def load_optimizer(folder: str | Path, module: nn.Module) -> OptimizerState:
    """Reads what `OptimizerState.write` wrote.

    Args:
        folder: holds optimizer.json and optimizer.safetensors.
        module: the model, from `load_converted` or from `Model.from_pretrained` of model.py.

    Raises:
        UsageError: the files are missing or damaged, or belong to another model.
    """
    path = Path(folder)
    settings = read_settings(path / OPTIMIZER, "torchmigrate-optimizer", SETTINGS_VERSION)
    try:
        tensors = load_file(path / OPTIMIZER_TENSORS)
        own = {name for name, _ in module.named_parameters()}
        places = {place: place for place in settings["modules"]}
        if not own.issuperset(places):
            places = dict(settings["modules"])
        found: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            place, _, key = name.rpartition(".")
            found.setdefault(places[place], {})[key] = tensor.clone()
        options = {"lr": settings["options"]["lr"], **_options(settings["options"])}
        groups = [
            Group(
                tuple(places[place] for place in group["params"]),
                _options({key: value for key, value in group.items() if key != "params"}),
            )
            for group in settings["param_groups"]
        ]
        state = OptimizerState(
            method=settings["method"],
            optimizer_class=CLASSES[settings["class"]],
            options=options,
            groups=groups,
            tensors=found,
            decay=float(settings["learning_rate_decay"]),
            steps=_steps(settings["steps"]),
            not_trained=tuple(settings["not_trained"]),
            notes=list(settings["notes"]),
            key=settings["key"],
            module=module,
        )
    except (OSError, LookupError, TypeError, ValueError, AttributeError, OverflowError, SafetensorError) as error:
        raise UsageError(
            f"{OPTIMIZER} and {OPTIMIZER_TENSORS} in {folder} are damaged: {type(error).__name__}: {error}."
        ) from error
    missing = [name for group in groups for name in group.names if name not in own]
    if missing:
        raise UsageError(f"The optimizer in {folder} is for another model: this one has no parameter {missing[0]!r}.")
    return state
