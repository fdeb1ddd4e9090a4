"""`python -m torchmigrate`: the same as the command `torchmigrate`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from .cli.main import main

        main()
    except KeyboardInterrupt:  # before it could be said
        sys.exit(130)
