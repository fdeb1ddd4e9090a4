"""Text that a recurrent model of characters or words writes, one after another, as char-rnn's sample.lua does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...base.errors import UsageError
from ...base.tensor_trees import shapes
from ...model.conversion import ConvertedModel
from ...model.recurrent_state import forget
from ..task import is_distribution


def sample(
    conv: ConvertedModel, labels: Sequence[str], sizes: Any, *, start: str, length: int, temperature: float, seed: int
) -> str:
    """Text that the model goes on with.

    Args:
        conv: a model of [token, states …] -> [states …, logarithms of probabilities], or of tokens (1, T) -> the same.
        labels: the tokens; the first has the index 1.
        sizes: of its input, as parity.json knows them; None for a model without states.
        start: the text that it begins with, not empty.
        length: how many tokens are written after it.
        temperature: below 1 the likelier ones become likelier still; 0: always the likeliest.
        seed: of the random numbers.

    Raises:
        UsageError: a character is none of the tokens, or the model is no such model.
    """
    tokens = _tokens(start, labels)
    forget(conv.module)
    generator = torch.Generator().manual_seed(seed)
    states: list[torch.Tensor] | None = None
    written: list[int] = []
    dtype = next((p.dtype for p in conv.module.parameters() if p.is_floating_point()), torch.float32)
    if isinstance(sizes, list):
        states = [torch.zeros((1, *size[1:]), dtype=dtype) for size in sizes[1:]]
    with torch.no_grad():
        scores: torch.Tensor | None = None
        if states is not None:
            for token in tokens:
                scores, states = _step(conv, token, states, len(labels))
        for _ in range(length):
            if states is None:
                forget(conv.module)
                scores = _last(_run(conv, torch.tensor([[*tokens, *written]])), len(labels))
            assert scores is not None
            token = _chosen(scores, temperature, generator) + 1
            written.append(token)
            if states is not None:
                scores, states = _step(conv, token, states, len(labels))
    forget(conv.module)
    between = "" if all(len(label) <= 1 for label in labels) else " "
    return start + between + between.join(labels[token - 1] for token in written)


def _tokens(text: str, labels: Sequence[str]) -> list[int]:
    """1-based indices of the characters of a text, or of its words where labels are words."""
    places = {label: place for place, label in enumerate(labels, 1)}
    parts = list(text) if all(len(label) <= 1 for label in labels) else text.split()
    if not parts:
        raise UsageError("--seed-text is empty; the model goes on with at least one character of its own.")
    for part in parts:
        if part not in places:
            raise UsageError(f"--seed-text has {part!r}, which is none of the {len(labels)} that the model knows.")
    return [places[part] for part in parts]


def _run(conv: ConvertedModel, given: Any) -> Any:
    try:
        return conv.module(given)
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"The model does not take {shapes(given)}, so it does not write text: {said[:200]}") from error


def _step(
    conv: ConvertedModel, token: int, states: list[torch.Tensor], count: int
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    answer = _run(conv, [torch.tensor([token]), *states])
    if not isinstance(answer, list) or len(answer) != len(states) + 1:
        raise UsageError(f"The model gives {shapes(answer)}, which is not its states and the next token.")
    *after, last = answer
    if [tuple(state.shape) for state in after] != [tuple(state.shape) for state in states]:
        raise UsageError(f"The model gives {shapes(answer)}, whose states are of another size than it takes.")
    return _last(last, count), after


def _last(answer: Any, count: int) -> torch.Tensor:
    """Logarithms of the probabilities of the next token."""
    if not isinstance(answer, torch.Tensor) or answer.shape[-1] != count:
        raise UsageError(f"The model gives {shapes(answer)}, and it knows {count} tokens: it does not write text.")
    row = answer.reshape(-1, count)[-1].double()
    if not is_distribution(row.reshape(1, -1), 1):
        return row.log_softmax(0)  # scores, as torch-rnn's models give them
    return row.log() if bool((row >= 0).all()) else row


def _chosen(scores: torch.Tensor, temperature: float, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(scores.argmax())
    return int(torch.multinomial((scores / temperature).softmax(0), 1, generator=generator))
