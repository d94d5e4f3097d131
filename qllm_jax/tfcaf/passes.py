"""Stored passes: which sources have passed every gate, for which environment, by which version of the gates.

A pass is a small file in a folder that only its owner can write; anything else in it is not believed. What is stored is
a key of all that the verdict depends on, so that a change of the gates, of jax or of the environment asks again.
"""

import contextlib
import functools
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

import jax

from qllm_envs.core import Spec
from qllm_jax import user_cache
from qllm_jax.tfcaf.verdict import Verdict, sha256


def folder() -> Path:
    """Where passes are stored."""
    return user_cache.folder("verified")


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
        user_cache.check(path.parent)
        if not user_cache.is_private(path):
            return None
        verdict = Verdict(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return verdict if verdict.ok and verdict.sha256 == sha256(source) else None


def store(source: str, spec: Spec, verdict: Verdict) -> None:
    """Keeps a pass; without a folder that can be written, the next load verifies again."""
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: there is no home
        place = user_cache.make("verified")
        handle, name = tempfile.mkstemp(dir=place)  # mode 0600
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(verdict._asdict(), file)
        os.replace(name, place / f"{key(source, spec)}.json")


@functools.cache
def _gates() -> str:
    """The version of the gates: a digest of their source."""
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for file in sorted(package.rglob("*.py")):
        if file.parent != package / "library":
            digest.update(file.read_bytes())
    return digest.hexdigest()
