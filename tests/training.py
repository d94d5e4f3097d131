"""What tests of learners share: traced numbers, and training on a probe."""

from typing import Any

import jax
import jax.numpy as jnp

from qllm_envs import Env
from qllm_jax import agents, learners, mixers, runs
from qllm_jax.agents import Agent
from qllm_jax.learners import Core, Learner
from qllm_jax.types import Episode, Hp, Params


def hp(n_runs: int | None = None, **changes: float) -> Hp:
    """Numbers for short trainings; leaves (n_runs,), or () for None."""
    values = {"lr": 5e-3, "gamma": 0.9, "td_lambda": 0.0, "target_tau": 0.1, "epsilon_start": 1.0}
    values |= {"epsilon_end": 0.1, "epsilon_steps": 400.0, "grad_clip": 10.0, **changes}
    shape = () if n_runs is None else (n_runs,)
    return Hp(**{name: jnp.full(shape, value, jnp.float32) for name, value in values.items()})


def core(env: Env, agent: Agent, mixer: str | None) -> Core:
    """The parts of a method, without standardized rewards."""
    return Core(env, agent, None if mixer is None else mixers.make(mixer, env.spec), "adam", standardize=False)


def trained(
    env: Env,
    mixer: str | None,
    updates: int,
    batch: int = 16,
    n_envs: int = 8,
    learner: Any = "value",
    **changes: float,
):
    """Train one run on a probe and return the agent, the state (leading axis 1) and the mean metrics of all updates.

    `learner` is a name, or a name and options.
    """
    name, options = (learner, {}) if isinstance(learner, str) else learner
    agent = agents.make(env.spec, 16)
    parts = learners.make(name, core(env, agent, mixer), **options)
    program = runs.make(env, agent, parts, runs.Sizes(n_envs, batch, 128, 1, True, 0.0))
    numbers = hp(1, **changes)
    clock, state = program.warmup(*program.init(jax.random.key(0), jnp.arange(1)), numbers)
    clock, state, metrics = program.chunk(clock, state, numbers, jnp.asarray(updates))
    return agent, state, metrics


def q_of_first_step(agent: Agent, state: runs.RunState, env: Env) -> jax.Array:
    """The agents' values (N, A) after a reset."""
    params = jax.tree.map(lambda x: x[0], state.learner.params["agent"])
    view = env.view(env.reset(jax.random.key(0)))
    return agent.step(params, agent.initial_hidden(), view.obs, jnp.full((2,), -1))[1]


def some_batch(env: Env, agent: Agent, learner: Learner, params: Params, episodes: int) -> Episode:
    """A time-major batch of random play. All actions are drawn uniformly from what is available."""
    sizes = runs.Sizes(episodes, episodes, episodes, 1, True, 0.0)
    parts = runs.Parts(env, agent, learner, sizes)
    played = runs.play_episodes(parts, learner.act, params, jax.random.key(7), episodes, jnp.ones(()))
    return jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), played)
