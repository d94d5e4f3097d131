"""The user's cache folder. What is in it is believed, and compiled programs are run: nobody else may write there."""

import os
import stat
from pathlib import Path

VARIABLE = "QLLM_JAX_CACHE"


def folder(name: str) -> Path:
    """The folder `name` in $QLLM_JAX_CACHE, else in the user's cache folder. RuntimeError where there is no home."""
    given = os.environ.get(VARIABLE)
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qllm_jax"
    return base / name


def made(name: str) -> Path:
    """The same folder, made if it was not there. OSError if it cannot be made, PermissionError if it is not private."""
    place = folder(name)
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.mkdir(mode=0o700, exist_ok=True)
    check(place)
    return place


def check(place: Path) -> None:
    """PermissionError unless a folder of the cache is private, and what holds it: there, another could take its place.

    OSError when there is no such folder.
    """
    for path in (place.parent, place):
        if not is_private(path):
            raise PermissionError(f"{path} is not yours alone (chmod go-w {path})")


def is_private(path: Path) -> bool:
    """Ours, and written by nobody else. OSError if there is no such thing."""
    found = path.lstat()
    shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return not stat.S_ISLNK(found.st_mode) and found.st_uid == os.getuid() and not shared
