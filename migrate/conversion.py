"""Conversion: the converted module, where it comes from, and how it is saved and loaded."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from . import registry
from .architecture import describe, restore
from .build import Build, LayerRecord, Region
from .errors import Refusal, UsageError
from .t7 import Value

CONFIG = "config.json"
WEIGHTS = "model.safetensors"

#: Version of the layout of config.json.
CONFIG_VERSION = 1


@dataclass(frozen=True)
class Provenance:
    """The file that a model comes from.

    Attributes:
        file: its name, without the folder; None for a value that was never a file.
        sha256: of the whole file, in hexadecimal.
        format: "binary" or "ascii".
        long_size: bytes of a long in a binary file; None if no long told.
        functions: how many Lua functions the file holds (they are never run).
    """

    file: str | None = None
    sha256: str | None = None
    format: str | None = None
    long_size: int | None = None
    functions: int = 0


@dataclass
class Conversion:
    """A converted model.

    Attributes:
        module: called with one argument, as in Torch7: a tensor, or a nested list of tensors. A criterion is called
            with input and target.
        value: all that the file holds, as `load()` gives it.
        key: where in it the model was found; "" is the top.
        layers: one record per converted Torch7 object, in the order of the model.
        notes: (Torch7 path, remark) pairs worth knowing.
        refusals: the layers that were not converted (only with `allow_unsupported`).
        provenance: the file it comes from.
        build: how it was made.
    """

    module: nn.Module
    value: Value
    key: str
    layers: list[LayerRecord]
    notes: list[tuple[str, str]]
    refusals: list[Refusal]
    provenance: Provenance
    build: Build

    @property
    def unread(self) -> dict[str, list[str]]:
        """Fields that no converter read and that are no training leftovers, by Torch7 path."""
        return {record.path: record.unread for record in self.layers if record.unread}

    @property
    def classes(self) -> dict[str, int]:
        """How many objects of each Torch7 class were converted, sorted by class."""
        return dict(sorted(Counter(record.typename for record in self.layers).items()))

    def module_names(self) -> dict[str, str]:
        """Torch7 path -> name of the module in `module.named_modules()`, for every path of every layer."""
        names = {id(module): name for name, module in self.module.named_modules()}
        return {
            path: names[id(record.module)]
            for record in self.layers
            if id(record.module) in names
            for path in record.paths
        }

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        """Writes model.safetensors and config.json into a new folder.

        The folder appears whole or not at all, and two runs write the same bytes.

        Args:
            folder: must not exist, unless `force` allows to replace it.
            force: replace an existing folder.

        Raises:
            UsageError: the folder exists.
        """
        with output_folder(folder, force=force) as made:
            self.write(made)
        return Path(folder)

    def write(self, folder: Path) -> None:
        """Writes model.safetensors and config.json into an existing folder."""
        names = canonical_names(self.module)
        state = self.module.state_dict(keep_vars=True)
        tensors = {name: tensor.detach().contiguous() for name, tensor in state.items() if names[name] == name}
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        (folder / WEIGHTS).chmod(0o644)  # safetensors leaves it to its owner alone
        (folder / CONFIG).write_text(json.dumps(self.config(), indent=1, ensure_ascii=True, sort_keys=False) + "\n")

    def config(self) -> dict[str, Any]:
        """What config.json holds."""
        names = canonical_names(self.module)
        return {
            "format": "torchmigrate",
            "format_version": CONFIG_VERSION,
            "source": {
                "file": self.provenance.file,
                "sha256": self.provenance.sha256,
                "format": self.provenance.format,
                "long_size": self.provenance.long_size,
                "key": self.key,
                "lua_functions": self.provenance.functions,
            },
            "versions": {name: version(name) for name in ("torchmigrate", "torch", "safetensors")},
            "torch7_classes": self.classes,
            "layers": [
                {"path": record.path, "class": record.typename, "module": name}
                for record, name in self._named_records()
            ],
            "notes": [list(note) for note in self.notes],
            "unread_fields": self.unread,
            "not_converted": [asdict(refusal) for refusal in self.refusals],
            "tied": {name: first for name, first in names.items() if name != first},
            "training": [name for name, module in self.module.named_modules() if module.training],
            "architecture": describe(self.module),
        }

    def _named_records(self) -> Iterator[tuple[LayerRecord, str | None]]:
        names = self.module_names()
        for record in self.layers:
            yield record, names.get(record.path)

    def gradients_by_region(self) -> dict[Region, tuple[str, str, torch.Tensor | None]]:
        """Gradients in Torch7's own layout, after `run_tracked(...)` and a backward pass.

        Returns:
            Torch7 tensor (id of its storage, offset, size, stride) -> (Torch7 path, field, gradient); the gradient is
            None where none arrived.
        """
        return {region: (source.path, source.field, source.leaf.grad) for region, source in self.build.sources.items()}

    def run_tracked(self, *args: Any) -> Any:
        """Runs the module such that a backward pass reaches the parameters in Torch7's layout (`track_gradients`).

        Raises:
            UsageError: the model was converted without `track_gradients`.
        """
        if not self.build.track_gradients:
            raise UsageError("convert(..., track_gradients=True) is needed for gradients in Torch7's layout")
        live = {id(getattr(module, name)): value for module, name, value in self.build.live}
        replaced = {
            name: live[id(parameter)] for name, parameter in self.module.named_parameters() if id(parameter) in live
        }
        return torch.func.functional_call(self.module, replaced, args, tie_weights=True)


def canonical_names(module: nn.Module) -> dict[str, str]:
    """State dict name -> the first name under which the same tensor is found."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in module.state_dict(keep_vars=True).items()}


@contextmanager
def output_folder(folder: str | Path, *, force: bool = False) -> Iterator[Path]:
    """A temporary folder that takes the name `folder` when the block ends well, and vanishes otherwise.

    Raises:
        UsageError: `folder` exists and `force` is not set.
    """
    target = Path(folder)
    if target.exists() and not force:
        raise UsageError(f"{folder} exists already; --force (force=True) replaces it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield made
        made.chmod(0o755)
        if target.is_dir():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
            target.rename(old / target.name)
            made.rename(target)
            shutil.rmtree(old)
        else:
            if target.exists():
                target.unlink()
            made.rename(target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


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
        state = {name: tensor.clone() for name, tensor in load_file(path / WEIGHTS).items()}
        state.update({name: state[first] for name, first in config["tied"].items()})
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


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json in a folder that `Conversion.save` wrote.

    Raises:
        UsageError: it is missing, no JSON, or of another version.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} is no folder that torchmigrate wrote: {error}") from error
    if not isinstance(config, dict) or config.get("format") != "torchmigrate":
        raise UsageError(f"{folder / CONFIG} is not torchmigrate's.")
    if config.get("format_version") != CONFIG_VERSION:
        raise UsageError(
            f"{folder / CONFIG} has version {config.get('format_version')}; this torchmigrate reads {CONFIG_VERSION}."
        )
    return config
