"""The rollout of rollout.py with few kernels a step, for a GPU. It plays the same episodes up to rounding.

A step there is bound by the launch of its kernels. So random numbers are drawn before the loop, all that a step puts
out is one row of integers, several steps are one trip of the loop, and what the next step does not need (rewards, where
no episode ends early) is computed after the loop for all steps at once.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qllm_envs import Env
from qllm_jax.core import lockstep
from qllm_jax.core.agent_step import Memory
from qllm_jax.core.agents import Agent
from qllm_jax.core.jaxprs import inner_jaxprs
from qllm_jax.core.rollout import Policy, gumbel_noise
from qllm_jax.core.rows import rows_of
from qllm_jax.core.types import Episode, Params

MOST_STEPS = 5  # of a trip of the loop: each is compiled
LARGE = 500  # equations of a game's step (spread has 111, LBF 133, battles 743 and more): one of them is a trip


class Carry(NamedTuple):
    """State that crosses the scan over steps."""

    row: Int[Array, " numbers"]  # the environment's state, packed
    memory: Memory
    last_action: Int[Array, " agents"]
    alive: Bool[Array, ""]


def rollout(
    env: Env,
    agent: Agent,
    act: Policy,
    params: Params,
    key: jax.Array,
    epsilon: jax.Array,
    time_limit_is_terminal: bool,
) -> Episode:
    """`rollout.rollout` for a GPU."""
    spec = env.spec
    key_reset, key_steps = jax.random.split(key)
    keys = jax.vmap(jax.random.split)(jax.random.split(key_steps, spec.horizon))  # (T, 2)
    key_env, noise = keys[:, 0], jax.vmap(lambda key: gumbel_noise(key, spec))(keys[:, 1])
    start, (memory, network) = env.reset(key_reset), agent.stepper(params)
    state_row = rows_of(start)
    ended = lambda out: out.terminated | (out.truncated & time_limit_is_terminal)

    def step(carry: Carry, x: tuple[jax.Array, jax.Array]) -> tuple[Carry, Seen]:
        state = state_row.unpack(carry.row)
        view = env.view(state)
        memory, q = network(carry.memory, view.obs, carry.last_action)
        action, alive = act(x[1], q, view.avail, epsilon), carry.alive
        if spec.ends_early:
            action = jnp.where(alive, action, carry.last_action)  # as in `padding`
        out = env.step(x[0], state, action)
        row, outcome = state_row.pack(out.state), None
        if spec.ends_early:
            row = jnp.where(alive, row, carry.row)
            outcome = Outcome(jnp.where(alive, out.reward, 0.0), alive & ended(out), alive)
            alive &= ~(out.terminated | out.truncated)
        return Carry(row, memory, action, alive), Seen(carry.row, action, outcome)

    none = jnp.full((spec.n_agents,), -1, jnp.int32)
    first = Carry(state_row.pack(start), memory, none, jnp.array(True))
    last, seen = play(step, first, (key_env, noise), trip_length(env), spec.ends_early)
    rows = jnp.concatenate([seen.row, last.row[None]])
    outcome = seen.outcome
    if outcome is None:
        out = jax.vmap(env.step)(key_env, state_row.unpack(seen.row), seen.action)
        outcome = Outcome(out.reward, ended(out), jnp.ones((spec.horizon,), bool))
    return Episode(
        state_row.unpack(rows), seen.action, outcome.reward, outcome.terminated, outcome.happened.astype(jnp.float32)
    )


class Outcome(NamedTuple):
    """Reward and end of a step."""

    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    happened: Bool[Array, ""]


class Seen(NamedTuple):
    """Record of a step."""

    row: Int[Array, " numbers"]  # the environment's state before the step
    action: Int[Array, " agents"]
    outcome: Outcome | None  # None: computed after the loop


def play(
    step: Callable[[Carry, Any], tuple[Carry, Seen]], first: Carry, xs: Any, n: int, ends_early: bool
) -> tuple[Carry, Seen]:
    """`lax.scan(step, first, xs)` with n steps a trip, each put out as one row; until all episodes have ended."""
    length = jax.tree.leaves(xs)[0].shape[0]
    seen_row = rows_of(jax.eval_shape(step, first, jax.tree.map(lambda x: x[0], xs))[1])

    def trip(carry: Carry, xs: Any) -> tuple[Carry, jax.Array]:
        rows = []
        for i in range(n):
            carry, seen = step(carry, jax.tree.map(lambda x: x[i], xs))  # noqa: B023
            rows.append(seen_row.pack(seen))
        return carry, jnp.stack(rows)

    def padding(carry: Carry) -> jax.Array:
        nothing = Outcome(jnp.zeros(()), jnp.array(False), jnp.array(False)) if ends_early else None
        return jnp.broadcast_to(seen_row.pack(Seen(carry.row, carry.last_action, nothing))[None], (n, seen_row.size))

    trips = jax.tree.map(lambda x: x.reshape(length // n, n, *x.shape[1:]), xs)
    if ends_early:
        last, rows = lockstep.scan_while_any(lambda carry: carry.alive, trip, padding, first, trips)
    else:
        last, rows = jax.lax.scan(trip, first, trips)
    return last, seen_row.unpack(rows.reshape(length, seen_row.size))


def trip_length(env: Env) -> int:
    """Number of steps in a trip of the loop, which divides the horizon."""
    inputs = jax.eval_shape(
        lambda: (key := jax.random.key(0), env.reset(key), jnp.zeros((env.spec.n_agents,), jnp.int32))
    )
    if _equations(jax.make_jaxpr(env.step)(*inputs).jaxpr) > LARGE:
        return 1
    return max(n for n in range(1, MOST_STEPS + 1) if env.spec.horizon % n == 0)


def _equations(jaxpr: Any) -> int:
    """Number of equations, with those of loops, branches and calls."""
    return len(jaxpr.eqns) + sum(_equations(inner) for equation in jaxpr.eqns for inner in inner_jaxprs(equation))
