"""What match() gives: the filled network, and the table of pairs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ..base.output_file import check_file, whole_file


@dataclass(frozen=True)
class Pair:
    """A tensor of the target, and where its numbers come from.

    Attributes:
        name: in the state dict of the target.
        size: of the tensor.
        path: Torch7 path of the layer; "" is the model itself.
        field: name of the tensor in the converted layer; "" where the layer has none.
        how: what was done with the numbers, such as "transposed"; "": nothing.
    """

    name: str
    size: tuple[int, ...]
    path: str
    field: str
    how: str = ""

    def columns(self) -> list[str]:
        """As a line of a table."""
        return [self.name, "x".join(map(str, self.size)), self.path, self.field, self.how]


@dataclass(frozen=True, repr=False)
class Match:
    """A network that was filled and proven to compute what the model does.

    Attributes:
        module: the network that was given, filled.
        pairs: where each of its tensors comes from, in the order in which its layers run.
        exclude: what was left out.
        notes: what to know; empty where the outputs are the same and all was filled without a doubt.
        input: sizes of the input that both ran on.
        reason: why these sizes.
        to_the_end: were their outputs compared, and nothing left out or missing before them?
    """

    module: nn.Module
    pairs: list[Pair]
    exclude: tuple[str, ...]
    notes: list[str]
    input: str
    reason: str
    to_the_end: bool = True

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The tensors by the target's names, without those that were left out."""
        return {
            name: tensor.detach().cpu().contiguous().clone()
            for name, tensor in self.module.state_dict().items()
            if not any(name == each or name.startswith(f"{each}.") for each in self.exclude)
        }

    def save(self, file: str | os.PathLike[str], *, force: bool = False, inputs: Any = ()) -> list[Path]:
        """Writes the tensors, and the table of pairs beside them as NAME.pairs.tsv.

        Args:
            file: .pt or .pth is written by `torch.save`, all else as safetensors.
            force: replace existing files.
            inputs: files that are read, which are never written over.

        Returns:
            The two files.

        Raises:
            UsageError: a file exists already, or can't be written.
        """
        path = Path(file)
        table = path.with_name(f"{path.stem}.pairs.tsv")
        for each in (path, table):
            check_file(each, force=force, inputs=inputs)
        tensors = self.state_dict()
        lines = ["target\tsize\tTorch7 path\ttensor\tnote", *("\t".join(pair.columns()) for pair in self.pairs)]
        with (
            whole_file(path, force=force, inputs=inputs) as part,
            whole_file(table, force=force, inputs=inputs) as text,
        ):
            if path.suffix in (".pt", ".pth"):
                torch.save(tensors, part)
            else:
                save_file(tensors, part, metadata={"format": "pt"})
                part.chmod(0o644)  # safetensors leaves it to its owner alone
            text.write_text("\n".join([*lines, *(f"# {note}" for note in self.notes)]) + "\n", "utf-8")
        return [path, table]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "target": type(self.module).__name__,
            "input": self.input,
            "input_reason": self.reason,
            "left_out": list(self.exclude),
            "to_the_end": self.to_the_end,
            "notes": self.notes,
            "pairs": [
                {"name": pair.name, "size": list(pair.size), "path": pair.path, "tensor": pair.field, "how": pair.how}
                for pair in self.pairs
            ],
        }

    def __repr__(self) -> str:
        what = f"{len(self.pairs)} tensors of {type(self.module).__name__}"
        return f"<Match: {what}, equal on {self.input}, {len(self.notes)} notes>"
