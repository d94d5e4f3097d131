"""All runs as one program: the learner of one run, vmapped over R, looped over iterations.

Counters (`Clock`) stay outside the vmapped state: all runs move in lockstep, and nothing periodic hides in a `cond`.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_envs import Env
from qllm_jax.core import buffer, lockstep
from qllm_jax.core.agents import Agent
from qllm_jax.core.rollout import Policy, rollout, score
from qllm_jax.core.types import Clock, Episode, Hp, Params, Scores
from qllm_jax.learners import Learner, LearnerState
from qllm_jax.program import devices
from qllm_jax.program.devices import ONE_DEVICE, REPLICATED, SHARDED, STATIC_ARG, Pool

EVAL_STREAM, INIT_STREAM, ROLLOUT_STREAM, SAMPLE_STREAM, FINAL_STREAM = range(5)  # independent keys of one run


class RunState(NamedTuple):
    """One run; all leaves gain a leading axis R under vmap."""

    key: jax.Array  # never consumed: every use folds a stream and a counter into it
    learner: LearnerState
    storage: buffer.Storage
    best_params: Params
    best_return: Float[Array, ""]


class Sizes(NamedTuple):
    """What changes shapes, and therefore the program."""

    n_envs: int
    batch_episodes: int
    buffer_episodes: int
    target_interval: int  # gradient steps between target updates
    limit_ends: bool  # see rollout
    eval_epsilon: float


class Program(NamedTuple):
    """The compiled functions of one shape of run. States carry a leading axis R."""

    init: Callable[[jax.Array, Array], tuple[Clock, RunState]]  # (root key, seed numbers (R,))
    warmup: Callable[[Clock, RunState, Hp], tuple[Clock, RunState]]  # fills the buffer to one batch less one write
    chunk: Callable[..., tuple[Clock, RunState, dict[str, Array]]]  # (clock, runs, hp, n): means (R,) of n iterations
    evaluate: Callable[[Clock, RunState, int], tuple[RunState, Scores]]  # (R, episodes), keeps the best
    play: Callable[..., Scores]  # (params (R, ...), keys (R,), episodes, epsilon) -> (R, episodes)
    pool: Pool = ONE_DEVICE  # the devices that may share the runs of a call


class Parts(NamedTuple):
    """What the functions of one run are made of. All static."""

    env: Env
    agent: Agent
    learner: Learner
    sizes: Sizes


def make(env: Env, agent: Agent, learner: Learner, sizes: Sizes, pool: Pool = ONE_DEVICE) -> Program:
    """Build and jit the program. Nothing is compiled before the first call."""
    parts = Parts(env, agent, learner, sizes)
    split = lambda function, ins, outs: devices.shard_runs(partial(function, parts), pool, ins, outs)
    state = (REPLICATED, SHARDED)  # clock, runs
    return Program(
        init=jax.jit(split(init, (REPLICATED, SHARDED), state)),
        warmup=jax.jit(split(warmup, (*state, SHARDED), state), donate_argnums=1),
        chunk=jax.jit(split(chunk, (*state, SHARDED, REPLICATED), (*state, SHARDED)), donate_argnums=1),
        evaluate=jax.jit(split(evaluate, (*state, STATIC_ARG), (SHARDED, SHARDED)), static_argnums=2, donate_argnums=1),
        play=jax.jit(split(play, (SHARDED, SHARDED, STATIC_ARG, REPLICATED), SHARDED), static_argnums=2),
        pool=pool,
    )


def shapes(program: Program, root: jax.Array, seeds: Array) -> tuple[Clock, RunState]:
    """The state that `init` gives, as shapes with the devices that hold them."""
    clock, state = jax.eval_shape(program.init, root, seeds)
    n_runs = len(seeds)
    place = lambda tree, kind: devices.with_sharding(tree, kind, n_runs, program.pool)
    return place(clock, REPLICATED), place(state, SHARDED)


def init(parts: Parts, root: jax.Array, seeds: Array) -> tuple[Clock, RunState]:
    """A clock at zero and fresh runs, one for each seed number."""
    zero = jnp.zeros((), jnp.int32)
    return Clock(zero, zero, zero), lockstep.vmap(partial(init_run, parts), (None, 0))(root, seeds)


def init_run(parts: Parts, root: jax.Array, seed: Array) -> RunState:
    """One fresh run with an empty buffer."""
    key = jax.random.fold_in(root, seed)  # by number, not by split: run i does not depend on how many there are
    state = parts.learner.init(jax.random.fold_in(key, INIT_STREAM))
    episodes = jax.eval_shape(lambda: play_episodes(parts, parts.learner.act, state.params, key, 1, jnp.zeros(())))
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), episodes)
    storage = buffer.empty(shapes, parts.sizes.buffer_episodes)
    best = jax.tree.map(jnp.copy, state.params)
    return RunState(key, state, storage, best, jnp.full((), -jnp.inf, jnp.float32))


def play_episodes(
    parts: Parts, act: Policy, params: Params, key: jax.Array, n_episodes: int, epsilon: jax.Array
) -> Episode:
    """Episodes of one run, leaves (n_episodes, ...). The key is consumed."""
    limit_ends = parts.sizes.limit_ends
    one = lambda key: rollout(parts.env, parts.agent, act, params["agent"], key, epsilon, limit_ends)
    return lockstep.vmap(one)(jax.random.split(key, n_episodes))


def collect(parts: Parts, clock: Clock, run: RunState, hp: Hp) -> tuple[RunState, dict[str, Array]]:
    """One rollout of one run into its buffer."""
    key = stream(run.key, ROLLOUT_STREAM, clock.episodes)
    epsilon = epsilon_at(hp, clock.env_steps)
    episodes = play_episodes(parts, parts.learner.act, run.learner.params, key, parts.sizes.n_envs, epsilon)
    storage = buffer.write(run.storage, episodes, clock.episodes)
    length = jnp.mean(jnp.sum(episodes.mask_t, -1))
    scores = jax.vmap(partial(score, parts.env))(episodes)
    metrics = {"return": jnp.mean(scores.returns), "episode_length": length, "epsilon": epsilon}
    if scores.won is not None:
        metrics["win_rate"] = jnp.mean(scores.won)
    return run._replace(storage=storage), metrics


def learn(parts: Parts, clock: Clock, run: RunState, hp: Hp) -> tuple[RunState, dict[str, Array]]:
    """One gradient step of one run."""
    key = stream(run.key, SAMPLE_STREAM, clock.episodes)
    batch = buffer.sample(run.storage, key, clock.episodes, parts.sizes.batch_episodes)
    copy_target = clock.updates % parts.sizes.target_interval == 0
    n_recent = parts.learner.n_recent
    recent = buffer.latest(run.storage, clock.episodes, n_recent) if n_recent else None
    state, metrics = parts.learner.update(run.learner, batch, recent, hp, copy_target)
    return run._replace(learner=state), metrics


def after_rollout(parts: Parts, clock: Clock) -> Clock:
    """The clock one rollout later."""
    n_envs = parts.sizes.n_envs
    steps = clock.env_steps + n_envs * parts.env.spec.horizon
    return clock._replace(env_steps=steps, episodes=clock.episodes + n_envs)


def iteration(parts: Parts, clock: Clock, runs: RunState, hp: Hp) -> tuple[Clock, RunState, dict[str, Array]]:
    """One rollout and one gradient step of all runs."""
    over_runs = (None, 0, 0)
    runs, acted = lockstep.vmap(partial(collect, parts), over_runs)(clock, runs, hp)
    clock = after_rollout(parts, clock)._replace(updates=clock.updates + 1)
    runs, learned = jax.vmap(partial(learn, parts), over_runs)(clock, runs, hp)
    return clock, runs, acted | learned


def chunk(parts: Parts, clock: Clock, runs: RunState, hp: Hp, n: Array) -> tuple[Clock, RunState, dict[str, Array]]:
    """`n` iterations, and the means of their metrics."""

    def body(_, carry):
        clock, runs, sums = carry
        clock, runs, metrics = iteration(parts, clock, runs, hp)
        return clock, runs, jax.tree.map(jnp.add, sums, metrics)

    shapes = jax.eval_shape(partial(iteration, parts), clock, runs, hp)[2]
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    # `n` is traced: chunks of all lengths, and the remainder before an evaluation, are one program.
    clock, runs, sums = jax.lax.fori_loop(0, n, body, (clock, runs, zeros))
    return clock, runs, jax.tree.map(lambda x: x / n, sums)


def warmup(parts: Parts, clock: Clock, runs: RunState, hp: Hp) -> tuple[Clock, RunState]:
    """Rollouts without learning, see `warmup_rollouts`."""

    def body(carry, _):
        clock, runs = carry
        runs, _ = lockstep.vmap(partial(collect, parts), (None, 0, 0))(clock, runs, hp)
        return (after_rollout(parts, clock), runs), None

    length = warmup_rollouts(parts.sizes.n_envs, parts.sizes.batch_episodes, parts.learner.n_recent)
    return jax.lax.scan(body, (clock, runs), None, length=length)[0]


def evaluate(parts: Parts, clock: Clock, runs: RunState, n_episodes: int) -> tuple[RunState, Scores]:
    """Scores (R, n_episodes) of the current parameters; each run keeps those with the best return."""
    return lockstep.vmap(lambda run: evaluate_run(parts, clock, run, n_episodes))(runs)


def evaluate_run(parts: Parts, clock: Clock, run: RunState, n_episodes: int) -> tuple[RunState, Scores]:
    """`evaluate` for one run."""
    key = stream(run.key, EVAL_STREAM, clock.episodes)
    epsilon = jnp.asarray(parts.sizes.eval_epsilon)
    scores = play_run(parts, run.learner.params, key, n_episodes, epsilon)
    mean = jnp.mean(scores.returns)
    better = mean > run.best_return
    keep = lambda new, old: jnp.where(better, new, old)
    best = jax.tree.map(keep, run.learner.params, run.best_params)
    return run._replace(best_params=best, best_return=keep(mean, run.best_return)), scores


def play(parts: Parts, params: Params, keys: jax.Array, n_episodes: int, epsilon: Array) -> Scores:
    """Scores (R, n_episodes) of parameters (R, ...), one key (R,) each; nothing is kept."""
    one = lambda params, key: play_run(parts, params, key, n_episodes, epsilon)
    return lockstep.vmap(one, (0, 0))(params, keys)


def play_run(parts: Parts, params: Params, key: jax.Array, n_episodes: int, epsilon: Array) -> Scores:
    """`play` for one run. The key is consumed."""
    episodes = play_episodes(parts, parts.learner.act_in_evaluation, params, key, n_episodes, epsilon)
    return jax.vmap(partial(score, parts.env))(episodes)


def stream(key: jax.Array, name: int, counter: Array | int) -> jax.Array:
    """The key of one use: which stream, and when."""
    return jax.random.fold_in(jax.random.fold_in(key, name), counter)


def epsilon_at(hp: Hp, env_steps: Array) -> Float[Array, ""]:
    """Linear anneal over environment steps, constant within one rollout."""
    share = jnp.clip(env_steps / hp.epsilon_steps, 0.0, 1.0)
    return hp.epsilon_start + share * (hp.epsilon_end - hp.epsilon_start)


def warmup_rollouts(n_envs: int, batch_episodes: int, n_recent: int) -> int:
    """Rollouts before the first update: as in pymarl, that one follows the rollout which completes a batch."""
    return -(-max(batch_episodes, n_recent) // n_envs) - 1
