"""Stored passes: which sources have passed every gate, for which environment, by which version of the gates.

A pass is a small file in a folder that only its owner can write; anything else in it is not believed. What is stored is
a key of all that the verdict depends on, so that a change of the gates, of jax or of the environment asks again.
"""

import contextlib
import functools
import hashlib
import json
import os
import stat
import sys
import tempfile
from pathlib import Path

import jax

from qllm_envs.core import Spec
from qllm_jax.tfcaf.verdict import Verdict, sha256

VARIABLE = "QLLM_JAX_CACHE"


def folder() -> Path:
    """Where passes are stored: in $QLLM_JAX_CACHE, else in the user's cache folder."""
    given = os.environ.get(VARIABLE)
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qllm_jax"
    return base / "verified"


def key(source: str, spec: Spec) -> str:
    """The name of a pass."""
    fields = {name: [list(field.shape), str(field.low), str(field.high)] for name, field in spec.fields.items()}
    parts = [sha256(source), spec.name, spec.n_agents, spec.state_dim, fields, _gates()]
    parts += [jax.__version__, list(sys.version_info[:2])]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def find(source: str, spec: Spec) -> Verdict | None:
    """The stored pass of `source`, or None."""
    path = folder() / f"{key(source, spec)}.json"
    try:
        if not _is_private(path.parent) or not _is_private(path):
            return None
        verdict = Verdict(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return verdict if verdict.ok and verdict.sha256 == sha256(source) else None


def store(source: str, spec: Spec, verdict: Verdict) -> None:
    """Keeps a pass; without a folder that can be written, the next load verifies again."""
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: there is no home
        place = folder()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(place):
            return
        handle, name = tempfile.mkstemp(dir=place)  # mode 0600
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(verdict._asdict(), file)
        os.replace(name, place / f"{key(source, spec)}.json")


def _is_private(path: Path) -> bool:
    """Ours, and written by nobody else."""
    found = path.lstat()
    shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return not stat.S_ISLNK(found.st_mode) and found.st_uid == os.getuid() and not shared


@functools.cache
def _gates() -> str:
    """The version of the gates: a digest of their source."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
