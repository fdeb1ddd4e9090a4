"""OptimizerState: the state of a Torch7 optimizer, ready for the one of PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from ..base.errors import UsageError
from ..base.folder_files import OPTIMIZER, OPTIMIZER_TENSORS, read_config
from ..base.output_file import whole_file
from .torch7_rules import Torch7Adam, Torch7ASGD, Torch7NAG, Torch7SGD

#: Version of the layout of optimizer.json.
SETTINGS_VERSION = 1

#: The classes that a file may name.
CLASSES: dict[str, type[torch.optim.Optimizer]] = {
    **{
        f"torch.optim.{name}": getattr(torch.optim, name)
        for name in ("SGD", "Adam", "Adamax", "RMSprop", "Adagrad", "Adadelta", "ASGD")
    },
    **{f"torchmigrate.optim.{cls.__name__}": cls for cls in (Torch7SGD, Torch7Adam, Torch7NAG, Torch7ASGD)},
}


def class_name(cls: type[torch.optim.Optimizer]) -> str:
    """The name of an optimizer class as people write it."""
    return next(name for name, known in CLASSES.items() if known is cls)


class LearningRateDecay:
    """Torch7's `learningRateDecay`: the rate is divided by `1 + steps * decay`. For LambdaLR, which it is a factor of.

    An object rather than a function, so that the scheduler's state dict holds it.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def __call__(self, step: int) -> float:
        """The factor after so many steps."""
        return 1 / (1 + step * self.decay)


@dataclass(frozen=True)
class Group:
    """Parameters that are trained with the same options.

    Attributes:
        names: their names in `module.named_parameters()`.
        options: what differs from the options of the other groups, such as {"lr": 0.01}.
    """

    names: tuple[str, ...]
    options: Mapping[str, float]


@dataclass
class OptimizerState:
    """The state of a Torch7 optimizer, parameter by parameter.

    Attributes:
        method: its name in Torch7's optim, such as "adam".
        optimizer_class: the PyTorch class that goes on.
        options: arguments of its constructor; `lr` is the rate before any decay.
        groups: the parameters that are trained.
        tensors: name of a parameter -> its state, such as {"momentum_buffer": …}.
        decay: the learning rate is divided by `1 + steps * decay`; 0: it stays.
        steps: how many steps Torch7 made.
        not_trained: parameters of the PyTorch module that Torch7 did not train; the optimizer leaves them alone.
        notes: remarks worth knowing: doubts, and by how much the rules of the two libraries differ.
        key: where in the file the state was found; "" is the top.
        module: the converted model, or None.
    """

    method: str
    optimizer_class: type[torch.optim.Optimizer]
    options: dict[str, Any]
    groups: list[Group]
    tensors: dict[str, dict[str, torch.Tensor]]
    decay: float = 0.0
    steps: int = 0
    not_trained: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    key: str = ""
    module: nn.Module | None = field(default=None, repr=False)

    def optimizer(self, module: nn.Module | None = None) -> torch.optim.Optimizer:
        """A new optimizer over the parameters of a module, with the state of Torch7's.

        Args:
            module: the converted model (moved, or loaded again) or a copy of it; by default the one that was converted.

        Raises:
            UsageError: the module has no such parameters, or the options contradict each other.
        """
        given = module if module is not None else self.module
        if given is None:
            raise UsageError("Whose parameters? Pass the module: optimizer(module).")
        parameters = self._parameters(given)
        groups = [{"params": [parameters[name] for name in group.names], **self._rates(group)} for group in self.groups]
        try:
            made = self.optimizer_class(groups, **self.options)
        except ValueError as error:
            raise UsageError(f"The options of the optimizer's state don't fit together: {error}.") from error
        names = [name for group in self.groups for name in group.names]
        state = {i: _copied(self.tensors[name]) for i, name in enumerate(names) if self.tensors.get(name)}
        made.load_state_dict({"state": state, "param_groups": made.state_dict()["param_groups"]})
        return made

    def scheduler(self, optimizer: torch.optim.Optimizer) -> LambdaLR | None:
        """The decay of the learning rate, to be stepped after each `optimizer.step()`; None if the rate stays.

        Args:
            optimizer: from `optimizer()`.
        """
        if self.decay == 0:
            return None
        return LambdaLR(optimizer, LearningRateDecay(self.decay), last_epoch=self.steps - 1)

    def state_dict(self, module: nn.Module | None = None) -> dict[str, Any]:
        """What `optimizer().state_dict()` gives."""
        found: dict[str, Any] = self.optimizer(module).state_dict()
        return found

    def save(self, folder: str | Path) -> None:
        """Writes optimizer.json and optimizer.safetensors into a folder that `Conversion.save` wrote.

        Raises:
            UsageError: it is no such folder.
        """
        self.write(Path(folder), read_config(Path(folder))["tensors"])

    def write(self, folder: Path, names: Mapping[str, str] | None = None, *, force: bool = False) -> list[str]:
        """Writes optimizer.json and optimizer.safetensors into an existing folder.

        Args:
            folder: where to write.
            names: name of a parameter in the converted module -> its name in model.safetensors and model.py, as
                config.json has it under "tensors"; None: they are the same.
            force: replace existing files.

        Returns:
            The names of the two files.

        Raises:
            UsageError: a file exists and `force` is not set, or it can't be written.
        """
        places = {name: (names or {}).get(name, name) for group in self.groups for name in group.names}
        tensors = {
            f"{places[name]}.{key}": tensor.contiguous()
            for name, entries in self.tensors.items()
            for key, tensor in entries.items()
        }
        settings = {
            "format": "torchmigrate-optimizer",
            "format_version": SETTINGS_VERSION,
            "method": self.method,
            "class": class_name(self.optimizer_class),
            "options": self.options,
            "param_groups": [
                {"params": [places[name] for name in group.names], **group.options} for group in self.groups
            ],
            "learning_rate_decay": self.decay,
            "steps": self.steps,
            "not_trained": [(names or {}).get(name, name) for name in self.not_trained],
            "notes": self.notes,
            "key": self.key,
            "modules": {place: name for name, place in places.items()},
        }
        with whole_file(folder / OPTIMIZER_TENSORS, force=force) as part:
            save_file(tensors, part, metadata={"format": "pt"})
            part.chmod(0o644)  # safetensors leaves it to its owner alone
        with whole_file(folder / OPTIMIZER, force=force) as part:
            part.write_text(json.dumps(settings, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
        return [OPTIMIZER, OPTIMIZER_TENSORS]

    def _rates(self, group: Group) -> dict[str, float]:
        options = dict(group.options)
        if self.decay:
            # the rate as it is now, so that the optimizer is right without its scheduler too
            options["initial_lr"] = options.get("lr", self.options["lr"])
            options["lr"] = options["initial_lr"] * LearningRateDecay(self.decay)(self.steps)
        return options

    def _parameters(self, module: nn.Module) -> dict[str, nn.Parameter]:
        parameters = dict(module.named_parameters())
        for name in (name for group in self.groups for name in group.names):
            if name not in parameters:
                raise UsageError(
                    f"The module has no parameter {name!r}: pass the converted model, or one loaded from its folder."
                )
            for key, tensor in self.tensors.get(name, {}).items():
                if tensor.dim() > 0 and tensor.shape != parameters[name].shape:
                    raise UsageError(
                        f"{name} is of shape {tuple(parameters[name].shape)}, but its {key} of {tuple(tensor.shape)}."
                    )
        return parameters


def _copied(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies, since an optimizer changes its state in place."""
    return {name: tensor.clone() for name, tensor in tensors.items()}
