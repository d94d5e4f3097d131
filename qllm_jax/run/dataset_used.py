"""The dataset that a run learned from: meta.json has its absolute path and SHA-256, and it is found again later."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from qllm_jax import config as configs
from qllm_jax import files
from qllm_jax.config import Config
from qllm_jax.errors import UserError

KEY = "dataset"  # of meta.json


def describe(config: Config) -> dict[str, str]:
    """The path and the digest of a configuration's dataset; {} without one."""
    if not (given := configs.given_data(config.algo)):
        return {}
    file = files.expanded(given).resolve()
    return {"file": str(file), "sha256": files.digest(file).hexdigest()}


def with_own(config: Config, stored: dict[str, Any]) -> Config:
    """The configuration with the absolute path of its dataset, where that is; `stored` is meta.json."""
    file = recorded(stored).get("file", "")
    if not configs.given_data(config.algo) or not Path(file).is_file():
        return config
    return replace(config, algo=replace(config.algo, learner={**config.algo.learner, "data": file}))


def check(path: Path, config: Config, stored: dict[str, Any], resumes: bool) -> None:
    """Say on stderr that a dataset is not as it was. UserError if a run is to be resumed with it."""
    given, sha256 = configs.given_data(config.algo), recorded(stored).get("sha256")
    if not given or not sha256 or not (file := files.expanded(given)).is_file():
        return  # that it is missing is said where it is read
    if files.digest(file).hexdigest() == sha256:
        return
    changed = f"{path} was begun with the dataset {file}, which has changed since"
    if resumes:
        raise UserError(f"{changed}: restore it, or train in another run_dir")
    print(f"note: {changed}", file=sys.stderr)


def recorded(stored: dict[str, Any]) -> dict[str, str]:
    """The entry of meta.json; {} for a run without a dataset, or of an older version."""
    found = stored.get(KEY, {})
    if not isinstance(found, dict) or any(not isinstance(each, str) for each in found.values()):
        raise UserError(f"meta.json is damaged: {KEY!r} does not describe the dataset of a run")
    return found
