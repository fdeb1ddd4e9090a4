"""Makes the network that a command names: `package.module:callable`, or `file.py:Class`."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ..base.errors import UsageError


def load_target(words: str, arguments: Iterable[str] = ()) -> nn.Module:
    """Makes a network by calling what was named.

    Args:
        words: such as "torchvision.models:resnet18" or "model.py:Net".
        arguments: of the call, each "name=value"; the value is JSON, or else text.

    Raises:
        UsageError: there is no such thing, it fails, or it gives no `torch.nn.Module`.
    """
    place, colon, name = words.rpartition(":")
    if not colon or not place or not name:
        raise UsageError(f"--into takes package.module:callable or file.py:Class, not {words!r}")
    found: Any = _module(place)
    for part in name.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{place} has no {name}.")
        found = getattr(found, part)
    if isinstance(found, nn.Module):
        return found
    given = dict(map(_argument, arguments))
    try:
        made = found(**given)
    except Exception as error:  # the user's own code
        raise UsageError(
            f"{words} can't be made: {type(error).__name__}: {error}. --kwargs name=value gives it an argument."
        ) from error
    if not isinstance(made, nn.Module):
        raise UsageError(f"{words} gives a {type(made).__name__}, not a torch.nn.Module.")
    return made


def _module(place: str) -> ModuleType:
    is_file = place.endswith(".py")
    spec = importlib.util.spec_from_file_location(Path(place).stem, place) if is_file else None
    if is_file and not Path(place).is_file():
        raise UsageError(f"There is no file {place}.")
    try:
        if spec is None or spec.loader is None:
            return importlib.import_module(place)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code
        raise UsageError(f"{place} can't be imported: {type(error).__name__}: {error}.{_hint(place, error)}") from error
    return module


def _hint(place: str, error: Exception) -> str:
    """What to do where an import fails in a way that is known; else ""."""
    package = place.partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and not place.endswith(".py"):
        if error.name in (place, package):
            return " Install it into this environment; a file is given by its name, with .py."
        return ""
    if isinstance(error, RuntimeError) and "torchvision::nms" in str(error):
        return (
            f" This torchvision was built for another PyTorch than {torch.__version__}; install both from one place, "
            "such as https://download.pytorch.org/whl/cpu."
        )
    return ""


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"--kwargs takes name=value, not {text!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
