"""What a command tells those who print for it."""

from __future__ import annotations

#: Under it the context of a command says whether -v was given.
VERBOSE_KEY = "torchmigrate.verbose"
