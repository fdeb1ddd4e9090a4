"""Runs generated source, and compares it with the converted model bit by bit."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ..base.memory import is_out_of_memory
from ..base.messages import said
from ..base.tensor_trees import apply, leaves
from ..model.tied_names import first_names
from .examples import Calls, Example

_NAME = "torchmigrate_generated_model"


@dataclass(frozen=True)
class Finding:
    """What the check of a source found.

    Attributes:
        reason: why it does not give what the converted model gives; "" if it does.
        owner: the module of a tensor that has another type in the source than in the model; "" if none has.
        dtype: the type in the model, such as `float64`.
        out_of_memory: was there not enough memory?
    """

    reason: str = ""
    owner: str = ""
    dtype: str = ""
    out_of_memory: bool = False


class OtherType(ValueError):
    """A tensor of the source has another type than it has in the converted model."""

    def __init__(self, name: str, dtype: torch.dtype) -> None:
        super().__init__(f"{name} is {dtype}")
        self.owner = name.rpartition(".")[0]
        self.dtype = dtype


def instance(text: str, state: Mapping[str, torch.Tensor]) -> nn.Module:
    """The model of generated source, with the given tensors.

    Raises:
        ValueError: they do not fit it.
    """
    module = types.ModuleType(_NAME)
    sys.modules[_NAME] = module  # annotations and pickle look it up
    try:
        exec(compile(text, "model.py", "exec", dont_inherit=True), module.__dict__)  # our own source, to check it
        with torch.device("meta"):
            model: nn.Module = module.Model().eval()
    finally:
        del sys.modules[_NAME]
    wanted = model.state_dict()
    if wanted.keys() != state.keys():
        raise ValueError(f"the state dict would differ: {', '.join(sorted(wanted.keys() ^ state.keys())[:3])}")
    for name, tensor in wanted.items():
        if tensor.shape != state[name].shape:
            raise ValueError(f"{name} would have the size {list(tensor.shape)}")
        if tensor.dtype != state[name].dtype:
            raise OtherType(name, state[name].dtype)
    # as model.safetensors has them: each once
    model.load_state_dict({name: state[name] for name in first_names(state).values()}, assign=True)
    if any(buffer.is_meta for buffer in model.buffers()):
        raise ValueError("a buffer is not saved")
    return model


def check(text: str, state: Mapping[str, torch.Tensor], examples: list[Example], calls: Calls | None = None) -> Finding:
    """Does the source take the tensors, and give what the converted model gives? For a child process only.

    Args:
        text: the source.
        state: the tensors.
        examples: inputs, and what the model gives.
        calls: what its layers gave on them, if that is known.
    """
    try:
        model = instance(text, state)
        for number, example in enumerate(examples):
            if number:
                model = instance(text, state)  # anew, since it may remember a state
            if calls is not None:
                calls.answer_for(model, number)
            if reason := _differs(model, example):
                return Finding(reason)
    except OtherType as error:
        return Finding(f"OtherType: {error}", error.owner, str(error.dtype).removeprefix("torch."))
    except Exception as error:  # whatever source that is wrong may raise
        return Finding(said(error)[:2000], out_of_memory=is_out_of_memory(error))
    return Finding()


def _differs(model: nn.Module, example: Example) -> str:
    """Why a model does not give what it should; "" if it does."""
    given = apply(example.input, torch.clone)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        got = model(*given) if isinstance(given, list) else model(given)
    ours, theirs = list(leaves(got)), list(leaves(example.output))
    if [place for place, _ in ours] != [place for place, _ in theirs] or not ours:
        return "it would return another structure"
    if any(not same(a, b) for (_, a), (_, b) in zip(ours, theirs, strict=True)):
        return "its output would differ"
    return ""


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Are two tensors equal, number by number (a NaN being equal to a NaN, and to nothing else)?"""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(a, b) or bool(((a == b) | (a.isnan() & b.isnan())).all())
