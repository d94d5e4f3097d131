"""The agents' shared recurrent Q-network: linear, ReLU, GRU, linear (pymarl's "rnn" agent)."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from qllm_envs import Spec

from qllm_jax.initializers import uniform
from qllm_jax.recurrent import GruParams, gru_cell
from qllm_jax.types import Params


class Agent(NamedTuple):
    """Pure functions of a team whose agents share parameters. `...` stands for any leading axes."""

    init: Callable[[jax.Array], Params]  # the key is consumed
    initial_hidden: Callable[..., Float[Array, "... agents hidden"]]  # (*leading)
    # (params, hidden (..., N, H), obs (..., N, O), last_action (..., N), -1 for none) -> hidden, q (..., N, A)
    step: Callable[..., tuple[Float[Array, "... agents hidden"], Float[Array, "... agents actions"]]]
    # (params, obs (T+1, ..., N, O), action_t (T, ..., N)) -> q (T+1, ..., N, A), from a zero hidden state
    unroll: Callable[..., Float[Array, "slots ... agents actions"]]


class AgentNetwork(nn.Module):
    """One step for rows = teams x agents, agent index fastest. Two GRU biases, as the paper's parameter counts say."""

    n_agents: int
    n_actions: int
    hidden_dim: int
    agent_id: bool

    @nn.compact
    def __call__(self, hidden: jax.Array, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        width, size = inputs.shape[-1], self.hidden_dim
        fan_in = width + self.n_agents * self.agent_id
        x = inputs @ self.param("in_kernel", uniform, (width, size), fan_in)
        rows = self.param("in_bias", uniform, (size,), fan_in)[None]
        if self.agent_id:
            # A one-hot id times its rows of the kernel is those rows: no (N, O+N) input is ever built.
            rows = rows + self.param("id_kernel", uniform, (self.n_agents, size), fan_in)
        x = nn.relu(x.reshape(-1, *rows.shape) + rows[None]).reshape(x.shape)
        hidden = gru_cell(self._gru_params(), hidden, x)
        kernel = self.param("out_kernel", uniform, (size, self.n_actions), size)
        return hidden, hidden @ kernel + self.param("out_bias", uniform, (self.n_actions,), size)[None]

    def _gru_params(self) -> GruParams:
        size = self.hidden_dim
        shapes = GruParams((size, 3 * size), (size, 3 * size), (3 * size,), (3 * size,))
        return GruParams(*(self.param(f"gru_{k}", uniform, v, size) for k, v in shapes._asdict().items()))


def make(spec: Spec, hidden_dim: int, agent_id: bool = True, last_action: bool = False) -> Agent:
    """The agent of an environment. `last_action` appends the one-hot last action to the observation."""
    network = AgentNetwork(spec.n_agents, spec.n_actions, hidden_dim, agent_id)

    def initial_hidden(*leading: int) -> jax.Array:
        return jnp.zeros((*leading, spec.n_agents, hidden_dim))

    def step(params: Params, hidden: jax.Array, obs: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
        inputs = jnp.concatenate([obs, jax.nn.one_hot(last, spec.n_actions)], -1) if last_action else obs
        to_rows = lambda x: x.reshape(-1, x.shape[-1])  # noqa: E731
        new_hidden, q = network.apply(params, to_rows(hidden), to_rows(inputs))
        return new_hidden.reshape(hidden.shape), q.reshape(*obs.shape[:-1], spec.n_actions)

    def init(key: jax.Array) -> Params:
        width = spec.obs_dim + spec.n_actions * last_action
        return network.init(key, initial_hidden(), jnp.zeros((spec.n_agents, width)))

    def unroll(params: Params, obs: jax.Array, action_t: jax.Array) -> jax.Array:
        none = jnp.full_like(action_t[:1], -1)
        last = jnp.concatenate([none, action_t])  # (T+1, ..., N)
        first = initial_hidden(*obs.shape[1:-2])
        return jax.lax.scan(lambda hidden, x: step(params, hidden, *x), first, (obs, last))[1]

    return Agent(init, initial_hidden, step, unroll)
