"""Use that a training makes of a credit function: how even its weights are, and which agents learn from the errors."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_envs import View
from qllm_jax.core import buffer
from qllm_jax.core.types import Clock, Episode, Hp, Params
from qllm_jax.learners import Core, base, batches, double_q, targets, value
from qllm_jax.mixers import slopes
from qllm_jax.program import devices, experiment
from qllm_jax.program.devices import REPLICATED, SHARDED
from qllm_jax.program.experiment import Experiment
from qllm_jax.program.one_run import CREDIT_STREAM, RunState, stream


class CreditUse(NamedTuple):
    """Means over replayed states; leaves gain a leading axis R under vmap."""

    gradient_shares: Float[Array, " agents"]  # of the squared norm of the loss's gradient by the agents' values
    evenness: Float[Array, ""]  # entropy of the weights' shares in a state, over log N: 1 all alike, 0 one has all


def make(exp: Experiment) -> Callable[[Clock, RunState, Hp], CreditUse]:
    """Return the compiled function of all runs that train with the learner `value`."""
    core = experiment.make_core(exp.config, exp.env, exp.agent, exp.mixer)
    over_runs = jax.vmap(partial(of_run, core, exp.config.algo.batch_episodes), (None, 0, 0))
    return jax.jit(devices.shard_runs(over_runs, exp.program.pool, (REPLICATED, SHARDED, SHARDED), SHARDED))


def of_run(core: Core, n_episodes: int, clock: Clock, run: RunState, hp: Hp) -> CreditUse:
    """Credit use of one run in a batch that is drawn for it, as an update would draw its own."""
    key = stream(run.key, CREDIT_STREAM, clock.episodes)
    batch = buffer.sample(run.storage, key, clock.episodes, n_episodes)
    _, batch = targets.standardize_rewards(core, run.learner.reward_stats, batch)
    return of_batch(core, (run.learner.params, run.learner.target_params), batch, hp)


def of_batch(core: Core, params: tuple[Params, Params], batch: Episode, hp: Hp) -> CreditUse:
    """Credit use of the online and target parameters in a time-major batch.

    The share of agent i is the sum over samples of (dL/dq_i)^2 = (2 error w_i)^2 / steps^2, divided by that of all
    agents. So a state counts by its error, which the mean of the weights' shares would leave out: an agent with high
    weights only where nothing is left to learn has a small share of what is learned.
    """
    view = batches.views(core.env, batch)
    q, target_q = batches.unroll(core, (params[0]["agent"], params[1]["agent"]), batch)  # (T+1, B, N, A) each
    loss = lambda q: value.td_loss_of_values(core, params, (q, target_q), batch, view, hp)[0]
    gradient = jax.grad(loss)(q)
    squares = jnp.sum((gradient / _at_least_tiny(jnp.max(jnp.abs(gradient)))) ** 2, (0, 1, 3))
    even = jax.vmap(partial(_evenness, core, params[0]), 1, 1)(q, view, batch.action_t)  # (T, B)
    return CreditUse(squares / _at_least_tiny(jnp.sum(squares)), batches.masked_mean(even, batch.mask_t))


def _evenness(core: Core, params: Params, q: jax.Array, view: View, action_t: Array) -> Float[Array, " time"]:
    """Evenness of the weights at the actions taken in one episode."""
    mixer = base.require_mixer(core, "value")
    taken, _ = double_q.taken_and_best(q, view, action_t)
    weights = jax.vmap(lambda inputs: slopes(mixer, params["mixer"], inputs))(batches.mixer_inputs(q, taken, view))
    sizes = jnp.abs(weights[:-1])
    shares = sizes / _at_least_tiny(jnp.sum(sizes, -1, keepdims=True))
    n = shares.shape[-1]
    entropy = -jnp.sum(shares * jnp.log(jnp.where(shares > 0, shares, 1.0)), -1)
    return entropy / jnp.log(n) if n > 1 else jnp.ones_like(entropy)


def _at_least_tiny(x: Array) -> Array:
    return jnp.maximum(x, jnp.finfo(jnp.float32).tiny)
