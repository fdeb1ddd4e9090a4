"""model.py of every golden model: it runs without torchmigrate, to the same bits, and reads well."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import golden
import pytest
import torch
from ruff.__main__ import find_ruff_bin

import torchmigrate as tm
from torchmigrate.folder.write import write
from torchmigrate.source.examples import Calls, several_sizes

ROWS = golden.model_rows()
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
ALONE = Path(__file__).parent / "run_alone.py"

#: How long the source of a model may be at most: what a person would need, with the docstrings
#: of its sizes and the check of them at the entry of `forward`.
LINES = {
    "resnet_bottleneck_B": 82,
    "resnet_cifar_A_cudnn": 80,
    "wrn_preact_double": 84,
    "vgg_checkpoint": 60,
    "hourglass_stacked": 92,
    "unet_nngraph": 90,
    "pix2pix_unet": 70,
    "googlenet_aux": 92,
    "enet_unpooling": 180,
    "openface_inception": 120,
    "crnn_bisequencer": 125,
    "lm_sequencer_fastlstm": 56,
    "charrnn_checkpoint": 70,
    "sentiment_gru_cuda": 55,
    "style_instancenorm": 88,
}


#: What must stand in the source of a model.
SHOWN = {
    "hourglass_stacked": "self.layer2 = nn.Sequential(Hourglass(), nn.Conv2d(12, 5, 1))",
    "sentiment_gru_cuda": "h = self.cell(step, h)",
    "pix2pix_unet": "# Torch7 activates in place, so skip connections too",
    "unet_nngraph": "torch.cat([self.bottleneck(skip2), skip2], 1)",
    "multitask_tables": "self.attention(x) * 8.0",
    "openface_inception": "DownsamplingInception(),",
    "enet_unpooling": "F.max_unpool2d(self.layers(x), indices, 2)",
}


def converted(row: dict[str, str]) -> tuple[tm.Conversion, Any]:
    plugins = [golden.FIXTURES / "plugins" / "shave_crop.py"] if row["name"].startswith("style_shave") else []
    key = None if row["key"] == "-" else row["key"]
    conversion = tm.convert(golden.MODELS / row["file"], key=key, plugins=plugins)
    return conversion, tm.to_torch(tm.load(golden.MODELS / f"{row['name']}.reference.t7")["input"])


#: Run by default, one of each kind; all with -m slow, a quarter at a time.
BY_DEFAULT = ["stn_affine6", "textcnn"]
PARTS = [
    pytest.param([row for row in ROWS if row["name"] in BY_DEFAULT], id="some"),
    *(pytest.param(ROWS[part::4], id=str(part), marks=pytest.mark.slow) for part in range(4)),
]


@pytest.mark.parametrize("rows", PARTS)
def test_alone(rows: list[dict[str, str]], tmp_path: Path) -> None:
    folders = []
    for row in rows:
        conversion, example = converted(row)
        folder = tmp_path / row["name"]
        folder.mkdir()
        assert write(conversion, folder, example) == "", row["name"]
        data = [
            (found.input if isinstance(found.input, list) else [found.input], found.output)
            for found in several_sizes(conversion, example, Calls())
        ]
        torch.save(data, folder / "examples.pt")
        folders.append(str(folder))
        lines = (folder / "model.py").read_text().count("\n")
        assert lines <= LINES.get(row["name"], lines), row["name"]
        shown = EXAMPLES / f"{row['name']}.py"
        assert not shown.exists() or shown.read_text() == (folder / "model.py").read_text(), (
            f"python docs/generate.py: {shown}"
        )
        assert SHOWN.get(row["name"], "") in (folder / "model.py").read_text()
    done = subprocess.run([sys.executable, str(ALONE), *folders], capture_output=True, text=True, check=True)
    assert {name: found for name, found in json.loads(done.stdout.splitlines()[-1]).items() if found} == {}
    for command in (["check"], ["format", "--check"]):
        ruff = [find_ruff_bin(), *command, "--isolated", *(f"{folder}/model.py" for folder in folders)]
        assert subprocess.run(ruff, capture_output=True).returncode == 0


@pytest.mark.parametrize("name", ["resnet_bottleneck_B", "charrnn_checkpoint"])
def test_two_conversions_give_the_same_source(name: str) -> None:
    (row,) = [row for row in ROWS if row["name"] == name]
    texts = set()
    for _ in range(2):
        conversion, example = converted(row)
        texts.add(conversion.source(example))
    assert len(texts) == 1
