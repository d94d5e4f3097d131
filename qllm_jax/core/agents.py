"""The agents' shared Q-network: linear, ReLU, GRU, linear (pymarl's "rnn" agent); with layer norm, or an MLP."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qllm_envs import EnvState, Spec
from qllm_jax.core import agent_step
from qllm_jax.core.agent_step import Memory, Step
from qllm_jax.core.gru import GruParams, gru_cell
from qllm_jax.core.initializers import Dense, biases, weights
from qllm_jax.core.types import Params

Observe = Callable[[EnvState], jax.Array]  # states of one slot (...) -> observations (..., N, O)
NORM_EPS = 1e-6  # flax's
Emit = Callable[[jax.Array, jax.Array], Any]  # (hidden, q) -> what an unroll keeps of a slot


class Agent(NamedTuple):
    """Pure functions of a team whose agents share parameters. `...` stands for any leading axes."""

    init: Callable[[jax.Array], Params]  # the key is consumed
    initial_hidden: Callable[..., Float[Array, "... agents hidden"]]  # (*leading)
    # (params, hidden (..., N, H), obs (..., N, O), last_action (..., N), -1 for none) -> hidden, q (..., N, A)
    step: Callable[..., tuple[Float[Array, "... agents hidden"], Float[Array, "... agents actions"]]]
    stepper: Callable[[Params], tuple[Memory, Step]]  # the same for one team, in few kernels: for rollouts on a GPU
    # (tuple of params, observe, env_state (T+1, ...), action_t (T, ..., N)) -> tuple of q (T+1, ..., N, A)
    unroll: Callable[..., tuple[Float[Array, "slots ... agents actions"], ...]]
    # (params, observe, env_state, action_t) -> hidden (T+1, ..., N, H), q: for a method with a second head
    unroll_hidden: Callable[
        ..., tuple[Float[Array, "slots ... agents hidden"], Float[Array, "slots ... agents actions"]]
    ]
    # (obs_dim, n_outputs): the same kind of network for other inputs and outputs, without last actions: critics
    alike: Callable[[int, int], "Agent"]


class AgentNetwork(nn.Module):
    """One step for rows = teams x agents, agent index fastest. Two GRU biases, as the paper's parameter counts say.

    `depth` layers come before the GRU. The kind "mlp" has a layer in place of the GRU (epymarl's `use_rnn=False`), and
    what a GRU would remember is that layer, which the next step does not read.
    """

    n_agents: int
    n_actions: int
    hidden_dim: int
    agent_id: bool
    layer_norm: bool = False  # before the ReLU
    kind: str = "gru"
    depth: int = 1

    @nn.compact
    def __call__(self, hidden: jax.Array, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        width, size = inputs.shape[-1], self.hidden_dim
        fan_in = width + self.n_agents * self.agent_id
        kernel = self.param("in_kernel", weights, (width, size), fan_in)
        bias = self.param("in_bias", biases, (size,), fan_in)
        id_kernel = self.param("id_kernel", weights, (self.n_agents, size), fan_in) if self.agent_id else None
        norm = None
        if self.layer_norm:
            draw = (nn.initializers.ones_init(), nn.initializers.zeros_init())
            norm = LayerNorm(*(self.param(name, init, (size,)) for name, init in zip(NORM, draw, strict=True)))
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


class LayerNorm(NamedTuple):
    """Scale and bias (H,) of a layer norm."""

    scale: jax.Array
    bias: jax.Array


NORM = ("norm_scale", "norm_bias")  # their names among the parameters


def first_layer(x: jax.Array, bias: jax.Array, id_kernel: jax.Array | None, norm: LayerNorm | None) -> jax.Array:
    """`activation` of `x` with the bias and the weights of the agents' ids added; rows have the agent index fastest."""
    rows = bias[None]
    if id_kernel is not None:
        # A one-hot id times its rows of the kernel is those rows: no (N, O+N) input is ever built.
        rows = rows + id_kernel
    return activation(x.reshape(-1, *rows.shape) + rows[None], norm).reshape(x.shape)


def activation(x: jax.Array, norm: LayerNorm | None) -> jax.Array:
    """ReLU, after a layer norm over the last axis if there is one (Ba et al. 2016, arxiv.org/abs/1607.06450)."""
    if norm is not None:
        center = x - jnp.mean(x, -1, keepdims=True)
        x = center * jax.lax.rsqrt(jnp.mean(center**2, -1, keepdims=True) + NORM_EPS)
        axes = (1,) * (x.ndim - 1)
        x = x * norm.scale.reshape(*axes, -1) + norm.bias.reshape(*axes, -1)
    return nn.relu(x)


def norm_of(params: Any) -> LayerNorm | None:
    """The layer norm among the parameters of an `AgentNetwork`."""
    return LayerNorm(*(params[name] for name in NORM)) if NORM[0] in params else None


def make(
    spec: Spec,
    hidden_dim: int,
    agent_id: bool = True,
    last_action: bool = False,
    unroll_by: str = "scan",
    layer_norm: bool = False,
    kind: str = "gru",
    depth: int = 1,
) -> Agent:
    """The agent of an environment. `last_action` appends the one-hot last action to the observation.

    `kind` and `depth` are those of `AgentNetwork`.

    `unroll_by` is the implementation of unrolls: "scan" scans `step`; "pallas" has one kernel for all slots, for GPUs
    (gru_unroll.py). They compute the same to rounding.
    """
    network = AgentNetwork(spec.n_agents, spec.n_actions, hidden_dim, agent_id, layer_norm, kind, depth)

    def initial_hidden(*leading: int) -> jax.Array:
        return jnp.zeros((*leading, spec.n_agents, hidden_dim))

    def inputs_of(obs: jax.Array, last: jax.Array) -> jax.Array:
        return jnp.concatenate([obs, jax.nn.one_hot(last, spec.n_actions)], -1) if last_action else obs

    def step(params: Params, hidden: jax.Array, obs: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
        rows = network.apply(params, to_rows(hidden), to_rows(inputs_of(obs, last)))
        new_hidden, q = cast(tuple[jax.Array, jax.Array], rows)
        return new_hidden.reshape(hidden.shape), q.reshape(*hidden.shape[:-1], spec.n_actions)

    def init(key: jax.Array) -> Params:
        width = spec.obs_dim + spec.n_actions * last_action
        return network.init(key, initial_hidden(), jnp.zeros((spec.n_agents, width)))

    def scan(networks: tuple[Params, ...], observe: Observe, env_state: EnvState, action_t: jax.Array, emit: Emit):
        last = last_actions(action_t)

        # Observations are made where they are used, once for all networks: all slots' worth of them would not fit
        # into any cache. Projecting all slots' inputs before the scan was slower for the same reason.
        def scan_step(hiddens: tuple[jax.Array, ...], x: tuple[EnvState, jax.Array]):
            obs = observe(x[0])
            outs = [step(params, hidden, obs, x[1]) for params, hidden in zip(networks, hiddens, strict=True)]
            return tuple(hidden for hidden, _ in outs), tuple(emit(*out) for out in outs)

        first = tuple(initial_hidden(*action_t.shape[1:-1]) for _ in networks)
        return jax.lax.scan(scan_step, first, (env_state, last))[1]

    def kernels(networks: tuple[Params, ...], observe: Observe, env_state: EnvState, action_t: jax.Array, emit: Emit):
        slots = (len(action_t) + 1, *action_t.shape[1:])  # (T+1, ..., N)
        inputs = lambda: inputs_of(jax.vmap(observe)(env_state), last_actions(action_t))
        rows = lambda: inputs().reshape(slots[0], -1, spec.obs_dim + spec.n_actions * last_action)
        outs = unroll_by_kernels(networks, rows, to_rows(initial_hidden(*slots[1:-1])))
        shaped = lambda x: x.reshape(*slots, x.shape[-1])
        return tuple(emit(shaped(hidden), shaped(q)) for hidden, q in outs)

    all_slots = {"scan": scan, "pallas": kernels}[unroll_by]

    def unroll(networks: tuple[Params, ...], observe: Observe, env_state: EnvState, action_t: jax.Array):
        return all_slots(networks, observe, env_state, action_t, lambda hidden, q: q)

    def unroll_hidden(params: Params, observe: Observe, env_state: EnvState, action_t: jax.Array):
        return all_slots((params,), observe, env_state, action_t, lambda hidden, q: (hidden, q))[0]

    def alike(obs_dim: int, n_outputs: int) -> Agent:
        other = spec._replace(obs_dim=obs_dim, n_actions=n_outputs)
        return make(other, hidden_dim, agent_id, False, unroll_by, layer_norm, kind, depth)

    after_first = lambda x, weights: activation(x, norm_of(weights))
    in_few_kernels = partial(agent_step.stepper, spec, agent_id, last_action, after_first)
    stepper = (
        in_few_kernels if (kind, depth) == ("gru", 1) else partial(agent_step.plain_stepper, step, initial_hidden, spec)
    )
    return Agent(init, initial_hidden, step, stepper, unroll, unroll_hidden, alike)


def unroll_by_kernels(
    networks: tuple[Params, ...], inputs: Callable[[], Float[Array, "slots rows inputs"]], first: jax.Array
) -> list[tuple[Float[Array, "slots rows hidden"], Float[Array, "slots rows actions"]]]:
    """Unroll `AgentNetwork`s from the hidden states `first`, (rows, H), with one kernel for all slots and networks."""
    from qllm_jax.core import gru_unroll  # where it is used: importing pallas takes time

    # Observations of all slots are many times larger than states: the backward pass makes them again.
    @jax.checkpoint
    def layer(p: Params) -> jax.Array:
        x = gru_unroll.matmul(inputs(), p["in_kernel"])
        x = first_layer(x, p["in_bias"], p.get("id_kernel"), norm_of(p))
        for i in range(sum(name.startswith("layer_") for name in p)):
            x = nn.relu(linear(p[f"layer_{i}"], x))
        return x

    linear = lambda p, x: gru_unroll.matmul(x, p["kernel"]) + p["bias"][None, None]
    params = [each["params"] for each in networks]
    if all("core" in p for p in params):  # an MLP: no slot needs the one before
        hiddens = [nn.relu(linear(p["core"], layer(p))) for p in params]
        return [(hidden, linear(p["head"], hidden)) for p, hidden in zip(params, hiddens, strict=True)]
    grus = tuple(GruParams(*(p[f"gru_{name}"] for name in GruParams._fields)) for p in params)
    hiddens = gru_unroll.unroll(grus, (first,) * len(grus), tuple(layer(p) for p in params))
    return [(hidden, linear(p["head"], hidden)) for p, hidden in zip(params, hiddens, strict=True)]


def last_actions(action_t: Int[Array, "time ... agents"]) -> Int[Array, "slots ... agents"]:
    """The action before each slot, -1 for none."""
    return jnp.concatenate([jnp.full_like(action_t[:1], -1), action_t])


def to_rows(x: jax.Array) -> jax.Array:
    """(..., X) as (rows, X)."""
    return x.reshape(-1, x.shape[-1])
