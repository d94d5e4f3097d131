"""Landlock through ctypes: no writing, no TCP, no signals to others, and reading in given folders (landlock(7))."""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from qllm_jax.tfcaf.sandbox.libc import LIBC, checked

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same on all machines
_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_PATH_BENEATH = 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_ALL_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}  # by version of the interface
_TCP = 0b11  # bind and connect, from version 4
_SCOPES = 0b11  # abstract sockets and signals, from version 6


def version() -> int:
    """Return the version of the kernel's interface; OSError if it has none, or it is switched off."""
    if sys.platform != "linux":
        raise OSError("Linux only")  # the same numbers are other calls elsewhere
    return _call(_CREATE, None, 0, _VERSION)


def forbid_effects() -> None:
    """Forbid this thread and those that it starts to write, run programs, use TCP or signal other processes."""
    known = version()
    files = max(rights for since, rights in _ALL_FILES.items() if since <= known)
    _restrict(known, files & ~(_READ_FILE | _READ_DIR), _TCP if known >= 4 else 0, _SCOPES if known >= 6 else 0, [])


def forbid_reading(but: Iterable[Path]) -> None:
    """Forbid this thread to open files for reading, but in the folders and of the files given."""
    _restrict(version(), _READ_FILE | _READ_DIR, 0, 0, but)


def _restrict(known: int, files: int, net: int, scopes: int, readable: Iterable[Path]) -> None:
    size = 8 if known < 4 else 16 if known < 6 else 24
    attributes = struct.pack("QQQ", files, net, scopes)[:size]
    rules = _call(_CREATE, attributes, size, 0)
    try:
        for path in readable:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rights = (_READ_FILE | _READ_DIR) if path.is_dir() else _READ_FILE
            try:
                _call(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", rights, handle), 0)
            finally:
                os.close(handle)
        _call(_RESTRICT, rules, 0)
    finally:
        os.close(rules)


def _call(number: int, *arguments: int | bytes | None) -> int:
    return checked(LIBC.syscall(ctypes.c_long(number), *arguments))
