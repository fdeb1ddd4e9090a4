"""Prints constraints for pip: the lowest versions that pyproject.toml admits, and the torch of constraints.txt."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: The extras that a user installs; those of developers need no lower bounds that work.
EXTRAS = ("simplify", "images", "lua", "remote")
#: Stays at the tested version: another one brings gigabytes of CUDA.
KEPT = "torch"


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *(one for extra in EXTRAS for one in extras[extra])]:
        # a name, then at least this version, then perhaps below that one
        found = re.fullmatch(r"([\w-]+)(?:\[[\w,]+\])?>=([\w.]+)(?:,.*)?", requirement)
        if found is None:
            sys.exit(f"pyproject.toml: {requirement!r} has no lower bound of the form name>=version; give it one.")
        if found[1] != KEPT:
            print(f"{found[1]}=={found[2]}")
    pins = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    print(next(pin for pin in pins if pin.startswith(f"{KEPT}==")))


main()
