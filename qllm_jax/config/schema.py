"""The keys of a configuration, their types and their rules. `configs/` holds the values and a comment on each."""

import math
from collections.abc import Mapping
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StrictBool
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from qllm_jax.errors import UserError


def check_swept_list(values: list[Any]) -> list[Any]:
    """A list of at least one value, without repeated values."""
    if not values:
        raise PydanticCustomError("empty", "must hold at least one value")
    if repeated := [value for i, value in enumerate(values) if value in values[:i]]:
        raise PydanticCustomError("repeated", "must not hold {value} twice", {"value": repr(repeated[0])})
    return values


def check_function_names(functions: list[str]) -> list[str]:
    """Credit functions with different names: a run is identified by the name of its function."""
    names = [function_name(function) for function in functions]
    if repeated := [name for i, name in enumerate(names) if name in names[:i]]:
        raise PydanticCustomError("repeated", "must not hold two functions called {name}", {"name": repr(repeated[0])})
    return functions


def whole_number(value: Any) -> Any:
    """An integer in place of a whole float: `1e6` is how many write a million."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def check_auto_or_count(value: Any) -> Any:
    """`auto`, or an integer of at least 1."""
    if value != "auto" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise PydanticCustomError("auto_or_count", "must be auto or an integer of at least 1")
    return value


def check_folder(path: str) -> str:
    """The path of a folder that is not empty, as it is where a variable of the shell is not set."""
    if not path.strip():
        raise PydanticCustomError("empty", "must not be empty: leave it out, or give a folder")
    return path


Folder = Annotated[str, AfterValidator(check_folder)]
# Strict numbers: "3" is not 3 and 1 is not true.
Count = Annotated[int, BeforeValidator(whole_number), Field(strict=True, ge=1)]
# Of a compiled program, whose integers have 32 bits.
Size = Annotated[int, BeforeValidator(whole_number), Field(strict=True, ge=1, lt=2**31)]
TRIAL_SEED = 2**32 - 1  # reserved for the short trainings by which `generate` selects functions
Seed = Annotated[int, BeforeValidator(whole_number), Field(strict=True, ge=0, lt=TRIAL_SEED)]
Index = Annotated[int, BeforeValidator(whole_number), Field(strict=True, ge=0)]
Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
Positive = Annotated[float, Field(strict=True, gt=0.0, allow_inf_nan=False)]
T = TypeVar("T")
SweptList = Annotated[list[T], AfterValidator(check_swept_list)]
AutoOrCount = Annotated[Any, AfterValidator(check_auto_or_count)]
ENV_RUN_KEYS = ("name", "time_limit_is_terminal")  # of `env:`; the rest are options of the environment
# Keys that change no number of a run, up to rounding: where it is written, and what it is computed on.
MACHINE_KEYS = ("run_dir", "resume", "group", "memory_gib", "devices", "unroll", "hosts", "wandb", "tensorboard")
KNOWN_KEYS = ConfigDict(extra="forbid")  # an unknown key is a mistake


@dataclass(frozen=True, config=KNOWN_KEYS)
class AlgoConfig:
    """One algorithm preset. The numbers of `Hp` are traced; the other keys change the program."""

    name: str
    mixer: dict[str, Any]  # {"name": ..., options of that mixer}; {} for a learner without a mixer
    n_envs: Size
    batch_episodes: Size
    buffer_episodes: Size
    hidden_dim: Size
    agent_id: StrictBool
    last_action: StrictBool
    optimizer: str
    lr: Positive
    grad_clip: Positive
    gamma: Share
    td_lambda: Share
    target_tau: Share
    target_interval: Size
    epsilon_start: Share  # the schedule is `epsilon_at` in program/one_run.py
    epsilon_end: Share
    epsilon_steps: Size
    eval_epsilon: Share
    standardize_rewards: StrictBool
    learner: dict[str, Any] = field(default_factory=lambda: {"name": "value"})  # and options of that learner
    layer_norm: StrictBool = False  # in the agents' network, before every ReLU
    agent: Literal["gru", "mlp"] = "gru"  # the agents' network, see core/agent_network.py
    depth: Size = 1  # layers before its GRU, or before the layer that an mlp has in place of it
    share_params: StrictBool = True  # false: each agent has a network of its own, which reads no id
    reward_scale: Positive = 1.0  # of the rewards that a method learns from; reported returns have none
    init: Literal["torch", "scaled"] = "torch"  # initial weights: a key of KINDS in core/initializers.py
    gradient_steps: Size = 1  # after each rollout of n_envs episodes, each on a batch of its own


@dataclass(frozen=True, config=KNOWN_KEYS)
class WandbConfig:
    """Weights & Biases, where metrics can be sent besides the run folder."""

    mode: Literal["disabled", "offline", "online"] = "disabled"
    project: str = "qllm_jax"
    entity: str | None = None
    group: str | None = None


@dataclass(frozen=True, config=KNOWN_KEYS)
class HostsConfig:
    """The job of several processes that this process belongs to; not recorded in the run. See scaling/hosts.py."""

    auto: StrictBool = False
    coordinator: str | None = None  # host:port of process 0
    processes: Size | None = None
    process: Index | None = None


@dataclass(frozen=True, config=KNOWN_KEYS)
class Sweep:
    """Lists whose grid is trained as one program: the fields of `Hp`, with the rules of `AlgoConfig`, and functions."""

    lr: SweptList[Positive] | None = None
    gamma: SweptList[Share] | None = None
    td_lambda: SweptList[Share] | None = None
    target_tau: SweptList[Share] | None = None
    epsilon_start: SweptList[Share] | None = None
    epsilon_end: SweptList[Share] | None = None
    epsilon_steps: SweptList[Size] | None = None
    grad_clip: SweptList[Positive] | None = None
    tfcaf: Annotated[SweptList[str], AfterValidator(check_function_names)] | None = None  # names or paths

    @property
    def lists(self) -> dict[str, list[Any]]:
        """The lists that are given, by key; {} without a sweep."""
        return {key: values for key, values in asdict(self).items() if values is not None}


@dataclass(frozen=True, config=KNOWN_KEYS)
class Config:
    """The configuration of a training command, as `config.yaml` in the run folder records it."""

    env: dict[str, Any]  # {"name": ..., "time_limit_is_terminal": ..., options of that environment}
    algo: AlgoConfig
    seeds: Size
    seed: Seed
    total_steps: Size
    log_interval: Size
    eval_interval: Size
    eval_episodes: Size
    final_episodes: Size
    n_agents: Size | None = None
    run_dir: Folder | None = None
    resume: Folder | None = None
    wandb: WandbConfig = field(default_factory=WandbConfig)
    sweep: Sweep = field(default_factory=Sweep)
    part: tuple[Index, Index] | None = None  # in the folder of a group: [start, stop) on the run axis; None: all runs
    group: AutoOrCount = "auto"
    memory_gib: Positive | None = None
    devices: AutoOrCount = "auto"
    unroll: Literal["auto", "scan", "pallas"] = "auto"
    hosts: HostsConfig = field(default_factory=HostsConfig)
    tensorboard: StrictBool = False  # events in the run folder


def check(config: Config) -> None:
    """UserError for values that are valid alone and not together."""
    algo = config.algo
    if algo.buffer_episodes < max(algo.batch_episodes, algo.n_envs):
        raise UserError(
            f"algo.buffer_episodes={algo.buffer_episodes} must hold one batch ({algo.batch_episodes} episodes) "
            f"and one rollout ({algo.n_envs} episodes)"
        )
    if algo.reward_scale != 1.0 and algo.standardize_rewards:
        raise UserError(
            f"algo.reward_scale={algo.reward_scale:g} changes nothing with algo.standardize_rewards=true: "
            "set the latter to false"
        )
    if algo.gradient_steps > 1 and algo.buffer_episodes < 2 * algo.n_envs:
        raise UserError(
            f"algo.gradient_steps={algo.gradient_steps} needs a replay: algo.buffer_episodes={algo.buffer_episodes} "
            f"holds only the newest rollout ({algo.n_envs} episodes), from which one step learns"
        )
    n_runs = math.prod(map(len, config.sweep.lists.values())) * config.seeds
    if config.part and not config.part[0] < config.part[1] <= n_runs:
        raise UserError(f"part must be two numbers, start < stop <= {n_runs} runs, got {list(config.part)}")


def environment(env: Mapping[str, Any], n_agents: int | None) -> dict[str, Any]:
    """Return `env:` with the number of agents, if one is given apart from it."""
    return {**env} if n_agents is None else {**env, "n_agents": n_agents}


def env_options(env: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the environment in `env:`, without the keys that the run reads."""
    return {str(key): value for key, value in env.items() if key not in ENV_RUN_KEYS}


def function_part(algo: AlgoConfig) -> str:
    """Return the part whose option `function` names a written function: "mixer", "learner", or "" for no part."""
    if algo.mixer.get("name") == "tfcaf":
        return "mixer"
    learner = algo.learner
    has_function = learner.get("name") == "mca" and learner.get("critic") != "llm" and not learner.get("data")
    return "learner" if has_function else ""


def given_function(algo: AlgoConfig) -> str:
    """Return the name or the path of the written function, "" where there is none or none is named."""
    return getattr(algo, part).get("function", "") if (part := function_part(algo)) else ""


def given_task(algo: AlgoConfig) -> str:
    """Return the name or the path of the task function, "" for a method without one."""
    return algo.learner.get("task", "") if algo.learner.get("name") == "mca" else ""


def given_data(algo: AlgoConfig) -> str:
    """Return the path of the dataset that a method learns from without playing, "" for a method that plays."""
    return algo.learner.get("data", "") if algo.learner.get("name") == "mca" else ""


def with_function(config: Config, function: Any) -> Config:
    """Return the configuration with another written function, or with several that a sweep trains."""
    if not (part := function_part(config.algo)):
        return config
    options = {**getattr(config.algo, part), "function": function}
    return replace(config, algo=replace(config.algo, **{part: options}))


def split_control(function: str) -> tuple[str, str]:
    """Return the credit function and its control, of which "" is none: "duty:shuffled" is ("duty", "shuffled")."""
    base, colon, control = function.rpartition(":")
    return (base, control) if colon and control.isidentifier() else (function, "")


def function_name(function: str) -> str:
    """Return the name of a credit function that is given by its name or its path, with its control if it has one."""
    base, control = split_control(function)
    name = Path(base).stem if base.endswith(".py") else base
    return f"{name}:{control}" if control else name
