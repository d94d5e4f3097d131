"""Qatten (Yang et al. 2020, arxiv.org/abs/2002.03939): attention of the state over agents weighs their values."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from qllm_envs import Spec
from qllm_jax.core import options
from qllm_jax.core.networks import Mlp, mlp_heads
from qllm_jax.errors import UserError
from qllm_jax.mixers.base import Mixer, MixerInputs

PART = "mixer 'qatten'"


class QattenNetwork(nn.Module):
    """Q_tot = sum_h |w_h(s)| sum_i softmax_i(query_h(s) . key_h(u_i) / sqrt(embed)) q_i + c(s).

    u_i is the i-th slice of `key_dim` numbers of the state. Sizes, and the weighted heads, are pymarl2's.
    """

    heads: int
    embed_dim: int
    hypernet_dim: int
    key_dim: int

    @nn.compact
    def __call__(self, chosen_q: jax.Array, state: jax.Array) -> jax.Array:
        n_agents = chosen_q.shape[0]
        own = state[: n_agents * self.key_dim].reshape(n_agents, self.key_dim)
        query = mlp_heads(self.heads, (self.hypernet_dim,), self.embed_dim, "query")(state)  # (heads, embed)
        key = mlp_heads(self.heads, (), self.embed_dim, "key")(own)  # (heads, N, embed)
        logits = jnp.einsum("he,hne->hn", query, key) / self.embed_dim**0.5
        head_q = nn.softmax(logits, -1) @ chosen_q  # (heads,)
        weights = jnp.abs(Mlp((self.hypernet_dim,), self.heads, name="weights")(state))
        constant = Mlp((self.embed_dim,), 1, name="constant")(state).squeeze(-1)
        return weights @ head_q + constant


def make(spec: Spec, *, heads: int = 4, embed_dim: int = 32, hypernet_dim: int = 64, key_dim: int | str = 1) -> Mixer:
    """Qatten for any environment; sizes as in pymarl2 unless given. UserError for sizes that make no network.

    `key_dim` is how many numbers of the state each agent's key is made of. 1 is how the paper's release ran it: its
    `agent_own_state_size: True` is used as the integer 1, so that u_i is the i-th number of the state. "state" cuts
    the state into N equal slices, which is meant where the state is the concatenation of all observations.
    """
    network = QattenNetwork(
        options.integer(PART, "heads", heads),
        options.integer(PART, "embed_dim", embed_dim),
        options.integer(PART, "hypernet_dim", hypernet_dim),
        resolve_key_dim(key_dim, spec),
    )

    def apply(params: dict, inputs: MixerInputs) -> jax.Array:
        return network.apply(params, inputs.chosen_q, inputs.state)  # pyright: ignore[reportReturnType]

    return Mixer(init=lambda key, inputs: network.init(key, inputs.chosen_q, inputs.state), apply=apply)


def resolve_key_dim(key_dim: int | str, spec: Spec) -> int:
    """Return the length of a key for the option `key_dim`. UserError unless N such slices fit into the state."""
    if key_dim == "state":
        if spec.state_dim % spec.n_agents:
            raise UserError(
                f"{PART}: key_dim 'state' needs a state of {spec.n_agents} equal parts, one an agent, "
                f"and {spec.name} has {spec.state_dim} numbers: choose an integer"
            )
        return spec.state_dim // spec.n_agents
    if isinstance(key_dim, str):
        raise UserError(f"{PART}: key_dim must be 'state' or an integer of at least 1, got {key_dim!r}")
    size = options.integer(PART, "key_dim", key_dim)
    if size * spec.n_agents > spec.state_dim:
        raise UserError(
            f"{PART}: key_dim {size} for {spec.n_agents} agents needs a state of {size * spec.n_agents} numbers, "
            f"and {spec.name} has {spec.state_dim}: choose at most {spec.state_dim // spec.n_agents}"
        )
    return size
