"""Compiled programs on disk: the second start of a program compiles nothing (JAX's persistent compilation cache).

JAX's own variables come first: `JAX_COMPILATION_CACHE_DIR` names another folder, and with
`JAX_ENABLE_COMPILATION_CACHE=false` nothing is kept.
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

from qllm_jax import user_cache

MIN_COMPILE_S = 0.1  # the five programs of a run, and not the dozens of small ones that take no time
KEPT_DAYS = 30


def enable() -> None:
    """Keep what is compiled from now on. Without a folder to keep it in, a warning says so and nothing is kept."""
    if setting("jax_compilation_cache_dir") or not setting("jax_enable_compilation_cache"):
        return
    try:
        place = user_cache.made("xla") / machine()
        place.mkdir(mode=0o700, exist_ok=True)
        if not os.access(place, os.W_OK):
            raise PermissionError(f"{place} cannot be written")
        prune(place)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        print(
            f"warning: compiled programs are not kept for the next start: {error}; {user_cache.VARIABLE}=FOLDER "
            "names another folder",
            file=sys.stderr,
        )
        return
    jax.config.update("jax_compilation_cache_dir", str(place))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_S)


def setting(name: str) -> Any:
    """What JAX's configuration says, be it from a variable, a flag or an update."""
    return getattr(jax.config, name)


def machine() -> str:
    """A name for machines that run each other's programs: JAX's key does not tell which instructions a CPU has.

    A home folder is often shared by unlike machines, and a program for another CPU ends in SIGILL.
    """
    described = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        described = "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))
    return f"{platform.machine()}-{hashlib.sha256(described.encode()).hexdigest()[:12]}"


def prune(place: Path) -> None:
    """Remove what was compiled long ago, which may be compiled again, and files that a full disk left empty."""
    oldest = time.time() - KEPT_DAYS * 24 * 3600
    for path in place.glob("*-cache"):
        with contextlib.suppress(FileNotFoundError):  # another process was first
            found = path.stat()
            if found.st_mtime < oldest or found.st_size == 0:
                path.unlink()
