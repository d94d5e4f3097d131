"""From the command line to a validated `Config`, and from a `Config` to the `config.yaml` of a run folder."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

from qllm_jax import files
from qllm_jax.choices import config_dir
from qllm_jax.config import outside, quoting
from qllm_jax.config.groups import ROOT, full_name
from qllm_jax.config.messages import explain_hydra, explain_validation
from qllm_jax.config.schema import MACHINE_KEYS, Config, check
from qllm_jax.errors import UserError

MAX_ALIASES = 20  # of one file of YAML


def load(overrides: list[str]) -> Config:
    """Compose and validate `key=value` overrides. UserError names the mistake and what is allowed."""
    config = from_dict(compose(ROOT, overrides))
    _check_replaced(config, overrides)
    return config


def _check_replaced(config: Config, overrides: list[str]) -> None:
    """UserError for a key of `algo` that is given beside a list of the sweep, whose values replace it."""
    given = {override.partition("=")[0].lstrip("+") for override in overrides}
    for swept in config.sweep.lists:
        keys = ("algo.mixer.function", "algo.learner.function") if swept == "tfcaf" else (f"algo.{swept}",)
        for key in given.intersection(keys):
            raise UserError(f"{key} has no effect beside sweep.{swept}, whose values replace it: leave it out")


def compose(root: str, overrides: list[str]) -> DictConfig:
    """Compose `configs/<root>.yaml` with its groups and overrides, and resolve it. UserError if Hydra refuses."""
    check_form(overrides)
    overrides = for_hydra(overrides)
    try:
        with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
            composed = hydra.compose(root, overrides=overrides)
        OmegaConf.resolve(composed)
        return composed
    except (HydraException, OmegaConfBaseException, ValueError) as error:  # ValueError: a group set to a number
        raise UserError(explain_hydra(error, overrides, root)) from error


def check_form(overrides: list[str]) -> None:
    """UserError for an argument that is not of the form key=value."""
    for override in overrides:
        if override.startswith("--"):
            raise UserError(f"options have no dashes: {override.lstrip('-')}")
        if "=" not in override:
            raise UserError(f"{override!r} is not of the form key=value, for example env=mpe_spread or n_agents=6")


def for_hydra(overrides: list[str]) -> list[str]:
    """Return overrides as Hydra reads them: full names of methods, parts from outside, values in quotes."""
    full = [full_name(override) for override in outside.rewritten(overrides)]
    return [each for override in full for each in quoting.replacing(quoting.readable(override))]


def from_dict(composed: DictConfig) -> Config:
    """Validate a composed or recorded configuration. UserError names the key, its value and what is allowed."""
    try:
        config = TypeAdapter(Config).validate_python(OmegaConf.to_container(composed, resolve=True))
    except OmegaConfBaseException as error:
        raise UserError(explain_hydra(error, [])) from error
    except ValidationError as error:
        raise UserError("; ".join(explain_validation(detail) for detail in error.errors())) from error
    check(config)
    return config


def read(file: Path) -> Config:
    """The configuration that a run folder has recorded. UserError if it is damaged, or of another version."""
    try:
        return from_dict(_loaded(file))
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def keys(file: Path) -> list[str]:
    """The keys of a recorded configuration, without those inside of groups."""
    return [str(key) for key in _loaded(file)]


def fingerprint(text: str) -> str:
    """SHA-256 of a recorded configuration, as YAML, without total_steps and MACHINE_KEYS, which may change in a run.

    It does not depend on the version.
    """
    recorded = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(recorded, dict)
    lasting = {str(key): value for key, value in recorded.items() if key not in (*MACHINE_KEYS, "total_steps")}
    return hashlib.sha256(json.dumps(lasting, default=str).encode()).hexdigest()


def parse(text: str) -> Any:
    """The node of a text of YAML. UserError for many aliases, which can stand for a file of any size."""
    if (
        text.count("*") > MAX_ALIASES
        and sum(isinstance(each, yaml.AliasToken) for each in yaml.scan(text)) > MAX_ALIASES
    ):
        raise UserError(f"it has more than {MAX_ALIASES} aliases")
    return OmegaConf.create(text)


def _loaded(file: Path) -> DictConfig:
    try:
        found = parse(files.read_text(file))
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise UserError("damaged: it is not YAML") from error
    if not isinstance(found, DictConfig):
        raise UserError("damaged: it has no keys")
    return found


def to_yaml(config: Config) -> str:
    """The resolved configuration as YAML; `from_dict(OmegaConf.create(...))` reads it back."""
    recorded = asdict(config) | {"sweep": config.sweep.lists}
    return OmegaConf.to_yaml(OmegaConf.create(recorded))  # pyright: ignore[reportArgumentType]
