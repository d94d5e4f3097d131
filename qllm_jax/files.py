"""Files that survive a kill: written atomically, or appended line by line."""

import errno
import json
import os
from pathlib import Path
from typing import Any

from qllm_jax.errors import UserError

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)  # full, over quota, not allowed


def disk_error(error: OSError) -> str:
    """The message for a write that the operating system refused."""
    return f"could not write {error.filename or 'to disk'}: {error.strerror}"


def write_atomically(path: Path, text: str) -> None:
    """Write a whole file or nothing: a reader never sees a part of it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def new_file(out: str, suffixes: tuple[str, ...], overwrite: bool = False) -> Path:
    """The path `out`, which may be written. UserError for a wrong suffix, a missing folder, or an existing file."""
    path = Path(out)
    if path.suffix.lower() not in suffixes:
        raise UserError(f"out={out} must end in {' or '.join(suffixes)}")
    if not path.parent.is_dir():
        raise UserError(f"out={out} cannot be written: there is no folder {str(path.parent)!r}")
    if path.is_dir() or (path.exists() and not overwrite):
        raise UserError(f"out={out} exists already: choose another name, or remove it")
    return path


class JsonLines:
    """An append-only file of JSON lines, one record each."""

    def __init__(self, path: Path, size: int) -> None:
        """Open `path` and cut it to `size` bytes: records after a checkpoint are computed and written again."""
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - open as long as the run
        self._file.truncate(size)

    def write(self, records: list[dict[str, Any]]) -> None:
        """Append records and pass them to the operating system, so that kill -9 loses none of them."""
        text = "".join(json.dumps(record) + "\n" for record in records).encode()
        if self._file.write(text) != len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)

    def size(self) -> int:
        """Size in bytes after everything is on disk."""
        os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """All records of a file, without a last line that a kill cut short."""
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1] if line]
