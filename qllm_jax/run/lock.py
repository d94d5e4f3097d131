"""The lock of a folder in which a process writes. The operating system frees it when the process ends, however."""

import errno
import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from qllm_jax.errors import UserError

LOCK = ".lock"
HELD = (errno.EAGAIN, errno.EACCES)  # by another process; all else says that the filesystem has no locks


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the folder while a process writes in it. UserError if another process has the lock; kill -9 frees it.

    On a filesystem without locks, print a note and go on without one.
    """
    try:
        opened = open(path / LOCK, "w")  # noqa: SIM115 - closed below
    except FileNotFoundError as error:  # the folder is gone, or the lock is a link to nowhere
        raise UserError(f"{path / LOCK} cannot be written: {error.strerror}") from error
    with opened as file:
        problem = taken(file, fcntl.LOCK_EX)
        if problem and problem.errno in HELD:
            raise UserError(f"{str(path)!r} is in use: another process uses it") from problem
        if problem:
            print(f"note: no lock for {path} ({problem.strerror}): start no second process in it", file=sys.stderr)
        yield


def in_use(path: Path) -> bool:
    """True if a process has the lock of the folder. This takes the lock for a moment."""
    if not (path / LOCK).is_file():
        return False
    with open(path / LOCK) as file:
        problem = taken(file, fcntl.LOCK_SH)
    return problem is not None and problem.errno in HELD


def taken(file: IO[Any], kind: int) -> OSError | None:
    """Take a lock, which closing the file frees. Return the error of the operating system, None if it is taken."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        return error
    return None
