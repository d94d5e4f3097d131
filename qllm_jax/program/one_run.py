"""The functions of one run: fresh state, rollouts into its buffer, one gradient step, episodes that are scored.

`compiled` maps them over the run axis R. Keys come from the run's seed and a counter, so a run does not depend on which
other runs are trained beside it.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_envs import Env
from qllm_jax.core import buffer, lockstep, rollout, rollout_gpu
from qllm_jax.core.agents import Agent
from qllm_jax.core.platforms import Platform
from qllm_jax.core.rollout import Policy, score
from qllm_jax.core.types import Choice, Clock, Episode, Hp, Params, Scores
from qllm_jax.learners import Learner, LearnerState
from qllm_jax.program import guard

# Independent keys of one run.
EVAL_STREAM, INIT_STREAM, ROLLOUT_STREAM, SAMPLE_STREAM, FINAL_STREAM, CREDIT_STREAM = range(6)


class RunState(NamedTuple):
    """State of one run; all leaves gain a leading axis R under vmap."""

    key: jax.Array  # never consumed: every use folds a stream and a counter into it
    learner: LearnerState
    storage: buffer.Storage
    best_params: Params  # of the evaluation with the best return
    best_return: Float[Array, ""]
    fault: guard.Fault  # the update that was not finite, after which the run learns no more


class Sizes(NamedTuple):
    """Static settings: a change of one is another program."""

    n_envs: int
    batch_episodes: int
    buffer_episodes: int
    target_interval: int  # gradient steps between target updates
    time_limit_is_terminal: bool  # see rollout
    eval_epsilon: float
    platform: Platform = "cpu"  # that the program is built for, see platforms.py


class Parts(NamedTuple):
    """The parts that all functions of a run use. All static."""

    env: Env
    agent: Agent
    learner: Learner
    sizes: Sizes


def init(parts: Parts, root: jax.Array, seed: Array, choice: Choice = None) -> RunState:
    """A fresh run with an empty buffer. `choice` (K,) marks its credit function, None where all runs have the same."""
    key = jax.random.fold_in(root, seed)  # by number, not by split: run i does not depend on how many there are
    state = parts.learner.init(jax.random.fold_in(key, INIT_STREAM), choice)
    episodes = jax.eval_shape(lambda: play_episodes(parts, parts.learner.act, state.params, key, 1, jnp.zeros(())))
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), episodes)
    storage = buffer.empty(shapes, parts.sizes.buffer_episodes)
    best = jax.tree.map(jnp.copy, state.params)
    fault = guard.none(jax.eval_shape(parts.env.reset, key))
    return RunState(key, state, storage, best, jnp.full((), -jnp.inf, jnp.float32), fault)


def play_episodes(
    parts: Parts, act: Policy, params: Params, key: jax.Array, n_episodes: int, epsilon: jax.Array
) -> Episode:
    """Episodes, leaves (n_episodes, ...). The key is consumed."""
    terminal = parts.sizes.time_limit_is_terminal
    form = rollout_gpu.rollout if parts.sizes.platform == "gpu" else rollout.rollout
    one = lambda key: form(parts.env, parts.agent, act, params["agent"], key, epsilon, terminal)
    return lockstep.vmap(one)(jax.random.split(key, n_episodes))


def collect(parts: Parts, clock: Clock, run: RunState, hp: Hp) -> tuple[RunState, dict[str, Array]]:
    """Play one rollout into the buffer."""
    key = stream(run.key, ROLLOUT_STREAM, clock.episodes)
    epsilon = epsilon_at(hp, clock.env_steps)
    training_env = parts.learner.training_env
    played = parts if training_env is None else parts._replace(env=training_env(clock.env_steps))
    episodes = play_episodes(played, parts.learner.act, run.learner.params, key, parts.sizes.n_envs, epsilon)
    storage = buffer.write(run.storage, episodes, clock.episodes)
    length = jnp.mean(jnp.sum(episodes.mask_t, -1))
    scores = jax.vmap(partial(score, parts.env))(episodes)
    metrics = {"return": jnp.mean(scores.returns), "episode_length": length, "epsilon": epsilon}
    if scores.won is not None:
        metrics["win_rate"] = jnp.mean(scores.won)
    return run._replace(storage=storage), metrics


def learn(parts: Parts, clock: Clock, run: RunState, hp: Hp) -> tuple[RunState, dict[str, Array]]:
    """Take one gradient step on a batch from the buffer."""
    key = stream(run.key, SAMPLE_STREAM, clock.episodes)
    batch = buffer.sample(run.storage, key, clock.episodes, parts.sizes.batch_episodes)
    copy_target = clock.updates % parts.sizes.target_interval == 0
    n_recent = parts.learner.n_recent
    recent = buffer.latest(run.storage, clock.episodes, n_recent) if n_recent else None
    hp = guard.frozen(run.fault, hp)
    state, metrics = parts.learner.update(run.learner, batch, recent, hp, copy_target)
    fault, metrics = guard.after_update(run.fault, clock, (batch, recent), metrics)
    return run._replace(learner=state, fault=fault), metrics


def evaluate(parts: Parts, clock: Clock, run: RunState, n_episodes: int) -> tuple[RunState, Scores]:
    """Scores (n_episodes,) of the current parameters, which the run keeps if their mean return is the best so far."""
    key = stream(run.key, EVAL_STREAM, clock.episodes)
    epsilon = jnp.asarray(parts.sizes.eval_epsilon)
    scores = play(parts, run.learner.params, key, n_episodes, epsilon)
    mean = jnp.mean(scores.returns)
    better = mean > run.best_return
    keep = lambda new, old: jnp.where(better, new, old)
    best = jax.tree.map(keep, run.learner.params, run.best_params)
    return run._replace(best_params=best, best_return=keep(mean, run.best_return)), scores


def play(parts: Parts, params: Params, key: jax.Array, n_episodes: int, epsilon: Array) -> Scores:
    """Scores (n_episodes,) of parameters. The key is consumed."""
    episodes = play_episodes(parts, parts.learner.act_in_evaluation, params, key, n_episodes, epsilon)
    return jax.vmap(partial(score, parts.env))(episodes)


def stream(key: jax.Array, name: int, counter: Array | int) -> jax.Array:
    """Return the key of one use: stream `name` at `counter`."""
    return jax.random.fold_in(jax.random.fold_in(key, name), counter)


def epsilon_at(hp: Hp, env_steps: Array) -> Float[Array, ""]:
    """Linear anneal over environment steps, constant within one rollout."""
    share = jnp.clip(env_steps / hp.epsilon_steps, 0.0, 1.0)
    return hp.epsilon_start + share * (hp.epsilon_end - hp.epsilon_start)
