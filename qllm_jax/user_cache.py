"""The user's cache folder. Its content is trusted (compiled programs, passes), so nobody else may write there."""

import os
import stat
from pathlib import Path

VARIABLE = "QLLM_JAX_CACHE"


def folder(name: str) -> Path:
    """The folder `name` in $QLLM_JAX_CACHE, else in the user's cache folder. RuntimeError without a home folder."""
    given = os.environ.get(VARIABLE)
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qllm_jax"
    return base / name


def make(name: str) -> Path:
    """Make the folder `name` if it does not exist. OSError if that fails, PermissionError if it is not private."""
    path = folder(name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    check(path)
    return path


def check(folder: Path) -> None:
    """PermissionError unless a cache folder and its parent are private: whoever owns the parent can replace the folder.

    OSError if there is no such folder.
    """
    for path in (folder.parent, folder):
        if not is_private(path):
            raise PermissionError(f"{path} is not yours alone (chmod go-w {path})")


def is_private(path: Path) -> bool:
    """True if a path is ours and only we can write it. OSError if it does not exist."""
    found = path.lstat()
    shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return not stat.S_ISLNK(found.st_mode) and found.st_uid == os.getuid() and not shared
