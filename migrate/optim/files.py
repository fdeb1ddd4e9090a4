"""The state of an optimizer as files beside the weights: optimizer.json and optimizer.safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ..base.errors import UsageError
from ..base.files import refuse_existing, whole_file
from ..folder.write import output_folder, read_config, read_settings
from ..model.conversion import Conversion
from . import torch7_rules as exact
from .state import Group, OptimizerState

SETTINGS = "optimizer.json"
TENSORS = "optimizer.safetensors"

#: Version of the layout of optimizer.json.
SETTINGS_VERSION = 1

#: The classes that a file may name.
_CLASSES: dict[str, type[torch.optim.Optimizer]] = {
    **{
        f"torch.optim.{name}": getattr(torch.optim, name)
        for name in ("SGD", "Adam", "Adamax", "RMSprop", "Adagrad", "Adadelta", "ASGD")
    },
    **{
        f"torchmigrate.optim.{cls.__name__}": cls
        for cls in (exact.Torch7SGD, exact.Torch7Adam, exact.Torch7NAG, exact.Torch7ASGD)
    },
}


def write_optimizer(state: OptimizerState, folder: Path, names: Mapping[str, str] | None = None) -> list[str]:
    """Writes optimizer.json and optimizer.safetensors into an existing folder.

    Args:
        state: from `convert_optimizer`.
        folder: where to write.
        names: name of a parameter in the converted module -> its name in model.safetensors and model.py, as
            config.json has it under "tensors"; None: they are the same.

    Returns:
        The names of the two files.
    """
    places = {name: (names or {}).get(name, name) for group in state.groups for name in group.names}
    tensors = {
        f"{places[name]}.{key}": tensor.contiguous()
        for name, entries in state.tensors.items()
        for key, tensor in entries.items()
    }
    settings = {
        "format": "torchmigrate-optimizer",
        "format_version": SETTINGS_VERSION,
        "method": state.method,
        "class": class_name(state.optimizer_class),
        "options": state.options,
        "param_groups": [{"params": [places[name] for name in group.names], **group.options} for group in state.groups],
        "learning_rate_decay": state.decay,
        "steps": state.steps,
        "not_trained": [(names or {}).get(name, name) for name in state.not_trained],
        "notes": state.notes,
        "key": state.key,
        "modules": {place: name for name, place in places.items()},
    }
    with whole_file(folder / TENSORS) as part:
        save_file(tensors, part, metadata={"format": "pt"})
        part.chmod(0o644)  # safetensors leaves it to its owner alone
    with whole_file(folder / SETTINGS) as part:
        part.write_text(json.dumps(settings, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    return [SETTINGS, TENSORS]


def save_optimizer(state: OptimizerState, folder: Path, source: Conversion, *, force: bool = False) -> list[str]:
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
    if not folder.exists():
        with output_folder(folder) as made:
            return write_optimizer(state, made)
    config = read_config(folder)
    if config["source"]["sha256"] != source.provenance.sha256 or config["source"]["key"] != source.key:
        raise UsageError(f"{folder} holds another model than this one; write elsewhere with -o.")
    for name in (SETTINGS, TENSORS):
        refuse_existing(folder / name, force=force)
    return write_optimizer(state, folder, config["tensors"])


def class_name(cls: type[torch.optim.Optimizer]) -> str:
    """The name of an optimizer class as people write it."""
    return next(name for name, known in _CLASSES.items() if known is cls)


def load_optimizer(folder: str | Path, module: nn.Module) -> OptimizerState:
    """Reads what `write_optimizer` wrote.

    Args:
        folder: holds optimizer.json and optimizer.safetensors.
        module: the model, from `load_converted` or from `Model.from_pretrained` of model.py.

    Raises:
        UsageError: the files are missing or damaged, or belong to another model.
    """
    path = Path(folder)
    settings = read_settings(path / SETTINGS, "torchmigrate-optimizer", SETTINGS_VERSION)
    try:
        tensors = load_file(path / TENSORS)
        own = {name for name, _ in module.named_parameters()}
        places = {place: place for place in settings["modules"]}
        if not own.issuperset(places):
            places = dict(settings["modules"])
        found: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            place, _, key = name.rpartition(".")
            found.setdefault(places[place], {})[key] = tensor.clone()
        options = dict(settings["options"])
        if "betas" in options:
            options["betas"] = tuple(options["betas"])
        groups = [
            Group(
                tuple(places[place] for place in group["params"]),
                {key: value for key, value in group.items() if key != "params"},
            )
            for group in settings["param_groups"]
        ]
        state = OptimizerState(
            method=settings["method"],
            optimizer_class=_CLASSES[settings["class"]],
            options=options,
            groups=groups,
            tensors=found,
            decay=float(settings["learning_rate_decay"]),
            steps=int(settings["steps"]),
            not_trained=tuple(settings["not_trained"]),
            notes=list(settings["notes"]),
            key=settings["key"],
            module=module,
        )
    except (OSError, KeyError, TypeError, ValueError, AttributeError, safetensors.SafetensorError) as error:
        raise UsageError(
            f"{SETTINGS} and {TENSORS} in {folder} are damaged: {type(error).__name__}: {error}."
        ) from error
    missing = [name for group in groups for name in group.names if name not in own]
    if missing:
        raise UsageError(f"The optimizer in {folder} is for another model: this one has no parameter {missing[0]!r}.")
    return state
