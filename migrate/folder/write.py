"""The folder of a converted model: weights, source and config.json, written and read."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ..base.errors import UsageError
from ..base.folder_files import CONFIG, CONFIG_VERSION, PACKAGE, SOURCE, WEIGHTS
from ..base.json_values import compact_json
from ..base.tensor_trees import apply
from ..model.architecture import describe
from ..model.conversion import ConvertedModel
from ..model.registry import installed_plugins
from ..model.running.answers import ask
from ..model.tied_names import first_names
from ..shapes.infer import infer_input
from ..source.generate import Source, evaluating, generate
from .example_input import two_samples
from .file_names import carry_names
from .from_lua import running_lua, write_lua_layers
from .hub import with_hub
from .preprocess_source import write_preprocess
from .task import task_of


def write(
    conv: ConvertedModel,
    folder: Path,
    example: Any = None,
    *,
    hub: bool = False,
) -> str:
    """Writes model.safetensors, model.py and config.json into an existing folder.

    Args:
        conv: the converted model.
        folder: where to write.
        example: an input that the model accepts; by default one is found.
        hub: does the class of model.py extend `huggingface_hub.PyTorchModelHubMixin`?

    Returns:
        Why there is no model.py, or why it follows the file module by module; "" if it is written as a person would.
    """
    source: Source | None = None
    try:
        source = source_of(conv, example, hub=hub)
        reason = source.reason
        write_source(source, folder)
    except UsageError as error:
        reason = str(error)
    if source is None:
        state = conv.module.state_dict()
        names = {name: name for name in state}
    else:
        state, names = source.state, source.names
    first = first_names(state)
    names = {name: first[place] for name, place in names.items()}
    carry_names(conv.module, names)
    save_file(apart({name: state[name] for name in first.values()}), folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # safetensors leaves it to its owner alone
    write_lua_layers(conv.module, folder)
    write_preprocess(conv, folder)
    config = config_of(conv, names)
    if source is not None:
        config["architectures"] = [source.name]
    if source is not None and example is not None and conv.answers is not None:
        config.update(_pipeline_tag(conv, example))
    (folder / CONFIG).write_text(compact_json(config) + "\n")
    return reason


def _pipeline_tag(conv: ConvertedModel, example: Any) -> dict[str, str]:
    try:
        with evaluating(conv), torch.no_grad():
            answer = ask(conv.answers, conv.module, example, partial(_run, conv, example))
    except Exception:  # a layer may raise anything, and whether the model runs is the report's to say
        return {}
    task = task_of(conv, example, answer)
    return {"pipeline_tag": task} if task else {}


def _run(conv: ConvertedModel, value: Any) -> Any:
    return conv.module(apply(value, torch.clone))


def write_source(source: Source, folder: Path) -> None:
    """Writes model.py, and what makes the folder a package."""
    (folder / SOURCE).write_text(source.text, encoding="utf-8")
    names = sorted({"Model", source.name})
    lines = ['"""A model that was converted from Torch7."""', "", f"from .model import {', '.join(names)}", ""]
    (folder / PACKAGE).write_text("\n".join([*lines, f"__all__ = [{', '.join(map(quoted, names))}]", ""]))


def quoted(name: str) -> str:
    """A name as a string of Python."""
    return f'"{name}"'


def source_of(conv: ConvertedModel, example: Any = None, *, hub: bool = False) -> Source:
    """The source of a model; see `generate`.

    Raises:
        UsageError: the model can't be written as source; it says why.
    """
    if conv.refusals:
        raise UsageError("there is no model.py: layers of the model were not converted")
    if conv.is_criterion:
        raise UsageError("there is no model.py: a criterion is called with input and target, which source can't show")
    if kept := running_lua(conv):
        raise UsageError(f"there is no model.py: {kept}, which no source can hold")
    with suppress(UsageError):
        if example is None:  # the source can still follow the file module by module
            example = infer_input(conv).value
        example = two_samples(conv, example)
    try:
        source = generate(conv, example)
    except ValueError as error:
        raise UsageError(f"there is no model.py: {error}") from error
    return with_hub(source) if hub else source


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


def config_of(conv: ConvertedModel, names: Mapping[str, str]) -> dict[str, Any]:
    """What config.json holds.

    Args:
        conv: the converted model.
        names: name of a tensor in `conv.module` -> its name in model.safetensors.
    """
    first = canonical_names(conv.module)
    modules = conv.module_names()
    frozen = [name for name, p in conv.module.named_parameters() if p.is_floating_point() and not p.requires_grad]
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
        "versions": {name: version(name) for name in ("torchmigrate", "torch", "safetensors")} | installed_plugins(),
        "torch7_classes": conv.classes,
        "preprocessing": conv.preprocessing.to_json(),
        "layers": [
            {
                "path": record.path,
                "class": record.typename,
                **({"name": record.name} if record.name else {}),
                "module": modules.get(record.path),
            }
            for record in conv.layers
        ],
        "notes": [list(note) for note in conv.notes],
        "unread_fields": conv.unread,
        "not_converted": [asdict(refusal) for refusal in conv.refusals],
        "tensors": dict(names),
        "tied": {name: other for name, other in first.items() if name != other},
        **({"frozen": frozen} if frozen else {}),
        "training": [name for name, module in conv.module.named_modules() if module.training],
        "architecture": describe(conv.module),
    }


def canonical_names(module: nn.Module) -> dict[str, str]:
    """State dict name -> the first name under which the same tensor is found."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in module.state_dict(keep_vars=True).items()}
