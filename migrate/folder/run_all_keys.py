"""Converts every model of a file, each into a folder of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..base.errors import EXIT_OK, SEVERITY, NoModel, TorchMigrateError, UsageError
from ..base.files import reference_file
from ..base.messages import shell_words
from ..base.output_folder import check_folder
from ..model import registry
from ..model.locate import locate, networks
from ..t7 import load_file
from .from_lua import provided_by
from .run import ConvertedFolder, ConvertOptions, Progress, convert_file

#: What the folder of a model at the top is called.
_TOP = "model"
#: How many bytes its name may have, of the 255 that file systems take.
_LONGEST = 120


@dataclass
class ConvertedKeys:
    """What `torchmigrate convert --all-keys` did.

    Attributes:
        folder: in which the folders are.
        converted: key -> what was written.
        failed: key -> why its model was not converted.
    """

    folder: Path
    converted: dict[str, ConvertedFolder]
    failed: dict[str, TorchMigrateError]

    @property
    def exit_code(self) -> int:
        """The worst of all."""
        codes = {result.exit_code for result in self.converted.values()}
        codes |= {error.exit_code for error in self.failed.values()}
        return next((code for code in SEVERITY if code in codes), EXIT_OK)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        errors = {
            key: {"type": type(error).__name__, "message": shell_words(str(error)), "exit_code": error.exit_code}
            for key, error in self.failed.items()
        }
        return {
            "folder": str(self.folder),
            "models": {key: result.to_json() for key, result in self.converted.items()},
            "failed": errors,
            "exit_code": self.exit_code,
        }


def convert_all_keys(file: Path, folder: Path, options: ConvertOptions, step: Progress) -> ConvertedKeys:
    """Converts every network of a file, also those in objects of classes that nobody knows; losses are left out.

    Args:
        file: the .t7 file.
        folder: where the folders are written, each named as the key of its model.
        options: those of the command, without a key.
        step: told what begins.

    Raises:
        NoModel: there is none.
        TorchMigrateError: the file can't be read.
        UsageError: a key was given as well, or nothing may be written to `folder`.
    """
    if options.key is not None:
        raise UsageError("--key chooses one model, --all-keys takes all of them: give one of the two.")
    inputs = [file, reference_file(options.reference), options.labels, *options.plugins]
    check_folder(folder, force=options.force, inputs=inputs, members=True)
    step("reading")
    for plugin in options.plugins:
        registry.load_plugin(Path(plugin))
    known = {
        *registry.all_converters(),
        *options.aliases,
        *provided_by(options.lua, options.lua_first, options.run_lua),
    }
    read = load_file(file, limits=options.limits)
    value = read.objects[0] if read.objects else None
    keys = [model.key for model in networks(value, known)]
    if not keys:
        try:
            locate(value, None, known)
        except NoModel as error:
            raise NoModel(f"{file.name}: {error}") from error
    del read, value
    done = ConvertedKeys(folder, {}, {})
    for key, name in zip(keys, _names(keys), strict=True):
        try:
            done.converted[key] = convert_file(file, folder / name, replace(options, key=key or None), step)
        except TorchMigrateError as error:
            done.failed[key] = error
    return done


def _names(keys: list[str]) -> list[str]:
    """Names of folders, which differ on every file system."""
    found: list[str] = []
    taken: set[str] = set()
    for key in keys:
        plain = re.sub(r"[^\w.-]+", "_", key).strip(".").encode()[:_LONGEST].decode("utf-8", "ignore") or _TOP
        name, number = plain, 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.lower())
        found.append(name)
    return found
