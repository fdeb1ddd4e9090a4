"""convert(): from a .t7 file, or a value read from one, to a `Conversion` that writes itself."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from torch import nn

from ..base.errors import UsageError
from ..base.output_folder import CONVERTED, output_folder
from ..model.conversion import ConvertedModel
from ..model.convert import Mode, convert_model
from ..model.running.features import Features, cut_after
from ..model.tied_names import first_names
from ..t7 import Value
from ..t7.limits import DEFAULT_LIMITS, Limits
from .example_input import example_of
from .file_names import carry_names
from .from_lua import provided_by
from .notebook import in_html, in_words
from .scripting import make_scriptable
from .write import source_of, write


class Conversion(ConvertedModel):
    """A converted model, which can be run, looked into by Torch7's paths, saved, and written as source."""

    def __call__(self, *args: Any) -> Any:
        """Runs `module`: with one tensor or nested list; a criterion with input and target."""
        return self.module(*args)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Moves or casts `module`, as `torch.nn.Module.to` does."""
        self.module.to(*args, **kwargs)
        return self

    def train(self, mode: bool = True) -> Self:
        """Puts `module` into training mode."""
        self.module.train(mode)
        return self

    def eval(self) -> Self:
        """Puts `module` into evaluation mode, in which it is after `convert`."""
        return self.train(False)

    def __getitem__(self, path: str | int) -> nn.Module:
        """What the layer at a Torch7 path became, such as `conv["6.1.2"]`; "" is the whole model.

        Raises:
            UsageError: there is no such layer.
        """
        return self.module.get_submodule(self.names_of([str(path)])[str(path)])

    def find(self, kind: str | type[nn.Module]) -> dict[str, nn.Module]:
        """The layers of a Torch7 class, or those that became a PyTorch class: Torch7 path -> module.

        Args:
            kind: such as "nn.Linear" or `torch.nn.Linear`.
        """
        return {
            record.path: record.module
            for record in self.layers
            if (record.typename == kind if isinstance(kind, str) else isinstance(record.module, kind))
        }

    def path_of(self, module: nn.Module) -> str:
        """The first Torch7 path of a layer, by what it became.

        Raises:
            KeyError: no layer became this module; it may be a part of one.
        """
        for record in self.layers:
            if record.module is module:
                return record.path
        raise KeyError(f"no layer of the model became this {type(module).__name__}")

    def features(self, paths: str | Sequence[str]) -> Features:
        """A module that gives what some layers give, by their Torch7 paths; it shares the weights.

        Raises:
            UsageError: there is no such layer; or, when it runs: a layer does not run by itself, or several times.
        """
        wanted = [paths] if isinstance(paths, str) else paths
        return Features(self.module, self.names_of(wanted))

    def cut(self, path: str) -> nn.Sequential:
        """The part of the model that ends with a layer, to put a new head on; it shares the weights.

        Raises:
            UsageError: there is no such layer, or it stands beside others, not after them.
        """
        return cut_after(self.module, self.names_of([path])[path], path)

    def __repr__(self) -> str:
        return in_words(self)

    def _repr_html_(self) -> str:
        return in_html(self)

    def _ipython_key_completions_(self) -> list[str]:
        return [path for record in self.layers for path in record.paths]

    def save(
        self,
        folder: str | Path,
        *,
        force: bool = False,
        example: Any = None,
        input_shape: Any = None,
        hub: bool = False,
    ) -> Path:
        """Writes model.safetensors, model.py and config.json into a new folder.

        The folder appears whole or not at all, and two runs write the same bytes.

        Args:
            folder: must not exist, be empty, or be one that torchmigrate wrote and `force` allows to replace.
            force: replace a folder that torchmigrate wrote; what else is in it is kept.
            example: an input of the model, a tensor or nested list, which shows in model.py which sizes are fixed;
                by default one is found.
            input_shape: its sizes instead: "2x3x224x224", "{2x10,2x20}", a tuple, or a nested list of tuples.
            hub: let the class of model.py extend `huggingface_hub.PyTorchModelHubMixin`.

        Raises:
            UsageError: the folder is something else, or is or holds the file that was converted, or can't be written;
                or the model does not take the example.
        """
        with output_folder(folder, CONVERTED, force=force, inputs=[self.file]) as made:
            write(self, made, example_of(self, example, input_shape), hub=hub)
        return Path(folder)

    def source(self, example: Any = None, *, input_shape: Any = None) -> str:
        """The model as plain PyTorch source: the text of model.py, which does not import torchmigrate.

        Args:
            example: an input that the model accepts; by default one is found. It shows which sizes are fixed.
            input_shape: its sizes instead, as `save` takes them.

        Raises:
            UsageError: the model can't be written as source; it says why.
        """
        return source_of(self, example_of(self, example, input_shape)).text


def convert(
    source: str | os.PathLike[str] | Value,
    *,
    key: str | None = None,
    mode: Mode = "eval",
    plugins: Iterable[str | os.PathLike[str]] = (),
    aliases: Mapping[str, str] | None = None,
    allow_unsupported: bool = False,
    track_gradients: bool = False,
    lua: Iterable[str | os.PathLike[str]] = (),
    lua_first: Iterable[str] = (),
    run_lua: Iterable[str] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> Conversion:
    """Converts a Torch7 model or criterion to PyTorch.

    Args:
        source: path of a `.t7` file, or a value from `load()` (or from `torchfile.load`).
        key: where the model is inside a checkpoint, such as "protos.rnn"; None looks for it.
        mode: "eval" gives the module in eval mode; with "saved" each submodule's `training` follows its own `train`
            field in the file (absent: False), e.g. frozen batch norms.
        plugins: Python files that register converters with `@torchmigrate.converts`.
        aliases: Torch7 class -> class whose converter is to be used, such as {"my.Rectifier": "nn.ReLU"}.
        allow_unsupported: put a module that raises when run where a layer can't be converted.
        track_gradients: keep `Conversion.parameter_gradients` possible, at the price of a second copy of the weights.
        lua: authors' Lua files; layers of classes that they define and no converter knows are converted from them.
        lua_first: classes of `lua` whose Lua is taken though a converter knows them.
        run_lua: of these classes, those whose layers stay in Lua, and run it in a process of their own.
        limits: how much the file, and a run of the model, may ask for.

    Raises:
        T7Error: the file can't be read, or asks for more than the limits allow (`LimitExceeded`).
        ModelNotFound: there is no model, or several; `key` chooses one.
        UnsupportedLayers: layers can't be converted: all of them, with their paths and the reasons.
    """
    conversion = Conversion(
        **vars(
            convert_model(
                source,
                key=key,
                mode=mode,
                plugins=plugins,
                aliases=aliases,
                allow_unsupported=allow_unsupported,
                track_gradients=track_gradients,
                provided=provided_by(lua, lua_first, run_lua),
                limits=limits,
            )
        )
    )
    make_scriptable(conversion.module)
    carry_names(conversion.module, ask=partial(_names, weakref.ref(conversion)))
    return conversion


def _names(conversion: weakref.ref[Conversion]) -> dict[str, str] | None:
    """The names that the tensors of a model have in model.safetensors, if it has a model.py."""
    conv = conversion()
    if conv is None:
        return None
    try:
        source = source_of(conv)
    except UsageError:
        return None
    first = first_names(source.state)
    return {name: first[place] for name, place in source.names.items()}
