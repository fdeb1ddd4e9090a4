"""What a command tells those who print for it."""

from __future__ import annotations

#: Under it the context of a command says whether -v was given.
VERBOSE_KEY = "torchmigrate.verbose"

#: Under it, how many gigabytes a download may have; None: the default.
MAX_DOWNLOAD_KEY = "torchmigrate.max_download"
