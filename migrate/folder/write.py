"""The folder of a converted model: weights, source and config.json, written and read."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ..base.errors import UsageError
from ..base.files import make_folder
from ..model import registry
from ..model.architecture import describe, restore
from ..model.conversion import Conversion
from ..model.preprocessing import find_preprocessing
from ..shapes.infer import infer_input
from ..source.generate import Source, generate

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
SOURCE = "model.py"

#: Version of the layout of config.json.
CONFIG_VERSION = 1


def write(conv: Conversion, folder: Path, example: Any = None) -> str:
    """Writes model.safetensors, model.py and config.json into an existing folder.

    Args:
        conv: the converted model.
        folder: where to write.
        example: an input that the model accepts; by default one is found.

    Returns:
        Why there is no model.py, or why it follows the file module by module; "" if it is written as a person would.
    """
    source: Source | None = None
    try:
        source = source_of(conv, example)
        reason = source.reason
        (folder / SOURCE).write_text(source.text, encoding="utf-8")
    except UsageError as error:
        reason = str(error)
    if source is None:
        state = conv.module.state_dict()
        names = {name: name for name in state}
    else:
        state, names = source.state, source.names
    save_file(apart(state), folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # safetensors leaves it to its owner alone
    (folder / CONFIG).write_text(json.dumps(config_of(conv, names), indent=1, ensure_ascii=True) + "\n")
    return reason


def source_of(conv: Conversion, example: Any = None) -> Source:
    """The source of a model; see `generate`.

    Raises:
        UsageError: the model can't be written as source; it says why.
    """
    if conv.refusals:
        raise UsageError("there is no model.py: layers of the model were not converted")
    if conv.is_criterion:
        raise UsageError("there is no model.py: a criterion is called with input and target, which source can't show")
    if example is None:
        with suppress(UsageError):  # the source can still follow the file module by module
            example = infer_input(conv).value
    try:
        return generate(conv, example)
    except ValueError as error:
        raise UsageError(f"there is no model.py: {error}") from error


def apart(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors, none of which shares memory with another, as safetensors wants them."""
    seen: set[int] = set()
    found = {}
    for name, tensor in state.items():
        own = tensor.detach().contiguous()
        key = own.untyped_storage().data_ptr()
        found[name] = own.clone() if key in seen and own.numel() else own
        seen.add(key)
    return found


def config_of(conv: Conversion, names: Mapping[str, str]) -> dict[str, Any]:
    """What config.json holds.

    Args:
        conv: the converted model.
        names: name of a tensor in `conv.module` -> its name in model.safetensors.
    """
    first = canonical_names(conv.module)
    modules = conv.module_names()
    return {
        "format": "torchmigrate",
        "format_version": CONFIG_VERSION,
        "source": {
            "file": conv.provenance.file,
            "sha256": conv.provenance.sha256,
            "format": conv.provenance.format,
            "long_size": conv.provenance.long_size,
            "key": conv.key,
            "lua_functions": conv.provenance.functions,
        },
        "versions": {name: version(name) for name in ("torchmigrate", "torch", "safetensors")},
        "torch7_classes": conv.classes,
        "preprocessing": find_preprocessing(conv.value, conv.layers[0].object if conv.layers else None).to_json(),
        "layers": [
            {"path": record.path, "class": record.typename, "module": modules.get(record.path)}
            for record in conv.layers
        ],
        "notes": [list(note) for note in conv.notes],
        "unread_fields": conv.unread,
        "not_converted": [asdict(refusal) for refusal in conv.refusals],
        "tensors": dict(names),
        "tied": {name: other for name, other in first.items() if name != other},
        "training": [name for name, module in conv.module.named_modules() if module.training],
        "architecture": describe(conv.module),
    }


def canonical_names(module: nn.Module) -> dict[str, str]:
    """State dict name -> the first name under which the same tensor is found."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in module.state_dict(keep_vars=True).items()}


@contextmanager
def output_folder(folder: str | Path, *, force: bool = False) -> Iterator[Path]:
    """A temporary folder that takes the name `folder` when the block ends well, and vanishes otherwise.

    Raises:
        UsageError: `folder` exists and `force` is not set, or it can't be made.
    """
    target = Path(folder)
    if target.exists() and not force:
        raise UsageError(f"{folder} exists already; --force (force=True) replaces it.")
    make_folder(target.parent)
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


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json in a folder that `Conversion.save` wrote.

    Raises:
        UsageError: it is missing, no JSON, or of another version.
    """
    return read_settings(folder / CONFIG, "torchmigrate", CONFIG_VERSION)


def read_settings(file: Path, kind: str, known: int) -> dict[str, Any]:
    """The content of a JSON file that torchmigrate wrote.

    Args:
        file: its path.
        kind: what it calls itself under "format".
        known: the "format_version" that is understood.

    Raises:
        UsageError: it is missing, no JSON, another file's, or of another version.
    """
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file.parent} has no {file.name} that torchmigrate wrote: {error}") from error
    if not isinstance(found, dict) or found.get("format") != kind:
        raise UsageError(f"{file} is not torchmigrate's.")
    if found.get("format_version") != known:
        raise UsageError(f"{file} has version {found.get('format_version')}; this torchmigrate reads {known}.")
    return found
