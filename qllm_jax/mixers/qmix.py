"""QMIX (Rashid et al. 2018, arxiv.org/abs/1803.11485): monotonic mixing by hypernetworks of the state."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from qllm_envs import Spec
from qllm_jax.core import options
from qllm_jax.core.initializers import Dense
from qllm_jax.mixers.base import Mixer, MixerInputs

PART = "mixer 'qmix'"


class QmixNetwork(nn.Module):
    """Q_tot = |W2(s)| . ELU(|W1(s)| q + b1(s)) + b2(s), Eq. 5 to 7 of the paper's section 4.

    `hypernet_layers` 2 puts a hidden layer of `hypernet_dim` into the two weight hypernetworks; 1 makes them linear.
    """

    embed_dim: int
    hypernet_dim: int
    hypernet_layers: int

    @nn.compact
    def __call__(self, chosen_q: jax.Array, state: jax.Array) -> jax.Array:
        n_agents = chosen_q.shape[0]
        w1 = jnp.abs(self._weights("w1", state, n_agents * self.embed_dim)).reshape(n_agents, self.embed_dim)
        b1 = Dense(self.embed_dim, name="b1")(state)
        w2 = jnp.abs(self._weights("w2", state, self.embed_dim))
        b2 = Dense(1, name="b2_out")(nn.relu(Dense(self.embed_dim, name="b2_hidden")(state)))
        hidden = nn.elu(chosen_q @ w1 + b1)  # (embed,)
        return hidden @ w2 + b2.squeeze(-1)

    def _weights(self, name: str, state: jax.Array, size: int) -> jax.Array:
        if self.hypernet_layers == 2:
            state = nn.relu(Dense(self.hypernet_dim, name=f"{name}_hidden")(state))
        return Dense(size, name=f"{name}_out")(state)


def make(spec: Spec, *, embed_dim: int = 32, hypernet_dim: int = 64, hypernet_layers: int = 2) -> Mixer:
    """QMIX for any environment; sizes as in pymarl unless given. UserError for sizes that make no network."""
    del spec
    network = QmixNetwork(
        options.integer(PART, "embed_dim", embed_dim),
        options.integer(PART, "hypernet_dim", hypernet_dim),
        options.choice(PART, "hypernet_layers", hypernet_layers, (1, 2)),
    )

    def apply(params: dict, inputs: MixerInputs) -> jax.Array:
        return network.apply(params, inputs.chosen_q, inputs.state)  # pyright: ignore[reportReturnType]

    return Mixer(init=lambda key, inputs: network.init(key, inputs.chosen_q, inputs.state), apply=apply)
