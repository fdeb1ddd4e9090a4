"""The form of config.json: what a folder from strangers may say, checked before any of it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..base.errors import UsageError
from ..base.folder_files import CONFIG

#: A part of config.json -> its form: a type, several, a list of one form, a dict of one form (under "*"), or of named
#: parts; None is allowed where NoneType is.
_NONE = type(None)
_SCHEMA: dict[str, Any] = {
    "source": {
        "file": (str, _NONE),
        "sha256": (str, _NONE),
        "format": (str, _NONE),
        "long_size": (int, _NONE),
        "key": str,
        "lua_functions": int,
    },
    "layers": [{"path": str, "class": str, "module": (str, _NONE)}],
    "notes": [[str]],
    "tensors": {"*": str},
    "tied": {"*": str},
    "training": [str],
    "architecture": dict,
}


def check_config(config: Mapping[str, Any]) -> None:
    """Checks the parts of config.json that are used.

    Raises:
        UsageError: a part is missing or of another form; it says which.
    """
    _check(config, _SCHEMA, "")
    _check(config.get("frozen", []), [str], "frozen")
    _check(config.get("architectures", []), [str], "architectures")
    _check(config.get("pipeline_tag", ""), str, "pipeline_tag")
    for i, layer in enumerate(config["layers"]):
        _check(layer.get("name", ""), str, f"layers[{i}].name")
    for i, note in enumerate(config["notes"]):
        if len(note) != 2:
            raise wrong(f"notes[{i}]", "a pair of texts")


def _check(value: Any, form: Any, place: str) -> None:
    if isinstance(form, list):
        if not isinstance(value, list):
            raise wrong(place, "a list")
        for i, item in enumerate(value):
            _check(item, form[0], f"{place}[{i}]")
    elif isinstance(form, dict):
        if not isinstance(value, dict):
            raise wrong(place, "an object")
        names = value if "*" in form else form
        for name in names:
            here = f"{place}.{name}" if place else str(name)
            if name not in value:
                raise UsageError(f"{CONFIG} lacks {here}.")
            _check(value[name], form.get("*", form.get(name)), here)
    elif not isinstance(value, form) or (isinstance(value, bool) and form is not bool):
        kinds = form if isinstance(form, tuple) else (form,)
        raise wrong(place, " or ".join(_WORDS[kind] for kind in kinds))


_WORDS = {str: "a text", int: "a whole number", dict: "an object", _NONE: "null"}


def wrong(place: str, expected: str) -> UsageError:
    """The error of a part that is of another form."""
    return UsageError(f"{CONFIG}: {place[:200]} should be {expected}.")
