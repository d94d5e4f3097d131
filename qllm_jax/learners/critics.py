"""The network of the agents' critics: shared, with inputs that agents share multiplied once."""

from typing import cast

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from qllm_jax.core.initializers import Dense, biases, weights
from qllm_jax.core.types import Params

Inputs = tuple[dict[str, jax.Array], dict[str, jax.Array]]  # own parts (N, ...) of the agents, and shared ones


class Critic(nn.Module):
    """Linear, ReLU, linear, ReLU, linear on the concatenation of named parts, for ONE agent.

    Each part has its own rows of the first kernel: under a vmap over agents, a part that they share (the state, which
    is most of the input) is multiplied once for all of them and never copied.
    """

    hidden_dim: int
    n_outputs: int

    @nn.compact
    def __call__(self, parts: dict[str, jax.Array]) -> jax.Array:
        fan_in = sum(part.shape[0] for part in parts.values())
        x = self.param("in_bias", biases, (self.hidden_dim,), fan_in)
        for name, part in parts.items():
            x = x + part @ self.param(f"{name}_kernel", weights, (part.shape[0], self.hidden_dim), fan_in)
        x = nn.relu(Dense(self.hidden_dim, name="hidden")(nn.relu(x)))
        return Dense(self.n_outputs, name="out")(x)


def init(critic: Critic, key: jax.Array, inputs: Inputs) -> Params:
    """Parameters for inputs of these shapes. The key is consumed."""
    own, shared = inputs
    return critic.init(key, {name: part[0] for name, part in own.items()} | shared)


def apply(critic: Critic, params: Params, inputs: Inputs) -> Float[Array, "agents outputs"]:
    """Outputs of the critics of all agents, for one sample."""
    own, shared = inputs
    one = lambda own: cast(jax.Array, critic.apply(params, own | shared))
    return jax.vmap(one)(own)
