"""An atheris target: any bytes are a value or a T7Error, and a value can be written and read again.

    python tests/t7/fuzz_t7.py CORPUS -max_total_time=600 -rss_limit_mb=2048 -timeout=10

CORPUS is a folder that collects what is interesting; `cp fixtures/values/*.t7 CORPUS` is a good start.
"""

from __future__ import annotations

import io
import sys

import atheris

with atheris.instrument_imports(include=["torchmigrate"]):
    from torchmigrate.t7 import Limits, LuaTable, Storage, T7Error, Tensor, load, load_file
    from torchmigrate.t7.writing.dump import dump_all

# small enough that reading to a limit takes no time
_LIMITS = Limits(depth=2000, objects=100_000, elements=1 << 20, expanded_elements=1 << 20, unpacked_bytes=1 << 24)


def one_input(data: bytes) -> None:
    try:
        file = load_file(data, limits=_LIMITS, salvage=bool(len(data) & 1))
        load(data, limits=_LIMITS, salvage=True)
    except T7Error:
        return
    for value in file.objects:
        for item in value.values() if isinstance(value, LuaTable) else [value]:
            if isinstance(item, (Tensor, Storage)):
                (item.numpy() if isinstance(item, Tensor) else item.data).tobytes()
    if file.error is None:
        written = io.BytesIO()
        dump_all(file.objects, written, long_size=file.long_size or 8, bodies=file.bodies)
        if written.getvalue()[:16] == bytes(16):
            # nils of a text, which as bytes are what a failed download leaves
            return
        load_file(written.getvalue(), limits=_LIMITS, long_size=file.long_size, bodies=file.bodies)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
