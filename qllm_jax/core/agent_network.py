"""The network that agents share, as one step and as whole unrolls by kernels: agents.py makes a team's functions of it.

Linear, ReLU, GRU, linear (pymarl's "rnn" agent); with layer norm, with more layers before the GRU, or without a GRU.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from qllm_jax.core.gru import GruParams, gru_cell
from qllm_jax.core.initializers import Dense, biases, weights
from qllm_jax.core.types import Params

Norm = Callable[[jax.Array], Any] | None  # over the last axis


class AgentNetwork(nn.Module):
    """One step for rows = teams x agents, agent index fastest. Two GRU biases, as the paper's parameter counts say.

    `depth` layers come before the GRU. The kind "mlp" has a layer in place of the GRU (epymarl's `use_rnn=False`), and
    what a GRU would remember is that layer, which the next step does not read.
    """

    n_agents: int
    n_actions: int
    hidden_dim: int
    agent_id: bool
    layer_norm: bool = False  # before the first ReLU
    kind: str = "gru"
    depth: int = 1

    @nn.compact
    def __call__(self, hidden: jax.Array, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        width, size = inputs.shape[-1], self.hidden_dim
        fan_in = width + self.n_agents * self.agent_id
        kernel = self.param("in_kernel", weights, (width, size), fan_in)
        bias = self.param("in_bias", biases, (size,), fan_in)
        id_kernel = self.param("id_kernel", weights, (self.n_agents, size), fan_in) if self.agent_id else None
        norm = nn.LayerNorm(name="norm") if self.layer_norm else None
        x = first_layer(inputs @ kernel, bias, id_kernel, norm)
        for i in range(self.depth - 1):
            x = nn.relu(Dense(size, name=f"layer_{i}")(x))
        hidden = nn.relu(Dense(size, name="core")(x)) if self.kind == "mlp" else self.recurrent(hidden, x)
        return hidden, Dense(self.n_actions, name="head")(hidden)

    def recurrent(self, hidden: jax.Array, x: jax.Array) -> jax.Array:
        """The GRU's next hidden state."""
        size = self.hidden_dim
        drawn = ((weights, (size, 3 * size)),) * 2 + ((biases, (3 * size,)),) * 2
        named = zip(GruParams._fields, drawn, strict=True)
        gru = GruParams(*(self.param(f"gru_{name}", draw, shape, size) for name, (draw, shape) in named))
        return gru_cell(gru, hidden, x)


def first_layer(x: jax.Array, bias: jax.Array, id_kernel: jax.Array | None, norm: Norm) -> jax.Array:
    """`activation` of `x` with the bias and the weights of the agents' ids added; rows have the agent index fastest."""
    rows = bias[None]
    if id_kernel is not None:
        # A one-hot id times its rows of the kernel is those rows: no (N, O+N) input is ever built.
        rows = rows + id_kernel
    return activation(x.reshape(-1, *rows.shape) + rows[None], norm).reshape(x.shape)


def activation(x: jax.Array, norm: Norm) -> jax.Array:
    """ReLU, after a layer norm if there is one."""
    return nn.relu(x if norm is None else norm(x))


def norm_of(params: Any) -> Norm:
    """The layer norm among the parameters of an `AgentNetwork`, None if it has none."""
    return partial(nn.LayerNorm().apply, {"params": params["norm"]}) if "norm" in params else None


def gru_of(params: Any) -> GruParams:
    """The GRU among the parameters of an `AgentNetwork`."""
    return GruParams(*(params[f"gru_{name}"] for name in GruParams._fields))


def unroll_by_kernels(
    networks: tuple[Params, ...], inputs: Callable[[], Float[Array, "slots rows inputs"]], first: jax.Array
) -> list[tuple[Float[Array, "slots rows hidden"], Float[Array, "slots rows actions"]]]:
    """Unroll `AgentNetwork`s from the hidden states `first`, (rows, H), with one kernel for all slots and networks."""
    from qllm_jax.core import gru_unroll  # where it is used: importing pallas takes time

    linear = lambda p, x: gru_unroll.matmul(x, p["kernel"]) + p["bias"][None, None]

    # Observations of all slots are many times larger than states: the backward pass makes them again.
    @jax.checkpoint
    def layers(p: Params) -> jax.Array:
        x = gru_unroll.matmul(inputs(), p["in_kernel"])
        x = first_layer(x, p["in_bias"], p.get("id_kernel"), norm_of(p))
        for i in range(sum(name.startswith("layer_") for name in p)):
            x = nn.relu(linear(p[f"layer_{i}"], x))
        return x

    params = [cast(Any, each)["params"] for each in networks]
    if all("core" in p for p in params):  # an MLP: no slot needs the one before
        hiddens = [nn.relu(linear(p["core"], layers(p))) for p in params]
    else:
        hiddens = gru_unroll.unroll(
            tuple(map(gru_of, params)), (first,) * len(params), tuple(layers(p) for p in params)
        )
    return [(hidden, linear(p["head"], hidden)) for p, hidden in zip(params, hiddens, strict=True)]
