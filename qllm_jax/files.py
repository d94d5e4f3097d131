"""Files that survive a kill: written atomically, or appended line by line."""

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from qllm_jax.errors import UserError

# Full, over quota, not allowed, broken; and paths that cannot be: too long, through a file, in a circle.
DISK_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE),
    *(errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP),
)


def disk_error(error: OSError) -> str:
    """The message for a file that the operating system refused to write, or perhaps to read."""
    verb = "read or write" if error.errno in (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE) else "write"
    return f"could not {verb} {error.filename or 'to disk'}: {error.strerror}"


def expanded(path: str) -> Path:
    """The path with its ~ replaced by the home folder. UserError if there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{path!r} cannot be found: there is no such home folder") from error


def make_folder(path: Path, exist_ok: bool = False) -> None:
    """Make a folder and those above it. UserError where there can be none; FileExistsError unless `exist_ok`."""
    try:
        path.mkdir(parents=True, exist_ok=exist_ok)
    except (FileNotFoundError, FileExistsError) as error:  # in /proc, through a link to nowhere; a file
        if path.is_dir():
            raise
        raise UserError(f"the folder {str(path)!r} cannot be made: {error.strerror}") from error


@contextmanager
def replacing(path: Path, private: bool = False) -> Iterator[Path]:
    """Give a path beside `path` to write to, which takes its place at the end: a reader never sees a part of it.

    Several processes and threads may write the same file: the last one stays. `private`: readable by its owner alone.
    UserError if the folder is gone.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        if private:
            temporary.touch(mode=0o600, exist_ok=False)
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
            raise UserError(f"{path} cannot be written: its folder is gone") from error
        if isinstance(error, OSError) and error.filename == str(temporary):
            error.filename = str(path)  # the name that the user knows
        raise


def write_atomically(path: Path, content: str | bytes, private: bool = False) -> None:
    """Write a whole file, text in UTF-8, or nothing; see `replacing`. UserError if the folder is gone."""
    with replacing(path, private) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def new_file(out: str, suffixes: tuple[str, ...], overwrite: bool = False) -> Path:
    """The path `out`, to be written. UserError for a wrong suffix, an existing file, or no folder to write to."""
    path = expanded(out)
    if path.suffix.lower() not in suffixes:
        raise UserError(f"out={out} must end in {' or '.join(suffixes)}")
    if not path.parent.is_dir():
        raise UserError(f"out={out} cannot be written: there is no folder {str(path.parent)!r}")
    if not os.access(path.parent, os.W_OK):  # said now, not after minutes of work
        raise UserError(f"out={out} cannot be written: the folder {str(path.parent)!r} is read-only")
    if path.is_dir() or (path.exists() and not overwrite):
        hint = "choose another name, or remove it" if path.is_dir() else "choose another name, or give overwrite=true"
        raise UserError(f"out={out} exists already: {hint}")
    return path


class JsonLines:
    """An append-only file of JSON lines, one record each. It knows the SHA-256 of all that it holds."""

    def __init__(self, path: Path, size: int) -> None:
        """Open `path` and cut it to `size` bytes: records after a checkpoint are computed and written again."""
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - open as long as the run
        self._file.truncate(size)
        self._digest = digest(path, size)

    def write(self, records: list[dict[str, Any]]) -> None:
        """Append records and pass them to the operating system, so that kill -9 loses none of them."""
        text = "".join(json.dumps(record) + "\n" for record in records).encode()
        if self._file.write(text) != len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)
        self._digest.update(text)

    def size(self) -> int:
        """Size in bytes after everything is on disk."""
        os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def sha256(self) -> str:
        """SHA-256 of the whole file."""
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def digest(path: Path, size: int | None = None) -> Any:
    """The SHA-256 of a file, or of its first `size` bytes, as an object of hashlib that can go on."""
    found, left = hashlib.sha256(), size
    with open(path, "rb") as file:
        while block := file.read(2**20 if left is None else min(left, 2**20)):
            found.update(block)
            left = None if left is None else left - len(block)
    return found


def read_text(path: Path) -> str:
    """The text of a file. UserError if it is missing, or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged: it is not text in UTF-8") from error
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"{path} is missing") from error


def read_json(path: Path, keys: Sequence[str] = ()) -> dict[str, Any]:
    """The object in a JSON file, which must have `keys`. UserError if it is missing or damaged."""
    return _parsed(read_text(path), keys, f"{path} is damaged")


def read_json_lines(path: Path, keys: Sequence[str] = ()) -> list[dict[str, Any]]:
    """All records of a file, without a last line that a kill cut short. UserError if it is missing or damaged."""
    lines = read_text(path).split("\n")
    return [_parsed(line, keys, f"{path} is damaged in line {i}") for i, line in enumerate(lines[:-1], 1) if line]


def _parsed(text: str, keys: Sequence[str], damaged: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{damaged}: it is not JSON") from error
    if not isinstance(found, dict):
        raise UserError(f"{damaged}: it is not a JSON object")
    if missing := [key for key in keys if key not in found]:
        raise UserError(f"{damaged}: it has no {', '.join(map(repr, missing))}")
    return found
