"""Controls of a credit function: the same function, changed in one way, for experiments.

`NAME:CONTROL` in place of the name of a credit function. If a function helps because it knows whose action
mattered, `shuffled` (credit of other agents) and `inverted` (turned round) must not help. `constant` takes its
knowledge away, `noisy` blurs it. `shuffled`, `inverted` and `noisy` keep the bias and the scale of the weights;
`bias_only` keeps the bias alone, and `unbiased` the weights alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from qllm_envs.parts import suggest
from qllm_jax.core.types import Params
from qllm_jax.errors import UserError

NOISE = 1.0  # standard deviation of the logarithm of a noisy weight
SALTS = 2**16  # whole numbers that a float32 holds exactly

Weights = Float[Array, " agents"]
Bias = Float[Array, ""]
State = Float[Array, " state"]


class Control(NamedTuple):
    """`init(key, n_agents)` draws what is fixed in a run; `apply(params, weights, bias, state)` spoils one sample."""

    init: Callable[[jax.Array, int], Params]
    apply: Callable[[Params, Weights, Bias, State], tuple[Weights, Bias]]


def find(name: str) -> Control:
    """Return the control `name`. UserError if there is none."""
    if name not in CONTROLS:
        raise UserError(f"control {name!r} of a credit function does not exist: {suggest(name, CONTROLS)}")
    return CONTROLS[name]


def no_params(key: jax.Array, n_agents: int) -> Params:
    """Parameters of a control that draws nothing."""
    del key, n_agents
    return {}


def constant(params: Params, weights: Weights, bias: Bias, state: State) -> tuple[Weights, Bias]:
    """Weights of 1 and no bias: VDN."""
    del params, state
    return jnp.ones_like(weights), jnp.zeros_like(bias)


def bias_only(params: Params, weights: Weights, bias: Bias, state: State) -> tuple[Weights, Bias]:
    """Weights of 1 and the function's bias: VDN with that bias."""
    del params, state
    return jnp.ones_like(weights), bias


def unbiased(params: Params, weights: Weights, bias: Bias, state: State) -> tuple[Weights, Bias]:
    """The function's weights and no bias."""
    del params, state
    return weights, jnp.zeros_like(bias)


def draw_cycle(key: jax.Array, n_agents: int) -> Params:
    """Draw a random cycle through all agents, so that no agent keeps its own weight. Floats without a gradient."""
    order = jax.random.permutation(key, n_agents)
    return {"source": jnp.zeros(n_agents).at[order].set(jnp.roll(order, 1).astype(jnp.float32))}


def shuffled(params: Params, weights: Weights, bias: Bias, state: State) -> tuple[Weights, Bias]:
    """Each agent has the weight of another agent, the same one throughout a run."""
    del state
    return weights[jnp.round(params["source"]).astype(jnp.int32)], bias


def inverted(params: Params, weights: Weights, bias: Bias, state: State) -> tuple[Weights, Bias]:
    """Low weights for high ones: max + min - w, rescaled to the sum of the weights' sizes before."""
    del params, state
    reflected = jnp.max(weights) + jnp.min(weights) - weights
    size, reflected_size = jnp.sum(jnp.abs(weights)), jnp.sum(jnp.abs(reflected))
    return reflected * jnp.where(
        reflected_size > 0, size / jnp.where(reflected_size > 0, reflected_size, 1.0), 1.0
    ), bias


def draw_salt(key: jax.Array, n_agents: int) -> Params:
    """Draw a whole number that makes the noise of one run differ from another's. A float without a gradient."""
    del n_agents
    return {"salt": jax.random.randint(key, (), 0, SALTS).astype(jnp.float32)}


def noisy(params: Params, weights: Weights, bias: Bias, state: State) -> tuple[Weights, Bias]:
    """Weights times log-normal noise of mean 1, one draw for each state: the same whenever a run meets the state."""
    salt = jnp.round(params["salt"]).astype(jnp.uint32)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), salt), hash_of(state))
    return weights * jnp.exp(NOISE * jax.random.normal(key, weights.shape) - NOISE**2 / 2), bias


def hash_of(state: State) -> UInt32[Array, ""]:
    """A hash of the bits of a state: the sum of those of its numbers, each with its place, by MurmurHash3's finalizer.

    A sum of products would be one hash for many states of zeros and ones.
    """
    bits = jax.lax.bitcast_convert_type(state.astype(jnp.float32), jnp.uint32)
    x = bits + (2 * jnp.arange(state.size, dtype=jnp.uint32) + 1) * jnp.uint32(0x9E3779B1)
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return jnp.sum(x ^ (x >> 16), dtype=jnp.uint32)


CONTROLS = {
    "constant": Control(no_params, constant),
    "bias_only": Control(no_params, bias_only),
    "unbiased": Control(no_params, unbiased),
    "shuffled": Control(draw_cycle, shuffled),
    "inverted": Control(no_params, inverted),
    "noisy": Control(draw_salt, noisy),
}
