#!/bin/sh
# On a machine with a GPU: runs the tests marked `gpu`, compares five golden models on CUDA, times them, prints a table.
# It uses this machine's own PyTorch (2.9 or newer) and no network, and takes less than six minutes. See docs/gpu.md.
#   tests/gpu.sh [cpu]     with "cpu" the table is made on the CPU, to see that the script itself is right
set -eu
cd "$(dirname "$0")/.."
device=${1:-cuda}
python=${PYTHON:-python}

if ! "$python" -c 'import torchmigrate.converters' 2>/dev/null; then
    # not installed: the two folders stand where an installation would put them
    home=$(mktemp -d)
    trap 'rm -rf "$home"' EXIT
    mkdir "$home/torchmigrate" "$home/torchmigrate-0.dist-info"
    ln -s "$PWD"/migrate/* "$home/torchmigrate/"
    ln -s "$PWD/converters" "$home/torchmigrate/converters"
    printf 'Metadata-Version: 2.1\nName: torchmigrate\nVersion: 0\n' > "$home/torchmigrate-0.dist-info/METADATA"
    PYTHONPATH="$home${PYTHONPATH:+:$PYTHONPATH}"
    export PYTHONPATH
fi

"$python" - "$device" <<'PYTHON'
import sys

import torch

version = tuple(int(part) for part in torch.__version__.split(".")[:2])
if version < (2, 9):
    sys.exit(f"PyTorch {torch.__version__} is here; 2.9 or newer is needed.")
if sys.argv[1] == "cuda" and not torch.cuda.is_available():
    sys.exit("PyTorch finds no CUDA device here.")
PYTHON

failed=0
if [ "$device" = cuda ]; then
    timeout 240 "$python" -m pytest -m gpu -q -p no:cacheprovider --show-capture=no tests/devices tests/parity || failed=$?
fi
timeout 100 "$python" tests/devices/table.py "$device" || failed=$?
exit "$failed"
