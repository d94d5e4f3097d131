"""Parts from outside that a run was trained with: described in meta.json, found again, or missed, later.

A part that is a file of its own is copied to parts/KEY.py, and its copy is used where the file has changed or is gone.
A module stays where it is, as it may need its package: meta.json has its version and the hashes of its files.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from qllm_envs import outside, parts, registry
from qllm_jax import files, learners, mixers
from qllm_jax.config import Config, trust
from qllm_jax.errors import UserError

KEY = "parts"  # of meta.json; the folder of copies
KINDS = {"env": registry.KIND, "algo.mixer": mixers.KIND, "algo.learner": learners.KIND}  # by the key that has the name


class Used(NamedTuple):
    """Parts from outside of one configuration."""

    meta: dict[str, dict[str, Any]]  # for meta.json, by the keys of KINDS
    copies: dict[str, str]  # texts by file, relative to the run folder


def describe(config: Config) -> Used:
    """The parts from outside that a configuration names, which can be found."""
    meta, copies = {}, {}
    for key, kind in KINDS.items():
        name = _settings(config)[key].get("name")
        if found := parts.reference(kind, name):
            meta[key] = {"name": name, **outside.origin(found, kind.entry_points)._asdict()}
            if found.is_file:
                copies[_copy(key)] = files.read_text(Path(found.location))
    return Used(meta, copies)


def digests(meta: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """SHA-256 of the files of each part that `describe` found or meta.json has, wherever they stand."""
    texts = [json.dumps(sorted((meta[key].get("sha256") or {}).values())) for key in KINDS if key in meta]
    return tuple(hashlib.sha256(text.encode()).hexdigest() for text in texts)


def with_own(path: Path, config: Config) -> Config:
    """The configuration with the run folder's copies of files that have changed or are gone."""
    own = _settings(config)
    for key, given in own.items():
        if _moved(path, key, given.get("name")):
            function = given["name"].rpartition(":")[2]
            own[key] = {**given, "name": f"{(path / _copy(key)).resolve()}:{function}"}
    return replace(
        config, env=own["env"], algo=replace(config.algo, mixer=own["algo.mixer"], learner=own["algo.learner"])
    )


def require_trusted(path: Path, config: Config) -> None:
    """UserError if a run folder names code from outside that this user has not named; see trust.py."""
    trust.require((each.get("name") for each in _settings(config).values()), path)


def check(path: Path, stored: dict[str, Any], resumes: bool) -> None:
    """Say on stderr which parts from outside are not as they were; `stored` is meta.json.

    UserError if one is missing, or if a run is to be resumed with a module that has changed: its numbers would be of
    neither.
    """
    given = stored.get(KEY, {})
    if not isinstance(given, dict) or not all(key in KINDS and isinstance(each, dict) for key, each in given.items()):
        raise UserError(f"{path / 'meta.json'} is damaged: {KEY!r} does not describe the parts of a run")
    for key, each in given.items():
        name, sha256 = str(each.get("name")), each.get("sha256") or {}
        if _moved(path, key, name):
            print(
                f"note: {name} is not as the run was begun with: its copy {path / _copy(key)} is used", file=sys.stderr
            )
            continue
        version = " ".join(str(each[known]) for known in ("package", "version") if each.get(known))
        of = f"{path} was begun with the {KINDS[key].word} {name!r}" + (f" of {version}" if version else "")
        try:
            parts.find(KINDS[key], name, None)
        except ValueError as error:
            raise UserError(f"{of}: {error}") from error
        found = parts.reference(KINDS[key], name)
        changed = outside.changed(sha256, outside.origin(found).sha256) if found else []
        if changed and resumes:
            raise UserError(
                f"{of}, and {', '.join(changed)} has changed since: restore it, or train in another run_dir"
            )
        if changed:
            print(f"note: {of}, and {', '.join(changed)} has changed since", file=sys.stderr)


def _moved(path: Path, key: str, name: Any) -> bool:
    """True if a part is a file that has a copy in the run folder, and is not equal to it."""
    found, copy = outside.parse(name) if isinstance(name, str) else None, path / _copy(key)
    if not found or not found.is_file or not copy.is_file():
        return False
    file = Path(found.location)
    return not file.is_file() or file.read_bytes() != copy.read_bytes()


def _settings(config: Config) -> dict[str, dict[str, Any]]:
    return {"env": config.env, "algo.mixer": config.algo.mixer, "algo.learner": config.algo.learner}


def _copy(key: str) -> str:
    return f"{KEY}/{key.rpartition('.')[2]}.py"
