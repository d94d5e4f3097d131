"""Helpers of the tests of learners: numbers to learn with, episodes, training on a probe, and teams of given sizes."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from probes import probe

from qllm_envs import Env, View
from qllm_jax import learners, mixers
from qllm_jax.commands import params
from qllm_jax.core.agents import Agent
from qllm_jax.core.types import Episode, Hp
from qllm_jax.learners import Core, Learner, LearnerState
from qllm_jax.program import compiled, one_run
from qllm_jax.program.one_run import Sizes


def hp(n_runs: int | None = None, **changes: float) -> Hp:
    values = {"lr": 5e-3, "gamma": 0.9, "td_lambda": 0.0, "target_tau": 0.1, "epsilon_start": 1.0}
    values |= {"epsilon_end": 0.1, "epsilon_steps": 400.0, "grad_clip": 10.0, **changes}
    shape = () if n_runs is None else (n_runs,)
    return Hp(**{name: jnp.full(shape, value, jnp.float32) for name, value in values.items()})


def episode(reward, terminated, mask) -> Episode:
    as_array = partial(jnp.asarray, dtype=jnp.float32)
    return Episode(
        (), jnp.zeros((len(reward), 2), jnp.int32), as_array(reward), jnp.asarray(terminated), as_array(mask)
    )


def by_hand(reward, terminated, mask, value, gamma: float, lam: float) -> np.ndarray:
    """G_t = r_t + gamma (1 - d_t) ((1 - lam) V_{t+1} + lam G_{t+1}), G_T = V_T; nothing after the end."""
    out, g = np.zeros(len(reward)), value[-1]
    for t in reversed(range(len(reward))):
        carry = gamma * (1 - terminated[t]) * ((1 - lam) * value[t + 1] + lam * g)
        g = mask[t] * (reward[t] + carry)
        out[t] = g
    return out


def sized(n_agents: int, obs_dim: int, state_dim: int, n_actions: int) -> Env:
    """An environment of these sizes in which nothing happens: enough to shape parameters by."""
    return params.sized(params.Task("sized", n_agents, obs_dim, state_dim, n_actions))


def core_of(env: Env, hidden_dim: int = 16, mixer: dict[str, Any] | None = None, last_action: bool = False) -> Core:
    agent = Agent(env.spec, hidden_dim, last_action=last_action)
    mixed = mixers.make(spec=env.spec, **mixer) if mixer else None
    return Core(env, agent, mixed, "adam", standardize=False, reward_scale=1.0)


def count(learner: Learner) -> int:
    """Parameters that a run of the method learns, without making any."""
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(learner.init, jax.random.key(0)).params))


def fresh(learner: Learner, seed: int = 0) -> LearnerState:
    """The state of a run that has learned nothing, compiled as one program."""
    return jax.jit(learner.init)(jax.random.key(seed))


def batch_of(env: Env, n_episodes: int = 2, seed: int = 0) -> Episode:
    """Random play, time-major: leaves (T or T+1, B, ...)."""
    core = core_of(env, 4)
    learner = learners.make("value", core._replace(mixer=mixers.make("vdn", env.spec)))
    parts = one_run.Parts(env, core.agent, learner, Sizes(1, 1, 1, 1, True, 0.0))
    key = jax.random.key(seed)
    play = lambda params: one_run.play_episodes(parts, learner.act, params, key, n_episodes, jnp.ones(()))
    batch = jax.jit(play)({"agent": core.agent.init(key)})
    return jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), batch)


def unequal_ends(batch: Episode) -> Episode:
    """The batch with episode 0 terminated in its second step: what follows there is padding."""
    mask_t = batch.mask_t.at[2:, 0].set(0.0)
    return batch._replace(
        mask_t=mask_t, terminated_t=batch.terminated_t.at[1, 0].set(True), reward_t=batch.reward_t * mask_t
    )


def assert_unread_padding(of_batch: Callable[[Episode], Any], batch: Episode) -> None:
    """Other numbers after the ends of episodes of 2 steps leave all arrays as they are that `of_batch` returns."""
    spoiled = batch._replace(action_t=batch.action_t.at[2:].set(1), reward_t=batch.reward_t.at[2:].set(99.0))
    first, second = map(jax.jit(of_batch), (batch, spoiled))
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), first, second)


class Trained(NamedTuple):
    """A method trained on an environment."""

    runs: Any  # a RunState
    metrics: dict[str, jax.Array]  # (R,) means over training
    last: dict[str, jax.Array]  # (R,) of one more iteration
    returns: jax.Array  # (R, 32) of evaluation episodes

    @property
    def params(self) -> Any:
        """Of the first run."""
        return jax.tree.map(lambda x: x[0], self.runs.learner.params)


def train_on(
    core: Core, learner: Learner, updates: int, sizes: Sizes, seeds: tuple[int, ...] = (0,), **numbers: float
) -> Trained:
    """Train without exploration beyond the policy's own."""
    program = compiled.make(core.env, core.agent, learner, sizes)
    each = hp(len(seeds), **{"epsilon_start": 0.0, "epsilon_end": 0.0, **numbers})
    clock, state = program.warmup(*program.init(jax.random.key(0), jnp.asarray(seeds)), each)
    clock, state, metrics = program.chunk(clock, state, each, jnp.asarray(updates))
    clock, state, last = program.chunk(clock, state, each, jnp.asarray(1))
    state, scores = program.evaluate(clock, state, 32)
    return Trained(state, metrics, last, scores.returns)


def first_move(horizon: int = 2) -> Env:
    """Reward in the last step: the share of agents that chose action 2 of the 2 that are available (0 and 2)."""

    def reward(state, actions):
        right = jnp.mean((actions == 2).astype(jnp.float32))
        return jnp.where(state.t == horizon - 1, right, 0.0)

    return probe(horizon, horizon, reward, avail=(True, False, True))


def last_view() -> View:
    """The view before the last step of `first_move`."""
    env = first_move()
    return env.view(env.reset(jax.random.key(0))._replace(t=jnp.int32(1)))
