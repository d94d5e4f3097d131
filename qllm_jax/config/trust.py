"""Code from outside that this user has named: a run folder or a transcript may name no other.

The file of a run could name any function of any module, and one of its own, and reading the run would call it. So a
part from outside is remembered when the user names it, in a folder that only the user can write: a module by its
reference, a file by its content. What is read from a folder is compared with that before anything is imported.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qllm_envs import outside
from qllm_jax import user_cache
from qllm_jax.errors import UserError

VARIABLE = "QLLM_JAX_TRUST"  # 1: the code that folders name is run
FOLDER = "trusted"  # of the user's cache
_named: set[str] = set()  # in this process, where there is no folder


def remember(name: Any) -> None:
    """Note that the user has named a part. Names of this package, and of packages that register parts, need no note."""
    if key := _key(name):
        _named.add(key)
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: there is no home
            (user_cache.make(FOLDER) / key).touch(mode=0o600)


def require(names: Iterable[Any], where: Path) -> None:
    """UserError for a part from outside that this user has not named, and that the folder or file `where` does."""
    if os.environ.get(VARIABLE) == "1":
        return
    for name in names:
        if (key := _key(name)) and not _is_known(key):
            raise UserError(
                f"{where} names code from outside, {name!r}, which would run with your rights, and which you have not "
                f"named yourself: if you trust it, set {VARIABLE}=1 for this command"
            )


def _is_known(key: str) -> bool:
    if key in _named:
        return True
    try:
        path = user_cache.folder(FOLDER) / key
        user_cache.check(path.parent)
        return user_cache.is_private(path)
    except (OSError, RuntimeError):
        return False


def _key(name: Any) -> str | None:
    """A digest of what is trusted; None where nothing has to be: a name, or a file that is not there."""
    found = outside.parse(name) if isinstance(name, str) else None
    if found is None:
        return None
    text = str(found).encode()
    if found.is_file:
        path = Path(found.location).expanduser()
        if not path.is_file():
            return None
        text = path.read_bytes() + b"\0" + found.function.encode()
    return hashlib.sha256(text).hexdigest()
