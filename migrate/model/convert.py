"""convert_model(): from a .t7 file, or a value read from one, to a ConvertedModel."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ..base.errors import ModelNotFound, Refusal, UnsupportedLayers
from ..base.memory import is_out_of_memory
from ..base.messages import file_text
from ..t7 import LuaTable, Tensor, Value, load_file
from ..t7.limits import DEFAULT_LIMITS, Limits
from . import registry
from .build import Build, to_torch_tensor
from .conversion import ConvertedModel, Provenance
from .layer import FLOATING, MIXED_TYPES
from .layer_record import LayerRecord
from .layer_runs import check_runs
from .locate import listed, locate
from .memory.aliasing import settle_aliases
from .memory.rewriting import rewrite_overwritten
from .preprocessing import find_preprocessing
from .ties import tie_views
from .torchfile import adopt

Mode = Literal["eval", "saved"]


def convert_model(
    source: str | os.PathLike[str] | Value,
    *,
    key: str | None = None,
    mode: Mode = "eval",
    plugins: Iterable[str | os.PathLike[str]] = (),
    aliases: Mapping[str, str] | None = None,
    allow_unsupported: bool = False,
    track_gradients: bool = False,
    provided: Mapping[str, registry.Converter] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> ConvertedModel:
    """Converts a Torch7 model or criterion to PyTorch, as data; arguments and errors are those of `tm.convert`.

    `provided` has converters of this conversion alone, by class.
    """
    provenance, remark = Provenance(), ""
    if isinstance(source, (str, os.PathLike)):
        file = load_file(source, limits=limits)
        value, remark = file.objects[0] if file.objects else None, file.remark
        provenance = Provenance(
            file=file_text(Path(source).name),
            sha256=sha256(source),
            format=file.format,
            long_size=file.long_size,
            functions=file.functions,
        )
    else:
        value = adopt(source)
    for plugin in plugins:
        registry.load_plugin(Path(plugin))
    provided = dict(provided or {})
    known = {*registry.all_converters(), *(aliases or ()), *provided}
    try:
        candidate = locate(value, key, known)
    except ModelNotFound as error:  # a command reads several files
        raise type(error)(f"{provenance.file}: {error}" if provenance.file else str(error), error.keys) from error
    build = Build(
        aliases=dict(aliases or {}),
        allow_unsupported=allow_unsupported,
        track_gradients=track_gradients,
        provided=provided,
    )
    try:
        module = build.root(candidate.object)
    except UnsupportedLayers as error:
        if not candidate.held:
            raise
        raise UnsupportedLayers(error.refusals, listed(candidate.held, known)) from error
    check_runs(module, limits)
    for path, text in _settled_types(build.records):
        build.note(path, text)
    for path, text in [] if track_gradients else tie_views(build.places):  # each has its own gradient in Torch7
        build.note(path, text)
    overwritten, refused = rewrite_overwritten(build.records)
    if refused and not allow_unsupported:
        raise UnsupportedLayers(refused)
    overwritten += [(refusal.path, refusal.reason) for refusal in refused]
    for path, text in [*overwritten, *settle_aliases(build.records)]:
        build.note(path, text)
    set_training(module, build.records, mode)
    if remark:
        build.note("", remark)
    if candidate.remark:
        build.note("", candidate.remark)
    if candidate.others:
        build.note(
            "", f"the file holds other models too, which were not converted: {', '.join(candidate.others)} (--key)"
        )
    return ConvertedModel(
        module=module,
        value=value,
        key=candidate.key,
        layers=build.records,
        notes=build.notes,
        refusals=build.refusals,
        provenance=provenance,
        build=build,
        limits=limits,
        preprocessing=find_preprocessing(value, candidate.object),
        file=Path(source).absolute() if isinstance(source, (str, os.PathLike)) else None,
    )


def _settled_types(records: list[LayerRecord]) -> Iterator[tuple[str, str]]:
    """Gives layers with weights of another floating type than the others that of the model, as its `float()` does.

    Says which. A container computes nothing, and may well have been made with another type than what was put into it.
    """
    if any(record.object.get("outtype") is not None for record in records):  # one that changes types
        return
    innermost = {id(record.module): record for record in records}  # a layer may be all that one around it becomes
    weighted = [each for each in innermost.values() if any(True for _ in each.module.parameters(recurse=False))]
    types = Counter(dtype for record in weighted if (dtype := _type_of(record)) is not None)
    if len(types) < 2:
        return
    wanted = top if (top := _type_of(records[0])) in types else types.most_common(1)[0][0]
    for record in weighted:
        own = [*record.module.parameters(recurse=False)]
        if _type_of(record) not in (None, wanted) and any(tensor.dtype != wanted for tensor in own):
            record.module.to(wanted)
            theirs, models = (str(dtype).removeprefix("torch.") for dtype in (_type_of(record), wanted))
            both = f"its type is {theirs} where the model's is {models}, and was changed to that"
            yield record.path, f"{both}; {MIXED_TYPES}"


def _type_of(record: LayerRecord) -> torch.dtype | None:
    return FLOATING.get(str(record.object.get("_type")))


def set_training(module: nn.Module, records: list[LayerRecord], mode: Mode) -> None:
    """Puts every module in eval mode, or (mode "saved") in the mode of its own `train` field."""
    if mode == "eval":
        try:
            module.eval()
        except (RuntimeError, TypeError) as error:  # some layers work out a weight now, which the file's may not allow
            if is_out_of_memory(error):
                raise
            raise UnsupportedLayers([_refusal_of(records, error)]) from error
    else:
        # a layer that becomes several modules gives its flag to all; a container comes before its children
        for record in sorted(records, key=path_depth):
            for part in record.module.modules():  # no call of train(), which lets a layer forget its state
                part.training = record.train


def _refusal_of(records: list[LayerRecord], error: Exception) -> Refusal:
    """Names the innermost layer that can't be put in eval mode."""
    for record in sorted(records, key=path_depth, reverse=True):
        try:
            record.module.train().eval()
        except (RuntimeError, TypeError):
            break
    return Refusal(record.path, record.typename, f"it can't be put in evaluation mode: {error}")


def path_depth(record: LayerRecord) -> int:
    """How many steps below the model a layer is."""
    return len(record.path.split(".")) if record.path else 0


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def to_torch(value: Value) -> Any:
    """Makes torch values of a value from `load()`.

    Tensors become torch.Tensor (CUDA types on the CPU), list-like tables lists, other tables dicts, recursively; shared
    and cyclic tables stay so. Numbers, strings, booleans, objects and functions stay as they are.
    """
    return _to_torch(value, {})


def _to_torch(value: Value, seen: dict[int, Any]) -> Any:
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, Tensor):
        seen[id(value)] = to_torch_tensor(value)
        return seen[id(value)]
    if isinstance(value, LuaTable):
        if value.is_list:
            items: list[Any] = []
            seen[id(value)] = items
            items.extend(_to_torch(item, seen) for item in value.list())
            return items
        entries: dict[Any, Any] = {}
        seen[id(value)] = entries
        entries.update((key, _to_torch(item, seen)) for key, item in value.items())
        return entries
    return value
