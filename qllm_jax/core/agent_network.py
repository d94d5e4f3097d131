"""The network that agents share, as one step and as whole unrolls by kernels: agents.py has the functions of a team.

Linear, ReLU, GRU, linear (pymarl's "rnn" agent); with layer norm, with more layers before the GRU, or without a GRU.
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_jax.core.gru import GruParams, gru_cell
from qllm_jax.core.initializers import Dense, biases, weights
from qllm_jax.core.types import Params

Norm = Callable[[jax.Array], Any] | None  # over the last axis


class AgentNetwork(nn.Module):
    """One step for rows = teams x agents, agent index fastest. Two GRU biases, as the paper's parameter counts say.

    Inputs may have one row a team, which all of its agents read: it is multiplied once.
    `depth` layers come before the GRU. The kind "mlp" has a layer in place of the GRU (epymarl's `use_rnn=False`), and
    what a GRU would remember is that layer, which the next step does not read.
    """

    n_agents: int
    n_actions: int
    hidden_dim: int
    agent_id: bool
    layer_norm: bool = False  # before every ReLU
    kind: str = "gru"
    depth: int = 1

    @nn.compact
    def __call__(self, hidden: jax.Array, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        width, size = inputs.shape[-1], self.hidden_dim
        fan_in = width + self.n_agents * self.agent_id
        kernel = self.param("in_kernel", weights, (width, size), fan_in)
        bias = self.param("in_bias", biases, (size,), fan_in)
        id_kernel = self.param("id_kernel", weights, (self.n_agents, size), fan_in) if self.agent_id else None
        norm = lambda layer: nn.LayerNorm(name=f"{layer}_norm") if self.layer_norm else None
        dense = lambda layer, x: activation(Dense(size, name=layer)(x), norm(layer))
        x = first_layer(inputs @ kernel, hidden.shape[0], bias, id_kernel, norm("in"))
        for i in range(self.depth - 1):
            x = dense(f"layer_{i}", x)
        hidden = dense("core", x) if self.kind == "mlp" else self.recurrent(hidden, x)
        return hidden, Dense(self.n_actions, name="head")(hidden)

    def recurrent(self, hidden: jax.Array, x: jax.Array) -> jax.Array:
        """The GRU's next hidden state."""
        size = self.hidden_dim
        drawn = ((weights, (size, 3 * size)),) * 2 + ((biases, (3 * size,)),) * 2
        named = zip(GruParams._fields, drawn, strict=True)
        gru = GruParams(*(self.param(f"gru_{name}", draw, shape, size) for name, (draw, shape) in named))
        return gru_cell(gru, hidden, x)


def first_layer(
    x: Float[Array, "*slots inputs hidden"], n_rows: int, bias: jax.Array, id_kernel: jax.Array | None, norm: Norm
) -> Float[Array, "*slots rows hidden"]:
    """`activation` of `x` with the bias and the weights of the agents' ids added; rows have the agent index fastest.

    `x` has `n_rows` rows, or one a team.
    """
    *slots, n_inputs, size = x.shape
    rows = bias[None]
    if id_kernel is not None:
        # A one-hot id times its rows of the kernel is those rows: no (N, O+N) input is ever built.
        rows = rows + id_kernel
    own = len(rows)
    if n_inputs < n_rows:
        rows, own = jnp.broadcast_to(rows, (n_rows // n_inputs, size)), 1
    x = x.reshape(-1, own, size)
    return activation(x + rows[None], norm).reshape(*slots, n_rows, size)


def activation(x: jax.Array, norm: Norm) -> jax.Array:
    """ReLU, after a layer norm if there is one."""
    return nn.relu(x if norm is None else norm(x))


def norm_of(params: Any, layer: str) -> Norm:
    """The layer norm of a layer among the parameters of an `AgentNetwork`, None if it has none."""
    name = f"{layer}_norm"
    return partial(nn.LayerNorm().apply, {"params": params[name]}) if name in params else None


def gru_of(params: Any) -> GruParams:
    """The GRU among the parameters of an `AgentNetwork`."""
    return GruParams(*(params[f"gru_{name}"] for name in GruParams._fields))


def unroll_by_kernels(
    networks: tuple[Params, ...], inputs: Callable[[], Float[Array, "slots inputs width"]], first: jax.Array
) -> list[tuple[Float[Array, "slots rows hidden"], Float[Array, "slots rows actions"]]]:
    """Unroll `AgentNetwork`s from the hidden states `first`, (rows, H), with one kernel for all slots and networks.

    Inputs have as many rows, or one a team.
    """
    from qllm_jax.core import gru_unroll  # where it is used: importing pallas takes time

    linear = lambda p, x: gru_unroll.matmul(x, p["kernel"]) + p["bias"][None, None]
    dense = lambda p, layer, x: activation(linear(p[layer], x), norm_of(p, layer))

    # Observations of all slots are many times larger than states: the backward pass makes them again.
    @jax.checkpoint
    def layers(p: Params) -> jax.Array:
        x = gru_unroll.matmul(inputs(), p["in_kernel"])
        x = first_layer(x, len(first), p["in_bias"], p.get("id_kernel"), norm_of(p, "in"))
        for i in itertools.takewhile(lambda i: f"layer_{i}" in p, itertools.count()):
            x = dense(p, f"layer_{i}", x)
        return x

    params = [cast(Any, each)["params"] for each in networks]
    if all("core" in p for p in params):  # an MLP: no slot needs the one before
        hiddens = [dense(p, "core", layers(p)) for p in params]
    else:
        hiddens = gru_unroll.unroll(
            tuple(map(gru_of, params)), (first,) * len(params), tuple(layers(p) for p in params)
        )
    return [(hidden, linear(p["head"], hidden)) for p, hidden in zip(params, hiddens, strict=True)]
