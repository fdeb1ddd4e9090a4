"""Runs converted folders in a process that has no torchmigrate; prints what is wrong as JSON, by folder.

python run_alone.py FOLDER…    each holds model.py, model.safetensors and examples.pt: [(inputs, outputs), …]
"""

from __future__ import annotations

import importlib.util
import json
import pickle
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

sys.modules["torchmigrate"] = None  # type: ignore[assignment]  # an import of it fails


def load(folder: Path) -> Any:
    name = f"model_{folder.name}"
    spec = importlib.util.spec_from_file_location(name, folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def flat(value: Any) -> list[torch.Tensor]:
    return [value] if isinstance(value, torch.Tensor) else [item for part in value for item in flat(part)]


def check(model: Callable[..., Any], examples: list[Any]) -> None:
    for inputs, outputs in examples:
        got = flat(model(*(item.clone() if isinstance(item, torch.Tensor) else item for item in inputs)))
        assert len(got) == len(flat(outputs))
        for ours, theirs in zip(got, flat(outputs), strict=True):
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours.nan_to_num(), theirs.nan_to_num()), "the output differs"


def problems(folder: Path) -> dict[str, str]:
    examples = torch.load(folder / "examples.pt")
    module = load(folder)
    found: dict[str, str] = {}

    def new() -> torch.nn.Module:
        model: torch.nn.Module = module.Model.from_pretrained(str(folder))
        return model

    def strict() -> None:
        module.Model().load_state_dict(load_file(folder / "model.safetensors"))
        for example in examples:
            check(new(), [example])

    def exported() -> None:
        check(torch.export.export(new(), tuple(examples[0][0])).module(), examples[:1])

    def compiled() -> None:
        torch.compiler.reset()
        torch._dynamo.config.allow_rnn = True  # otherwise it refuses nn.LSTM, whoever wrote the model
        check(torch.compile(new(), fullgraph=True, backend="eager"), examples[:1])

    def pickled() -> None:
        check(pickle.loads(pickle.dumps(new())), examples[:1])

    with torch.no_grad():
        for step in (strict, exported, compiled, pickled):
            try:
                step()
            except Exception as error:
                line = traceback.extract_tb(error.__traceback__)[-1]
                found[step.__name__] = f"{type(error).__name__} at {line.name}: {str(error)[:300]}"
    return found


print(json.dumps({Path(folder).name: problems(Path(folder)) for folder in sys.argv[1:]}))  # noqa: T201 - its result
