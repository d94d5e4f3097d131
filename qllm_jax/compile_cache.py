"""Compiled programs on disk (JAX's persistent compilation cache): the second start of a program compiles nothing.

Each file begins with the SHA-256 of the rest: JAX may run machine code that a disk has changed. JAX has no public name
for where it makes its cache; only this module uses the private one.

JAX's own variables have priority: `JAX_COMPILATION_CACHE_DIR` names another folder, and
`JAX_ENABLE_COMPILATION_CACHE=false` switches the cache off.
"""

import contextlib
import hashlib
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import jax
from jax._src import compilation_cache

from qllm_jax import files, user_cache
from qllm_jax.errors import UserError

MIN_COMPILE_S = 0.1  # keeps the five programs of a run, not the dozens of small ones
MAX_AGE_DAYS = 30
SUFFIX, DIGEST = "-program", 32  # of the files' names, JAX's own end in -cache; bytes of a SHA-256


def enable() -> None:
    """Enable the cache from now on. If its folder cannot be used, print a warning and leave it disabled."""
    if not setting("jax_enable_compilation_cache"):
        return
    if given := setting("jax_compilation_cache_dir"):
        check_given(given)
        return
    try:
        folder = user_cache.make("xla") / machine()
        folder.mkdir(mode=0o700, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} cannot be written")
        prune(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        warn(str(error), user_cache.VARIABLE)
        return
    if setting("jax_compilation_cache_max_size") == -1:  # else JAX removes what is over that size
        compilation_cache.get_file_cache = lambda path: (CheckedFolder(path), path)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_S)


def check_given(folder: str) -> None:
    """Disable the cache, with a warning, if the folder that JAX is given cannot be made or written.

    JAX would warn in two long lines of its own, and try again with every program.
    """
    path = Path(folder).absolute()
    nearest = next(each for each in (path, *path.parents) if each.exists())
    if "://" not in folder and not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        warn(f"{folder} cannot be written", "JAX_COMPILATION_CACHE_DIR")
        jax.config.update("jax_enable_compilation_cache", False)


def warn(reason: str, variable: str) -> None:
    """Print that there is no cache, and why."""
    kept = "compiled programs are not kept for the next start"
    print(f"warning: {kept}: {reason}; {variable}=FOLDER names another folder", file=sys.stderr)


class CheckedFolder:
    """A cache in JAX's sense: files of a folder by key. One that is damaged or cannot be read does not exist."""

    def __init__(self, path: str) -> None:
        """Use the folder `path`."""
        self._path = Path(path)

    def get(self, key: str) -> bytes | None:
        """The value of a key; None if there is none that is whole. A damaged file is removed."""
        file = self._path / f"{key}{SUFFIX}"
        try:
            found = file.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(found[DIGEST:]).digest() == found[:DIGEST]:
            return found[DIGEST:]
        print(f"note: {file} is damaged, and is compiled again", file=sys.stderr)
        file.unlink(missing_ok=True)
        return None

    def put(self, key: str, value: bytes) -> None:
        """Store a value, whole or not at all: a disk that refuses is no error."""
        with contextlib.suppress(OSError, UserError):
            files.write_atomically(self._path / f"{key}{SUFFIX}", hashlib.sha256(value).digest() + value, private=True)


def setting(name: str) -> Any:
    """The value of a JAX option, from a variable, a flag or an update."""
    return getattr(jax.config, name)


def machine() -> str:
    """A name for the CPU's instruction set, which JAX's own cache key does not contain.

    Different machines often share a home folder, and a program for another CPU ends in SIGILL.
    """
    described = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        described = "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))
    return f"{platform.machine()}-{hashlib.sha256(described.encode()).hexdigest()[:12]}"


def prune(folder: Path) -> None:
    """Remove programs that were compiled long ago, and files that a full disk left empty."""
    oldest = time.time() - MAX_AGE_DAYS * 24 * 3600
    for path in (*folder.glob("*-cache"), *folder.glob(f"*{SUFFIX}*")):  # temporary ones of killed processes too
        with contextlib.suppress(FileNotFoundError):  # another process removed it
            found = path.stat()
            if found.st_mtime < oldest or found.st_size == 0:
                path.unlink()
