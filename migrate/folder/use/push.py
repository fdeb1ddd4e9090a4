"""Brings a folder that `convert` wrote to the Hugging Face Hub."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...base.errors import UsageError
from ...base.folder_files import CONFIG, PARITY_FAILED, WEIGHTS, read_config
from ...base.output_folder import CONVERTED, MEMBER, read_marker

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Pushed:
    """What was brought to the Hub.

    Attributes:
        repository: such as "user/resnet".
        url: where it is.
        files: name -> size in bytes.
        left_out: what else is in the folder, which torchmigrate did not write.
    """

    repository: str
    url: str
    files: dict[str, int]
    left_out: list[str]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


def push(
    folder: Path, repository: str, *, private: bool = False, message: str | None = None, force: bool = False
) -> Pushed:
    """Brings the files that torchmigrate wrote into a folder to a repository of models, which is made if there is none.

    The token is that of `hf auth login` or HF_TOKEN, the server that of HF_ENDPOINT, as huggingface_hub has them.

    Args:
        folder: a folder of one converted model.
        repository: its name, USER/NAME.
        private: is a new repository private?
        message: of the commit.
        force: also replace files of the same names, and bring a model that failed its comparison.

    Raises:
        UsageError: it is no such folder, nobody is logged in, or the Hub refuses; it says why. Nothing was changed
            then, but that a new repository may be there.
    """
    files, left_out = _files(folder, force=force)
    if _REPOSITORY.fullmatch(repository) is None or ".." in repository or "--" in repository:
        raise UsageError(f"{repository!r} is no name of a repository, such as user/resnet.")
    try:
        from huggingface_hub import CommitOperationAdd, HfApi, get_token
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError as error:
        raise UsageError(f"The Hub needs huggingface_hub: pip install huggingface_hub ({error}).") from error
    token = get_token()
    if token is None:
        raise UsageError("Nobody is logged in to the Hub: `hf auth login`, or set HF_TOKEN to a token that may write.")
    disable_progress_bars()
    api = HfApi(token=token)
    try:
        is_new = not api.repo_exists(repository)
        there = [] if is_new else sorted(set(api.list_repo_files(repository)) & set(files))
        _require_free(repository, [] if force else there)
        if private and not is_new:
            _require_private(repository, api.repo_info(repository).private)
        if is_new:
            api.create_repo(repository, private=private)
        added = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in files]
        made = api.create_commit(
            repository, operations=added, commit_message=message or f"Upload {folder.resolve().name} with torchmigrate"
        )
    except UsageError:
        raise
    except Exception as error:  # its errors come from several libraries
        said = (str(error).strip().splitlines() or [""])[0]
        raise UsageError(f"{repository} can't be written: {type(error).__name__}: {said}") from error
    url = str(getattr(made, "repo_url", "") or f"{api.endpoint}/{repository}")
    return Pushed(repository, url, files, left_out)


def _require_free(repository: str, there: list[str]) -> None:
    if there:
        raise UsageError(
            f"{repository} has {', '.join(there)} already; --force replaces them (the Hub keeps the old ones in its "
            "history)."
        )


def _require_private(repository: str, private: bool | None) -> None:
    if not private:
        raise UsageError(
            f"{repository} is there already and not private, so what is brought to it would be public; make it private "
            "on the Hub first, or give another name."
        )


def _files(folder: Path, *, force: bool) -> tuple[dict[str, int], list[str]]:
    """The files that torchmigrate wrote with their sizes, and the names of all else.

    Raises:
        UsageError: it is no folder of a converted model, or one that failed its comparison.
    """
    marker = read_marker(folder) if folder.is_dir() else None
    if marker is None or marker.kind not in (CONVERTED, MEMBER) or not (folder / WEIGHTS).is_file():
        raise UsageError(f"{folder} is no folder of a converted model; `torchmigrate convert` writes one.")
    read_config(folder)  # says what is wrong with it
    if (folder / PARITY_FAILED).exists() and not force:
        raise UsageError(
            f"{folder} failed its comparison ({PARITY_FAILED}); --force brings it to the Hub all the same."
        )
    shown = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    ours = [path for path in shown if path.name in marker.files and path.is_file() and not path.is_symlink()]
    if CONFIG not in [path.name for path in ours]:
        raise UsageError(f"{folder / CONFIG} is a link, and is not followed.")
    return {path.name: path.stat().st_size for path in ours}, [path.name for path in shown if path not in ours]
