"""L8: stored passes: the programs that have passed every gate, for which environment, by which version of the gates.

A pass is a small file in a folder that only its owner can write; anything else in it is not believed. Its name is a key
of all that the verdict depends on, so that a change of the gates, of jax, of the environment's code or of any of its
options asks again: each can change the states that are reached.

A pass is for the program and not for its text: the key is made of the tokens of a source without comments, blank lines
and spacing, from which Python builds the same syntax tree. So the file that generation heads with comments, and what
training loads of it, have the pass of the candidate. Tokens and not the tree itself: a text that no gate has seen is
parsed in the process of a candidate alone, since deep nesting can exhaust the parser's stack. Docstrings are part of
the key; nothing here changes them.

The functions of the library are shipped with passes (`ship.py` makes them), so that no first training waits for the
gates and no machine refuses what ships. Those hold for the versions of jax and Python that they were made with,
whatever the gates and the environments are: the tests verify them again.
"""

import contextlib
import functools
import hashlib
import io
import json
import sys
import tokenize
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import qllm_envs
from qllm_envs.core import Spec
from qllm_jax import files, user_cache
from qllm_jax.errors import UserError
from qllm_jax.tfcaf.verdict import Verdict, sha256

_PACKAGE = Path(__file__).parent
SHIPPED = _PACKAGE / "library" / "passes.json"
_SPACING = (tokenize.COMMENT, tokenize.NL)  # tokens that the parser does not get
_BLOCKS = (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)  # tokens whose text makes no difference
_PROGRAM = "program"  # key of the digest in a stored pass


def folder() -> Path:
    """Return the folder of passes."""
    return user_cache.folder("verified")


def program(source: str) -> str:
    """Return a digest of the tokens of a source, or of its text where tokens do not tell."""
    text = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")  # as Python's parser does
    if "\\\n" in text:  # tokenize and the parser do not agree on the indentation after a backslash
        return sha256(source)
    try:
        found = [
            [token.type, "" if token.type in _BLOCKS else token.string]
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type not in _SPACING
        ]
    except (tokenize.TokenError, SyntaxError, UnicodeError):  # no source that passes; surrogates from Python 3.12 on
        return sha256(source)
    return sha256(json.dumps(found))


def key(source: str, spec: Spec) -> str:
    """Return the name of a pass."""
    return _digest_of([*_subject(source, spec), gates_version(), environments_version(), _source(spec)])


def shipped_key(source: str, spec: Spec) -> str:
    """Return the name of a pass that is shipped."""
    return _digest_of(_subject(source, spec))


def _subject(source: str, spec: Spec) -> list[Any]:
    fields = {name: [*field._replace(low=str(field.low), high=str(field.high))] for name, field in spec.fields.items()}
    task = [spec.name, qllm_envs.options_of(spec), spec.n_agents, spec.state_dim, spec.horizon, fields]
    return [program(source), *task, jax.__version__, list(sys.version_info[:2])]


def _digest_of(parts: list[Any]) -> str:
    return sha256(json.dumps(parts, sort_keys=True, default=lambda value: np.asarray(value).tolist()))


def _source(spec: Spec) -> str:
    """Return a digest of the files of an environment from outside, "" for those of `environments_version`."""
    return qllm_envs.source_digest(spec.made_by) if spec.made_by else ""


def find(source: str, spec: Spec) -> Verdict | None:
    """Return the stored pass of `source`, or the shipped one, with the `sha256` of `source`, or None."""
    return _stored(source, spec) or _shipped_pass(source, spec)


def _shipped_pass(source: str, spec: Spec) -> Verdict | None:
    found = None if _source(spec) else shipped().get(shipped_key(source, spec))
    return Verdict(**found["verdict"])._replace(sha256=sha256(source)) if found else None


@functools.cache
def shipped() -> dict[str, dict[str, Any]]:
    """Return the entries of `SHIPPED` by `shipped_key`: function, env, n_agents, jax, python and verdict."""
    return json.loads(SHIPPED.read_text()) if SHIPPED.is_file() else {}


def _stored(source: str, spec: Spec) -> Verdict | None:
    path = folder() / f"{key(source, spec)}.json"
    try:
        user_cache.check(path.parent)
        if not user_cache.is_private(path):
            return None
        digest, _, text = path.read_text(encoding="utf-8").partition("\n")
        if digest != sha256(text):
            return None  # damaged: verified again
        stored = json.loads(text)
        of = stored.pop(_PROGRAM)
        verdict = Verdict(**stored)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return verdict._replace(sha256=sha256(source)) if verdict.ok and of == program(source) else None


def store(source: str, spec: Spec, verdict: Verdict) -> None:
    """Store a pass; without a folder that can be written, the next load verifies again."""
    with contextlib.suppress(OSError, UserError, RuntimeError):  # RuntimeError: there is no home
        where = user_cache.make("verified")
        text = json.dumps({_PROGRAM: program(source), **verdict._asdict()})
        files.write_atomically(where / f"{key(source, spec)}.json", f"{sha256(text)}\n{text}", private=True)


@functools.cache
def gates_version(package: Path = _PACKAGE) -> str:
    """Return a digest of the source of all gates, subfolders included and the library of credit functions left out."""
    return _digest(file for file in package.rglob("*.py") if package / "library" not in file.parents)


@functools.cache
def environments_version() -> str:
    """Return a digest of all files of the environments, trained opponents included."""
    package = Path(qllm_envs.__file__).parent
    return _digest(file for file in package.rglob("*") if file.is_file() and file.suffix != ".pyc")


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(paths):
        digest.update(file.read_bytes())
    return digest.hexdigest()
