"""One step of the agents' network in few kernels, for rollouts on a GPU: agent_network.py has the network itself."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_envs import Spec
from qllm_jax.core.agent_network import activation, gru_of, norm_of
from qllm_jax.core.types import Params


class Memory(NamedTuple):
    """State of a team's network between two steps."""

    hidden: Float[Array, "agents hidden"]
    out: Float[Array, "agents outputs"]  # its part of the next step's gates, then the values of this step's actions


# (memory, obs (N, O), last_action (N,), -1 for none) -> memory, q (N, A)
Step = Callable[[Memory, jax.Array, jax.Array], tuple[Memory, jax.Array]]


def stepper(spec: Spec, agent_id: bool, last_action: bool, params: Params) -> tuple[Memory, Step]:
    """Arrange the weights, once for all steps, and return the memory before the first step and the step.

    What the first layer reads is one row, with the agent's number and a 1 for the bias. The head and the hidden state's
    part of the next gates are one product.
    """
    weights = params["params"]
    gru, norm = gru_of(weights), norm_of(weights, "in")
    size = gru.hidden_kernel.shape[0]
    own, rows = jnp.ones((spec.n_agents, 1)), [weights["in_kernel"], weights["in_bias"][None]]
    if agent_id:
        own, rows = jnp.concatenate([own, jnp.eye(spec.n_agents)], -1), [*rows, weights["id_kernel"]]
    kernel_in = jnp.concatenate(rows)
    kernel_out = jnp.concatenate([gru.hidden_kernel, weights["head"]["kernel"]], -1)  # (H, 3H + A)
    bias_out = jnp.append(gru.hidden_bias, weights["head"]["bias"])[None]

    def step(memory: Memory, obs: jax.Array, last: jax.Array) -> tuple[Memory, jax.Array]:
        seen = [obs, jax.nn.one_hot(last, spec.n_actions)] if last_action else [obs]
        x = activation(jnp.concatenate([*seen, own], -1) @ kernel_in, norm)
        reset_x, update_x, new_x = jnp.split(x @ gru.in_kernel + gru.in_bias[None], 3, -1)
        reset_h, update_h, new_h = jnp.split(memory.out[:, : 3 * size], 3, -1)
        update = jax.nn.sigmoid(update_x + update_h)
        new = jnp.tanh(new_x + jax.nn.sigmoid(reset_x + reset_h) * new_h)
        hidden = (1.0 - update) * new + update * memory.hidden
        out = hidden @ kernel_out + bias_out
        return Memory(hidden, out), out[:, 3 * size :]

    none = jnp.zeros((spec.n_agents, size))
    return Memory(none, none @ kernel_out + bias_out), step


def plain_stepper(
    step_of: Callable[..., tuple[jax.Array, jax.Array]],
    initial_hidden: Callable[[], jax.Array],
    spec: Spec,
    params: Params,
) -> tuple[Memory, Step]:
    """`stepper` by `Agent.step`, for the kinds of network whose weights are not arranged for a GPU."""

    def step(memory: Memory, obs: jax.Array, last: jax.Array) -> tuple[Memory, jax.Array]:
        hidden, q = step_of(params, memory.hidden, obs, last)
        return Memory(hidden, q), q

    return Memory(initial_hidden(), jnp.zeros((spec.n_agents, spec.n_actions))), step
