"""Configuration: Hydra composes it, frozen dataclasses hold it, and every mistake is one sentence."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import AfterValidator, ConfigDict, Field, StrictBool, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from qllm_envs.parts import suggest
from qllm_jax import values
from qllm_jax.errors import UserError

# Strict numbers: "3" is not 3 and 1 is not true.
Count = Annotated[int, Field(strict=True, ge=1)]
TRIAL_SEED = 2**32 - 1  # of the short trainings by which functions are chosen: results never use it
Seed = Annotated[int, Field(strict=True, ge=0, lt=TRIAL_SEED)]
Index = Annotated[int, Field(strict=True, ge=0)]
Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
Positive = Annotated[float, Field(strict=True, gt=0.0, allow_inf_nan=False)]
T = TypeVar("T")
Several = Annotated[list[T], AfterValidator(values.several)]
AutoOrCount = Annotated[Any, AfterValidator(values.auto_or_count)]
ROOT = "config"  # configs/config.yaml
GROUPS = ("env", "algo", "experiment", "llm", "sweep")  # of configs/
KNOWN_KEYS = ConfigDict(extra="forbid")  # no key that nobody reads


@dataclass(frozen=True, config=KNOWN_KEYS)
class AlgoConfig:
    """One algorithm preset. Numbers of `Hp` are traced; the rest changes the program."""

    name: str
    mixer: dict[str, Any]  # {"name": ..., options of that mixer}; {} for a learner that takes none
    n_envs: Count
    batch_episodes: Count
    buffer_episodes: Count
    hidden_dim: Count
    agent_id: StrictBool
    last_action: StrictBool
    optimizer: str
    lr: Positive
    grad_clip: Positive
    gamma: Share
    td_lambda: Share
    target_tau: Share
    target_interval: Count
    epsilon_start: Share
    epsilon_end: Share
    epsilon_steps: Count
    eval_epsilon: Share
    standardize_rewards: StrictBool
    learner: dict[str, Any] = field(default_factory=lambda: {"name": "value"})  # and options of that learner


@dataclass(frozen=True, config=KNOWN_KEYS)
class WandbConfig:
    """Where metrics are sent besides the run folder."""

    mode: Literal["disabled", "offline", "online"] = "disabled"
    project: str = "qllm_jax"
    entity: str | None = None
    group: str | None = None


@dataclass(frozen=True, config=KNOWN_KEYS)
class HostsConfig:
    """How this process joins others; of the process and not of its run, so that no run records it. See hosts.py."""

    auto: StrictBool = False
    coordinator: str | None = None  # host:port of process 0
    processes: Count | None = None
    process: Index | None = None


@dataclass(frozen=True, config=KNOWN_KEYS)
class Sweep:
    """Lists whose grid is trained as one program: the fields of `Hp`, under the rules of `AlgoConfig`; functions."""

    lr: Several[Positive] | None = None
    gamma: Several[Share] | None = None
    td_lambda: Several[Share] | None = None
    target_tau: Several[Share] | None = None
    epsilon_start: Several[Share] | None = None
    epsilon_end: Several[Share] | None = None
    epsilon_steps: Several[Count] | None = None
    grad_clip: Several[Positive] | None = None
    tfcaf: Annotated[Several[str], AfterValidator(values.named_apart)] | None = None  # names or paths


@dataclass(frozen=True, config=KNOWN_KEYS)
class Config:
    """A whole run, as `config.yaml` in its folder records it."""

    env: dict[str, Any]  # {"name": ..., "time_limit_is_terminal": ..., options of that environment}
    algo: AlgoConfig
    seeds: Count
    seed: Seed
    total_steps: Count
    log_interval: Count
    eval_interval: Count
    eval_episodes: Count
    final_episodes: Count
    n_agents: Count | None = None
    run_dir: str | None = None
    resume: str | None = None
    wandb: WandbConfig = field(default_factory=WandbConfig)
    sweep: Sweep = field(default_factory=Sweep)
    part: tuple[Index, Index] | None = None  # runs [first, behind) of the sweep x seeds; None: all. Of a group's folder
    group: AutoOrCount = "auto"
    memory_gib: Positive | None = None
    devices: AutoOrCount = "auto"
    hosts: HostsConfig = field(default_factory=HostsConfig)


def swept(sweep: Sweep) -> dict[str, list[Any]]:
    """The lists of a sweep by key; {} without one."""
    return {key: found for key, found in asdict(sweep).items() if found is not None}


def config_dir() -> Path:
    """The folder of the Hydra groups: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parent
    inside, beside = package / "configs", package.parent / "configs"
    return inside if inside.is_dir() else beside


def load(overrides: list[str]) -> Config:
    """Compose and validate `key=value` overrides. UserError names what is wrong and what is allowed."""
    return from_dict(composed(ROOT, overrides))


def composed(root: str, overrides: list[str]) -> DictConfig:
    """`configs/<root>.yaml` with its groups and `key=value` overrides, resolved. UserError for what Hydra refuses."""
    for override in overrides:
        if "=" not in override:
            raise UserError(f"{override!r} is not of the form key=value, for example env=mpe_spread or n_agents=6")
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            found = compose(root, overrides=overrides)
        OmegaConf.resolve(found)
        return found
    except (HydraException, OmegaConfBaseException, ValueError) as error:  # ValueError: a group set to a number
        raise UserError(explain(error, overrides, root)) from error


def from_dict(found: DictConfig) -> Config:
    """A validated Config from a composed or recorded one. UserError names the key, its value and what is allowed."""
    try:
        config = TypeAdapter(Config).validate_python(OmegaConf.to_container(found, resolve=True))
    except OmegaConfBaseException as error:
        raise UserError(explain(error, [])) from error
    except ValidationError as error:
        raise UserError("; ".join(invalid(detail) for detail in error.errors())) from error
    algo = config.algo
    if algo.buffer_episodes < max(algo.batch_episodes, algo.n_envs):
        raise UserError(
            f"algo.buffer_episodes={algo.buffer_episodes} must hold one batch ({algo.batch_episodes} episodes) "
            f"and one rollout ({algo.n_envs} episodes)"
        )
    n_runs = math.prod(map(len, swept(config.sweep).values())) * config.seeds
    if config.part and not config.part[0] < config.part[1] <= n_runs:
        raise UserError(f"part must be two numbers, first < behind <= {n_runs} runs, got {list(config.part)}")
    return config


def invalid(detail: Any) -> str:
    """The sentence for one of pydantic's findings."""
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return unknown_key(where)
    message = detail["msg"].replace("Input should be", "must be").replace("Field required", "is missing")
    return f"{where} {message}" + ("" if detail["type"] == "missing" else f", got {detail['input']!r}")


def to_yaml(config: Config) -> str:
    """The resolved configuration as YAML; `from_dict(OmegaConf.create(...))` reads it back."""
    recorded = asdict(config) | {"sweep": swept(config.sweep)}
    return OmegaConf.to_yaml(OmegaConf.create(recorded))  # pyright: ignore[reportArgumentType]


def explain(error: Exception, overrides: list[str], root: str = ROOT) -> str:
    """One sentence for what Hydra or OmegaConf found."""
    text = str(error)
    if found := re.search(r"In '[^']*': Could not (?:find|load) '([^']*)'", text):
        group, _, name = found.group(1).rpartition("/")
        return f"{group} {name!r} does not exist: {suggest(name, group_names(group))}"
    if found := re.search(r"Could not override '([^']*)'", text):
        return unknown_key(found.group(1), overrides, root)
    if found := re.search(r"Key '([^']*)' (?:is not in struct|not in)", text):
        full = re.search(r"full_key: (\S+)", text)
        return unknown_key(full.group(1) if full else found.group(1), overrides, root)
    if text.startswith("Ambiguous value"):
        return f"{text.splitlines()[0]}: write a list as key=[1,2]"
    full = re.search(r"full_key: (\S+)", text)
    first = text.strip().splitlines()[0].rstrip(".")
    first = re.sub(r"^Value (.*) of type '\w+' could not be converted to (\w+)$", r"\1 is not of type \2", first)
    return f"{full.group(1)}: {first}" if full else f"{first} (in: {' '.join(overrides)})"


def unknown_key(key: str, overrides: Sequence[str] = (), root: str = ROOT) -> str:
    """The sentence for a key that does not exist, with its siblings in the chosen groups as choices."""
    parent, _, leaf = key.rpartition(".")
    chosen = [override for override in overrides if override.partition("=")[0] in GROUPS]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        whole = compose(root, overrides=chosen)
        node = OmegaConf.select(whole, parent) if parent else whole
    siblings = [str(k) for k in node] if isinstance(node, DictConfig) else []
    groups = [] if parent or root != ROOT else ["experiment"]
    return f"unknown key {key!r}: {suggest(leaf, siblings + groups)}"


def group_names(group: str) -> list[str]:
    """Choices of a Hydra group; files that begin with an underscore are shared parts."""
    return [p.stem for p in (config_dir() / group).glob("*.yaml") if not p.stem.startswith("_")]
