"""From a configuration to the parts of a run: environment, mixer, learner, program and traced numbers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import qllm_envs
from qllm_envs import Env, EnvContractError, parts
from qllm_jax import learners, mixers
from qllm_jax.config import (
    ENV_RUN_KEYS,
    Config,
    env_options,
    environment,
    function_name,
    function_part,
    given_function,
    given_task,
    trust,
)
from qllm_jax.core import initializers, platforms
from qllm_jax.core.agents import Agent
from qllm_jax.core.platforms import Platform
from qllm_jax.core.types import Clock, Hp
from qllm_jax.errors import UserError
from qllm_jax.learners import Core, Learner, base, tasks
from qllm_jax.mixers import Mixer, tfcaf
from qllm_jax.program import compiled, devices, learnable, run_axis
from qllm_jax.program.devices import Pool
from qllm_jax.program.one_run import RunState, Sizes
from qllm_jax.tfcaf.loading.lookup import find_for_env
from qllm_jax.tfcaf.loading.source import Source
from qllm_jax.tfcaf.static.vocabulary import Kind

MOST_NUMBERS = 2**28  # of one state: 1 GiB, of which a rollout holds one for each step


class Experiment(NamedTuple):
    """All parts that a command needs to train, evaluate or draw a configuration."""

    config: Config
    env: Env
    agent: Agent
    mixer: Mixer | None  # None: a method without one
    learner: Learner
    program: compiled.Program
    hp: Hp  # leaves (R,); R counts the `n_runs` runs and then spare copies of the last (see devices.n_spare)
    seeds: jax.Array  # (R,) the number of each run, folded into the root key
    root: jax.Array  # the root key
    choice: jax.Array | None = None  # (R, K) one-hot: the credit function of each run; None: all have the same

    @property
    def sources(self) -> tuple[str, ...]:
        """Texts of all functions that the runs read, in the order of `functions_used.names`."""
        return (*(self.mixer.sources if self.mixer else ()), *self.learner.sources)

    @property
    def n_runs(self) -> int:
        """Number of runs of the configuration, without spare ones."""
        return len(run_axis.runs(self.config))

    @property
    def steps_per_iteration(self) -> int:
        """Environment steps of one iteration of one run."""
        return self.config.algo.n_envs * self.env.spec.horizon

    @property
    def warmup_steps(self) -> int:
        """Environment steps of one run before the rollout that the first update follows; with a dataset 0."""
        if self.learner.data is not None:
            return 0
        algo = self.config.algo
        n = compiled.warmup_rollouts(algo.n_envs, algo.batch_episodes, self.learner.n_recent)
        return n * self.steps_per_iteration


def build(
    config: Config, mixer: Mixer | None = None, env: Env | None = None, platform: Platform | None = None
) -> Experiment:
    """Build all parts of a validated configuration. UserError for a part or an option that does not exist.

    `mixer` replaces the one that the configuration names, or the one of all functions that it sweeps; `env` replaces
    the environment. `platform` is what the program will run on, None the default device's.
    """
    env, algo = env or make_env(config.env, config.n_agents), config.algo
    if task := given_task(algo):
        env = tasks.with_tasks(env, tasks.load(env.spec, task))
    unroll_by = devices.unroll_by(config.unroll, algo.hidden_dim)
    agent = make_agent(config, env, unroll_by)
    mixer = mixer or make_mixer(config, env)
    learner = make_learner(config, make_core(config, env, agent, mixer))
    learnable.check(config, env, learner)
    sizes = Sizes(
        n_envs=algo.n_envs,
        batch_episodes=algo.batch_episodes,
        buffer_episodes=algo.buffer_episodes if learner.data is None else len(learner.data.mask_t),
        target_interval=algo.target_interval,
        time_limit_is_terminal=config.env["time_limit_is_terminal"],
        eval_epsilon=algo.eval_epsilon,
        platform=platform or platforms.of_backend(),
        gradient_steps=algo.gradient_steps,
    )
    pool = devices.make_pool(config.devices)
    program = compiled.make(env, agent, learner, sizes, pool)
    return Experiment(config, env, agent, mixer, learner, program, *axis_arrays(config, pool))


def make_agent(config: Config, env: Env, unroll_by: str = "scan") -> Agent:
    """The agents' network of a configuration."""
    algo = config.algo
    return Agent(
        env.spec,
        algo.hidden_dim,
        agent_id=algo.agent_id,
        last_action=algo.last_action,
        unroll_by=unroll_by,
        layer_norm=algo.layer_norm,
        kind=algo.agent,
        depth=algo.depth,
        shared=algo.share_params,
    )


def make_core(config: Config, env: Env, agent: Agent, mixer: Mixer | None) -> Core:
    """The parts of which the method of a configuration is made."""
    algo = config.algo
    return Core(env, agent, mixer, algo.optimizer, algo.standardize_rewards, algo.reward_scale)


def axis_arrays(config: Config, pool: Pool) -> tuple[Hp, jax.Array, jax.Array, jax.Array | None]:
    """Swept numbers (R,), seeds (R,), root key, and one-hot credit functions (R, K) or None, of all runs."""
    runs = run_axis.runs(config)
    runs += runs[-1:] * devices.n_spare(len(runs), pool)
    column = lambda name: [run.values.get(name, getattr(config.algo, name)) for run in runs]
    hp = Hp(*(jnp.asarray(column(name), jnp.float32) for name in Hp._fields))
    names = [function_name(function) for function in config.sweep.tfcaf or ()]
    choice = jnp.eye(len(names))[jnp.asarray([names.index(run.values["tfcaf"]) for run in runs])] if names else None
    return hp, jnp.asarray([run.seed for run in runs]), jax.random.key(config.seed), choice


def slice_runs(exp: Experiment, start: int, stop: int) -> Experiment:
    """The experiment of the runs [start, stop) of another. Slices of one length share one compiled program."""
    offset = exp.config.part[0] if exp.config.part else 0
    config = replace(exp.config, part=(offset + start, offset + stop))
    hp, seeds, _, choice = axis_arrays(config, exp.program.pool)
    return exp._replace(config=config, hp=hp, seeds=seeds, choice=choice)


def init(exp: Experiment) -> tuple[Clock, RunState]:
    """A clock at zero and fresh runs, each with its credit function. Buffers are empty, or hold a dataset."""
    clock, runs = exp.program.init(exp.root, exp.seeds, exp.choice)
    return clock, runs if exp.learner.data is None else with_data(exp, runs)


def with_data(exp: Experiment, runs: RunState) -> RunState:
    """The runs with the dataset that they read: once on each device."""
    for empty in jax.tree.leaves(runs.storage):
        if isinstance(empty, jax.Array):
            empty.delete()  # frees its memory before the dataset takes its place
    expected = compiled.shapes(exp.program, exp.root, exp.seeds, exp.choice)[1].storage
    put = lambda x, like: jax.device_put(x, like.sharding)
    return runs._replace(storage=jax.tree.map(put, exp.learner.data, expected))


def make_mixer(config: Config, env: Env) -> Mixer | None:
    """The mixer of a configuration. UserError for one that does not exist, or that refuses its options."""
    functions, given = config.sweep.tfcaf, config.algo.mixer.get("name")
    if functions and not function_part(config.algo):
        if config.algo.learner["name"] == "mca":
            giver = learnable.giver_of_credit(config.algo.learner)
            raise UserError(f"sweep.tfcaf needs functions that are read, and {giver} gives the credit")
        raise UserError(f"sweep.tfcaf needs algo.mixer.name=tfcaf, as algo=matched_qllm has it, not {given!r}")
    if not config.algo.mixer:
        return None
    name, options = split_name("algo.mixer", config.algo.mixer, mixers.names())
    if not functions:
        mixer = mixers.make(name, env.spec, **options)
        if parts.reference(mixers.KIND, name):
            check_mixer(name, mixer, env)
            trust.remember(name)
        return mixer
    return tfcaf.choose([mixers.make(name, env.spec, **options | {"function": function}) for function in functions])


def check_mixer(name: str, mixer: Mixer, env: Env) -> None:
    """UserError unless a mixer can be traced on this environment and gives one float32. Nothing is computed."""
    key = jax.random.key(0)
    inputs = jax.eval_shape(lambda: base.zero_inputs(env, key))
    try:
        value = jax.eval_shape(lambda inputs: mixer.apply(mixer.init(key, inputs), inputs), inputs)
        given = f"{value.dtype}{value.shape}"
    except Exception as error:
        problem = " ".join(str(error).split())[:300]
        raise UserError(
            f"mixer {name!r} cannot be traced on {env.spec.task}: {type(error).__name__}: {problem}"
        ) from error
    if given != "float32()":
        raise UserError(f"mixer {name!r}: apply must give one team value, float32(), got {given}")


def credit_functions(config: Config, env: Env) -> list[Source]:
    """Texts of the functions that a configuration loads. UserError for one that does not exist."""
    part = function_part(config.algo)
    if not part:
        return []
    kind: Kind = "value" if part == "mixer" else "reward"
    functions = config.sweep.tfcaf or [given_function(config.algo)]
    # A function and its controls are one text.
    found = list(dict.fromkeys(find_for_env(env.spec, function, kind) for function in functions))
    return [*found, find_for_env(env.spec, task, "task")] if (task := given_task(config.algo)) else found


def make_learner(config: Config, core: Core) -> Learner:
    """The learner of a configuration. UserError for one that does not exist, or that refuses its options."""
    name, options = split_name("algo.learner", config.algo.learner, learners.names())
    if config.sweep.tfcaf and function_part(config.algo) == "learner":
        options["function"] = config.sweep.tfcaf
    learner = learners.make(name, core, **options)
    trust.remember(name)
    return learner._replace(init=initializers.drawn_as(config.algo.init, learner.init))


def split_name(key: str, setting: dict[str, Any], allowed: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the name and the options of the part at the config key `key`. UserError if there is no name."""
    options = {str(option): value for option, value in setting.items()}
    if "name" not in options:
        raise UserError(f"{key} needs a name: choose from {', '.join(allowed)}")
    return options.pop("name"), options


def make_env(env: dict[str, Any], n_agents: int | None) -> Env:
    """The environment of a configuration's `env` and `n_agents`. UserError in place of the environment's ValueError."""
    missing = [key for key in ENV_RUN_KEYS if key not in env]
    if missing:
        raise UserError(f"env needs the keys {', '.join(ENV_RUN_KEYS)}; missing: {', '.join(missing)}")
    limit = env["time_limit_is_terminal"]
    if not isinstance(limit, bool):
        raise UserError(f"env.time_limit_is_terminal must be true or false, got {limit!r}")
    try:
        found = qllm_envs.make(env["name"], **env_options(environment(env, n_agents)))
    except EnvContractError as error:
        raise UserError(f"{error}; all that is broken: python -m qllm_jax.check_env {env['name']}") from error
    except ValueError as error:
        raise UserError(str(error)) from error
    trust.remember(env["name"])
    if (numbers := max(found.spec.state_dim, found.spec.n_agents * found.spec.obs_dim)) > MOST_NUMBERS:
        raise UserError(f"{found.spec.task} is too large: a state, or what all agents see, has {numbers:,} numbers")
    return found
