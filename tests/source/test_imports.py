"""The imports of model.py are those that it reads, in the order of isort; ruff is asked once."""

from __future__ import annotations

import subprocess
from typing import Any

import lua
import pytest
from ruff.__main__ import find_ruff_bin

import torchmigrate as tm
from torchmigrate.source.writing import layout
from torchmigrate.source.writing.layout import import_block

LINES = {
    "from __future__ import annotations",
    "from collections.abc import Sequence",
    "from dataclasses import dataclass",
    "from safetensors.torch import load_file",
    "from torch import MAX",
    "from torch import Tensor",
    "from torch import nn",
    "from torch.nn import functional as F",
    "from torch.nn import grad",
    "import math",
    "import torch",
}


def test_order() -> None:
    body = "x = F, MAX, Sequence, Tensor, dataclass, grad, load_file, math, nn, torch\n"
    text = import_block(LINES, body) + "\n" + body
    ruff = [find_ruff_bin(), "check", "--isolated", "--select", "I,F401", "--stdin-filename", "model.py", "-"]
    done = subprocess.run(ruff, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert text.count("import") == 9


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("x = nn.Linear\n", "from torch import nn\n"),
        ("x: Tensor = F\n", "from torch import Tensor\nfrom torch.nn import functional as F\n"),
        ("x = math.pi, torch, Sequence\n", "import math\nfrom collections.abc import Sequence\n\nimport torch\n"),
        ("def f(nn): ...\n", ""),
    ],
)
def test_what_is_not_read_is_not_imported(body: str, expected: str) -> None:
    assert import_block(LINES - {"from __future__ import annotations"}, body) == expected


def test_ruff_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    run = subprocess.run

    def spy(words: list[str], **options: Any) -> Any:
        calls.append(words[1])
        return run(words, **options)

    monkeypatch.setattr(layout.subprocess, "run", spy)
    tm.convert(lua.sequential(lua.linear(3, 2))).source()
    assert calls == ["format"]
