"""All runs as one program: the learner of one run, vmapped over R, looped over iterations.

Counters (`Clock`) stay outside the vmapped state: all runs move in lockstep, and nothing periodic hides in a `cond`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_envs import Env
from qllm_jax import buffer
from qllm_jax.agents import Agent
from qllm_jax.learner import Learner, LearnerState
from qllm_jax.rollout import episode_return, rollout
from qllm_jax.types import Clock, Episode, Hp, Params

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
    evaluate: Callable[[Clock, RunState, int], tuple[RunState, Array]]  # returns (R, episodes), keeps the best
    play: Callable[..., Array]  # (params (R, ...), keys (R,), episodes, epsilon) -> returns (R, episodes)


def make(env: Env, agent: Agent, learner: Learner, sizes: Sizes) -> Program:
    """Build and jit the program. Nothing is compiled before the first call."""

    def play_episodes(params: Params, key: jax.Array, n_episodes: int, epsilon: Float[Array, ""]) -> Episode:
        keys = jax.random.split(key, n_episodes)
        one = lambda key: rollout(env, agent, params["agent"], key, epsilon, sizes.limit_ends)
        return jax.vmap(one)(keys)

    def init(root: jax.Array, seeds: Array) -> tuple[Clock, RunState]:
        zero = jnp.zeros((), jnp.int32)
        return Clock(zero, zero, zero), jax.vmap(init_run, (None, 0))(root, seeds)

    def init_run(root: jax.Array, seed: Array) -> RunState:
        key = jax.random.fold_in(root, seed)  # by number, not by split: run i does not depend on how many there are
        state = learner.init(jax.random.fold_in(key, INIT_STREAM))
        episodes = jax.eval_shape(lambda: play_episodes(state.params, key, 1, jnp.zeros(())))
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), episodes)
        storage = buffer.empty(shapes, sizes.buffer_episodes)
        return RunState(key, state, storage, jax.tree.map(jnp.copy, state.params), jnp.full((), -jnp.inf, jnp.float32))

    def collect(clock: Clock, run: RunState, hp: Hp) -> tuple[RunState, dict[str, Array]]:
        key = stream(run.key, ROLLOUT_STREAM, clock.episodes)
        epsilon = epsilon_at(hp, clock.env_steps)
        episodes = play_episodes(run.learner.params, key, sizes.n_envs, epsilon)
        storage = buffer.write(run.storage, episodes, clock.episodes)
        metrics = {"return": jnp.mean(jax.vmap(episode_return)(episodes)), "epsilon": epsilon}
        return run._replace(storage=storage), metrics

    def learn(clock: Clock, run: RunState, hp: Hp) -> tuple[RunState, dict[str, Array]]:
        key = stream(run.key, SAMPLE_STREAM, clock.episodes)
        batch = buffer.sample(run.storage, key, clock.episodes, sizes.batch_episodes)
        copy_target = clock.updates % sizes.target_interval == 0
        state, metrics = learner.update(run.learner, batch, hp, copy_target)
        return run._replace(learner=state), metrics

    def tick_rollout(clock: Clock) -> Clock:
        steps = sizes.n_envs * env.spec.horizon
        return clock._replace(env_steps=clock.env_steps + steps, episodes=clock.episodes + sizes.n_envs)

    def iteration(clock: Clock, runs: RunState, hp: Hp) -> tuple[Clock, RunState, dict[str, Array]]:
        over_runs = (None, 0, 0)
        runs, acted = jax.vmap(collect, over_runs)(clock, runs, hp)
        clock = tick_rollout(clock)._replace(updates=clock.updates + 1)
        runs, learned = jax.vmap(learn, over_runs)(clock, runs, hp)
        return clock, runs, acted | learned

    def chunk(clock: Clock, runs: RunState, hp: Hp, n: Array) -> tuple[Clock, RunState, dict[str, Array]]:
        def body(_, carry):
            clock, runs, sums = carry
            clock, runs, metrics = iteration(clock, runs, hp)
            return clock, runs, jax.tree.map(jnp.add, sums, metrics)

        shapes = jax.eval_shape(iteration, clock, runs, hp)[2]
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        # `n` is traced: chunks of all lengths, and the remainder before an evaluation, are one program.
        clock, runs, sums = jax.lax.fori_loop(0, n, body, (clock, runs, zeros))
        return clock, runs, jax.tree.map(lambda x: x / n, sums)

    def warmup(clock: Clock, runs: RunState, hp: Hp) -> tuple[Clock, RunState]:
        def body(carry, _):
            clock, runs = carry
            runs, _ = jax.vmap(collect, (None, 0, 0))(clock, runs, hp)
            return (tick_rollout(clock), runs), None

        return jax.lax.scan(body, (clock, runs), None, length=warmup_rollouts(sizes))[0]

    def evaluate(clock: Clock, runs: RunState, n_episodes: int) -> tuple[RunState, Array]:
        def one(run: RunState) -> tuple[RunState, Array]:
            key = stream(run.key, EVAL_STREAM, clock.episodes)
            episodes = play_episodes(run.learner.params, key, n_episodes, jnp.asarray(sizes.eval_epsilon))
            returns = jax.vmap(episode_return)(episodes)
            mean = jnp.mean(returns)
            better = mean > run.best_return
            keep = lambda new, old: jnp.where(better, new, old)
            best = jax.tree.map(keep, run.learner.params, run.best_params)
            return run._replace(best_params=best, best_return=keep(mean, run.best_return)), returns

        return jax.vmap(one)(runs)

    def play(params: Params, keys: jax.Array, n_episodes: int, epsilon: Array) -> Array:
        one = lambda params, key: jax.vmap(episode_return)(play_episodes(params, key, n_episodes, epsilon))
        return jax.vmap(one)(params, keys)

    return Program(
        init=jax.jit(init),
        warmup=jax.jit(warmup, donate_argnums=1),
        chunk=jax.jit(chunk, donate_argnums=1),
        evaluate=jax.jit(evaluate, static_argnums=2, donate_argnums=1),
        play=jax.jit(play, static_argnums=2),
    )


def stream(key: jax.Array, name: int, counter: Array | int) -> jax.Array:
    """The key of one use: which stream, and when."""
    return jax.random.fold_in(jax.random.fold_in(key, name), counter)


def epsilon_at(hp: Hp, env_steps: Array) -> Float[Array, ""]:
    """Linear anneal over environment steps, constant within one rollout."""
    share = jnp.clip(env_steps / hp.epsilon_steps, 0.0, 1.0)
    return hp.epsilon_start + share * (hp.epsilon_end - hp.epsilon_start)


def warmup_rollouts(sizes: Sizes) -> int:
    """Rollouts before the first update: as in pymarl, that one follows the rollout which completes a batch."""
    return -(-sizes.batch_episodes // sizes.n_envs) - 1
