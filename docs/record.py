"""Makes the pictures of the README by running what they show: docs/assets/convert.svg and docs/assets/report.png.

python docs/record.py             needs chromium on the PATH for the report
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent
ASSETS = ROOT / "docs" / "assets"
MODEL = "fixtures/models/resnet_bottleneck_B"
WORDS = ["torchmigrate", "convert", f"{MODEL}.t7", "--reference", f"{MODEL}.reference.t7", "-o", "resnet"]
COLUMNS = 100


def terminal(folder: Path) -> str:
    """What the command prints on a terminal with colours, with the command itself on top."""
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    command = [str(Path(sys.executable).with_name(WORDS[0])), *WORDS[1:]]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return f"$ {' '.join(WORDS[:3])} \\\n    {' '.join(WORDS[3:])}\n{done.stdout}"


def main() -> None:
    """Runs the command, then takes both pictures."""
    ASSETS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "fixtures").symlink_to(ROOT / "fixtures")
        console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
        console.print(Text.from_ansi(terminal(folder).rstrip()))
        svg = console.export_svg(title="torchmigrate convert", unique_id="convert")
        svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # fonts of this machine, none of a server
        (ASSETS / "convert.svg").write_text(svg.replace("Fira Code", "ui-monospace, Menlo, Consolas"), encoding="utf-8")
        browser = shutil.which("chromium") or shutil.which("google-chrome")
        if browser is None:
            sys.exit("docs/assets/convert.svg is written; a chromium on the PATH is needed for report.png")
        page = (folder / "resnet" / "report.html").as_uri()
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1200,1500"]
        shot = f"--screenshot={ASSETS / 'report.png'}"
        subprocess.run([browser, *options, f"--user-data-dir={folder}", shot, page], check=True, capture_output=True)


if __name__ == "__main__":
    main()
