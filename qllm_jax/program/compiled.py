"""All runs as one program: the functions of one run, vmapped over R and looped over iterations.

Counters (`Clock`) stay outside the vmapped state: all runs move in lockstep, and nothing periodic hides in a `cond`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from qllm_envs import Env
from qllm_jax.core import lockstep
from qllm_jax.core.agents import Agent
from qllm_jax.core.labels import Credits
from qllm_jax.core.types import Choice, Clock, Episode, Hp, Params, Scores
from qllm_jax.learners import Learner
from qllm_jax.program import devices, one_run
from qllm_jax.program.devices import ONE_DEVICE, REPLICATED, SHARDED, STATIC_ARG, Pool
from qllm_jax.program.one_run import Parts, RunState, Sizes


class Program(NamedTuple):
    """The compiled functions of one shape of run. States carry a leading axis R."""

    init: Callable[..., tuple[Clock, RunState]]  # (root key, seed numbers (R,), choice (R, K) = None): fresh runs
    warmup: Callable[[Clock, RunState, Hp], tuple[Clock, RunState]]  # fills the buffer to one batch less one write
    chunk: Callable[..., tuple[Clock, RunState, dict[str, Array]]]  # (clock, runs, hp, n): means (R,) of n iterations
    evaluate: Callable[[Clock, RunState, int], tuple[RunState, Scores]]  # (R, episodes), keeps the best
    # Of methods with a critic. (runs, Q answers for each run) -> runs, and where they landed (R, Q)
    relabel: Callable[[RunState, Credits], tuple[RunState, Array]]
    # (runs, numbers (R, Q)): see `one_run.stored_episodes`
    stored_episodes: Callable[[RunState, Array], tuple[Episode, dict[str, Array], Array]]
    play: Callable[..., Scores]  # (params (R, ...), keys (R,), episodes, epsilon) -> (R, episodes)
    pool: Pool = ONE_DEVICE  # the devices that may share the runs of a call
    has_data: bool = False  # `RunState.storage` is a dataset (E, ...) without the axis R: all runs read the same


def make(env: Env, agent: Agent, learner: Learner, sizes: Sizes, pool: Pool = ONE_DEVICE) -> Program:
    """Build and jit the program. Nothing is compiled before the first call."""
    parts = Parts(env, agent, learner, sizes)
    split = lambda function, ins, outs: devices.shard_runs(partial(function, parts), pool, ins, outs)
    has_data = learner.data is not None
    runs = of_runs(has_data, SHARDED, REPLICATED)
    state = (REPLICATED, runs)  # clock, runs
    init_runs = split(init, (REPLICATED, SHARDED, SHARDED), state)
    return Program(
        init=jax.jit(lambda root, seeds, choice=None: init_runs(root, seeds, choice)),
        warmup=jax.jit(split(warmup, (*state, SHARDED), state), donate_argnums=1),
        chunk=jax.jit(split(chunk, (*state, SHARDED, REPLICATED), (*state, SHARDED)), donate_argnums=1),
        evaluate=jax.jit(split(evaluate, (*state, STATIC_ARG), (runs, SHARDED)), static_argnums=2, donate_argnums=1),
        relabel=jax.jit(split(relabel, (SHARDED, SHARDED), (SHARDED, SHARDED)), donate_argnums=0),
        stored_episodes=jax.jit(split(stored_episodes, (SHARDED, SHARDED), SHARDED)),
        play=jax.jit(split(play, (SHARDED, SHARDED, STATIC_ARG, REPLICATED), SHARDED), static_argnums=2),
        pool=pool,
        has_data=has_data,
    )


def of_runs(has_data: bool, of_each: Any, of_all: Any) -> Any:
    """`of_each` for a RunState, or if its storage is a dataset a RunState of them with `of_all` for that."""
    return RunState(*[of_each] * len(RunState._fields))._replace(storage=of_all) if has_data else of_each


def shapes(program: Program, root: jax.Array, seeds: Array, choice: Choice = None) -> tuple[Clock, RunState]:
    """The state that `init` gives, as shapes with the devices that hold them."""
    clock, state = jax.eval_shape(program.init, root, seeds, choice)
    n_runs = len(seeds)
    sharded = lambda tree, kind: devices.with_sharding(tree, kind, n_runs, program.pool)
    runs = sharded(state, SHARDED)
    if program.has_data:
        runs = runs._replace(storage=sharded(state.storage, REPLICATED))
    return sharded(clock, REPLICATED), runs


def init(parts: Parts, root: jax.Array, seeds: Array, choice: Choice) -> tuple[Clock, RunState]:
    """A clock at zero and fresh runs, one for each seed number and row of `choice`."""
    zero = jnp.zeros((), jnp.int32)
    runs = lockstep.vmap(partial(one_run.init, parts), (None, 0, 0))(root, seeds, choice)
    if parts.learner.data is not None:
        runs = runs._replace(storage=jax.tree.map(lambda x: x[0], runs.storage))
    return Clock(zero, zero, zero), runs


def iteration(parts: Parts, clock: Clock, runs: RunState, hp: Hp) -> tuple[Clock, RunState, dict[str, Array]]:
    """One rollout, if there is no dataset, and the gradient steps that follow it, of all runs."""
    if parts.learner.data is None:
        runs, acted = lockstep.vmap(partial(one_run.collect, parts), (None, 0, 0))(clock, runs, hp)
    else:
        acted = jax.vmap(one_run.reread, (of_runs(True, 0, None),))(runs)
    clock, runs, learned = learn(parts, after_rollout(parts, clock), runs, hp)
    return clock, runs, acted | learned


def learn(parts: Parts, clock: Clock, runs: RunState, hp: Hp) -> tuple[Clock, RunState, dict[str, Array]]:
    """`gradient_steps` gradient steps of all runs, and the means of their metrics."""

    axes = of_runs(parts.learner.data is not None, 0, None)

    def of_run(clock, run, hp):
        after, metrics = one_run.learn(parts, clock, run, hp)
        return after.learner, after.fault, metrics  # and not the replay, which no step changes

    def step(carry, _):
        clock, learner, fault = carry
        clock = clock._replace(updates=clock.updates + 1)
        before = runs._replace(learner=learner, fault=fault)
        learner, fault, metrics = jax.vmap(of_run, (None, axes, 0))(clock, before, hp)
        return (clock, learner, fault), metrics

    carry = (clock, runs.learner, runs.fault)
    if (length := parts.sizes.gradient_steps) == 1:
        carry, metrics = step(carry, None)  # no loop around the one step that most methods take
    else:
        carry, each = jax.lax.scan(step, carry, None, length=length)
        metrics = jax.tree.map(lambda x: jnp.mean(x, 0), each)
    clock, learner, fault = carry
    return clock, runs._replace(learner=learner, fault=fault), metrics


def after_rollout(parts: Parts, clock: Clock) -> Clock:
    """The clock one rollout later."""
    n_envs = parts.sizes.n_envs
    steps = clock.env_steps + n_envs * parts.env.spec.horizon
    return clock._replace(env_steps=steps, episodes=clock.episodes + n_envs)


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
    """Rollouts without learning, see `warmup_rollouts`; none with a dataset."""
    if parts.learner.data is not None:
        return clock, runs

    def body(carry, _):
        clock, runs = carry
        runs, _ = lockstep.vmap(partial(one_run.collect, parts), (None, 0, 0))(clock, runs, hp)
        return (after_rollout(parts, clock), runs), None

    length = warmup_rollouts(parts.sizes.n_envs, parts.sizes.batch_episodes, parts.learner.n_recent)
    return jax.lax.scan(body, (clock, runs), None, length=length)[0]


def warmup_rollouts(n_envs: int, batch_episodes: int, n_recent: int) -> int:
    """Number of rollouts before the first update, which as in pymarl follows the rollout that completes a batch."""
    return -(-max(batch_episodes, n_recent) // n_envs) - 1


def relabel(parts: Parts, runs: RunState, given: Credits) -> tuple[RunState, Array]:
    """Write a critic's credit into the replays; True for the questions (R, Q) whose episode got it."""
    del parts
    return jax.vmap(one_run.relabel)(runs, given)


def stored_episodes(parts: Parts, runs: RunState, numbers: Array) -> tuple[Episode, dict[str, Array], Array]:
    """Stored episodes (R, Q, ...) by number, see `one_run.stored_episodes`."""
    return jax.vmap(partial(one_run.stored_episodes, parts))(runs, numbers)


def evaluate(parts: Parts, clock: Clock, runs: RunState, n_episodes: int) -> tuple[RunState, Scores]:
    """Scores (R, n_episodes) of the current parameters; each run keeps those with the best return."""
    without = runs._replace(storage=None)  # which no evaluation reads
    after, scores = lockstep.vmap(lambda run: one_run.evaluate(parts, clock, run, n_episodes))(without)
    return after._replace(storage=runs.storage), scores


def play(parts: Parts, params: Params, keys: jax.Array, n_episodes: int, epsilon: Array) -> Scores:
    """Scores (R, n_episodes) of parameters (R, ...), one key (R,) each; nothing is kept."""
    one = lambda params, key: one_run.play(parts, params, key, n_episodes, epsilon)
    return lockstep.vmap(one, (0, 0))(params, keys)
