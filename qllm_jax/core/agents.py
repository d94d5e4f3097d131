"""The functions of a team: its step, and unrolls over whole episodes. Its agents share a network, or have one each."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qllm_envs import EnvState, Spec
from qllm_jax.core import agent_step
from qllm_jax.core.agent_network import AgentNetwork, unroll_by_kernels
from qllm_jax.core.agent_step import Memory, Step
from qllm_jax.core.types import Params

Observe = Callable[[EnvState], jax.Array]  # states of one slot (...) -> observations (..., N, O)
Emit = Callable[[jax.Array, jax.Array], Any]  # (hidden, q) -> what an unroll keeps of a slot


class Agent(NamedTuple):
    """Pure functions of a team. `...` stands for any leading axes."""

    init: Callable[[jax.Array], Params]  # the key is consumed
    initial_hidden: Callable[..., Float[Array, "... agents hidden"]]  # (*leading)
    # (params, hidden (..., N, H), obs (..., N, O), last_action (..., N), -1 for none) -> hidden, q (..., N, A)
    step: Callable[..., tuple[Float[Array, "... agents hidden"], Float[Array, "... agents actions"]]]
    stepper: Callable[[Params], tuple[Memory, Step]]  # the same for one team, in few kernels: for rollouts on a GPU
    # (tuple of params, observe, env_state (T+1, ...), action_t (T, ..., N)) -> tuple of q (T+1, ..., N, A)
    unroll: Callable[..., tuple[Float[Array, "slots ... agents actions"], ...]]
    # As `unroll`, with (hidden (T+1, ..., N, H), q) of each network: for a method that reads the hidden states
    unroll_hidden: Callable[
        ..., tuple[tuple[Float[Array, "slots ... agents hidden"], Float[Array, "slots ... agents actions"]], ...]
    ]
    # (obs_dim, n_outputs): the same kind of network for other inputs and outputs, without last actions: critics
    alike: Callable[[int, int], "Agent"]


class Team(NamedTuple):
    """The options of `make`. All static."""

    spec: Spec
    hidden_dim: int
    agent_id: bool
    last_action: bool
    unroll_by: str
    layer_norm: bool
    kind: str
    depth: int
    shared: bool

    @property
    def network(self) -> AgentNetwork:
        """The network that the agents share, or the one of a single agent."""
        n_agents, agent_id = (self.spec.n_agents, self.agent_id) if self.shared else (1, False)
        options = (self.hidden_dim, agent_id, self.layer_norm, self.kind, self.depth)
        return AgentNetwork(n_agents, self.spec.n_actions, *options)

    @property
    def width(self) -> int:
        """Numbers that an agent reads, its id left out."""
        return self.spec.obs_dim + self.spec.n_actions * self.last_action


def make(
    spec: Spec,
    hidden_dim: int,
    agent_id: bool = True,
    last_action: bool = False,
    unroll_by: str = "scan",
    layer_norm: bool = False,
    kind: str = "gru",
    depth: int = 1,
    shared: bool = True,
) -> Agent:
    """The agent of an environment. `last_action` appends the one-hot last action to the observation.

    `layer_norm`, `kind` and `depth` are those of `AgentNetwork`.

    `unroll_by` is the implementation of unrolls: "scan" scans `step`; "pallas" has one kernel for all slots, for GPUs
    (gru_unroll.py). They compute the same to rounding. Without `shared`, each agent has parameters of its own, with a
    leading axis N: they read no id, and are unrolled by "scan".
    """
    unroll_by = unroll_by if shared else "scan"
    team = Team(spec, hidden_dim, agent_id, last_action, unroll_by, layer_norm, kind, depth, shared)
    of_team: Any = lambda part: partial(part, team)
    return Agent(*map(of_team, (init, initial_hidden, step, stepper, unroll, unroll_hidden, alike)))


def alike(team: Team, obs_dim: int, n_outputs: int) -> Agent:
    """See `Agent.alike`."""
    spec = team.spec._replace(obs_dim=obs_dim, n_actions=n_outputs)
    return make(**team._replace(spec=spec, last_action=False)._asdict())


def init(team: Team, key: jax.Array) -> Params:
    """Parameters of the network, or with a leading axis N of one for each agent. The key is consumed."""
    if not team.shared:
        first = (jnp.zeros((1, team.hidden_dim)), jnp.zeros((1, team.width)))
        return jax.vmap(lambda key: team.network.init(key, *first))(jax.random.split(key, team.spec.n_agents))
    return team.network.init(key, initial_hidden(team), jnp.zeros((team.spec.n_agents, team.width)))


def initial_hidden(team: Team, *leading: int) -> jax.Array:
    """The memory before the first step, (*leading, N, H)."""
    return jnp.zeros((*leading, team.spec.n_agents, team.hidden_dim))


def inputs_of(team: Team, obs: jax.Array, last: jax.Array) -> jax.Array:
    """Inputs of the network, (..., N, `width`)."""
    return jnp.concatenate([obs, jax.nn.one_hot(last, team.spec.n_actions)], -1) if team.last_action else obs


def step(team: Team, params: Params, hidden: jax.Array, obs: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
    """See `Agent.step`."""
    if not team.shared:
        own = jax.vmap(lambda params, hidden, x: team.network.apply(params, hidden, x), (0, 1, 1), 1)
        split = lambda x: x.reshape(-1, *x.shape[-2:])  # (teams, N, X)
        each = cast(tuple[jax.Array, jax.Array], own(params, split(hidden), split(inputs_of(team, obs, last))))
        return each[0].reshape(hidden.shape), each[1].reshape(*hidden.shape[:-1], team.spec.n_actions)
    rows = team.network.apply(params, to_rows(hidden), to_rows(inputs_of(team, obs, last)))
    new_hidden, q = cast(tuple[jax.Array, jax.Array], rows)
    return new_hidden.reshape(hidden.shape), q.reshape(*hidden.shape[:-1], team.spec.n_actions)


def stepper(team: Team, params: Params) -> tuple[Memory, Step]:
    """See `Agent.stepper`."""
    if (team.kind, team.depth, team.shared) == ("gru", 1, True):
        return agent_step.stepper(team.spec, team.agent_id, team.last_action, params)
    return agent_step.plain_stepper(partial(step, team), partial(initial_hidden, team), team.spec, params)


def unroll(
    team: Team, networks: tuple[Params, ...], observe: Observe, env_state: EnvState, action_t: jax.Array
) -> tuple[jax.Array, ...]:
    """See `Agent.unroll`."""
    return ALL_SLOTS[team.unroll_by](team, networks, observe, env_state, action_t, lambda hidden, q: q)


def unroll_hidden(
    team: Team, networks: tuple[Params, ...], observe: Observe, env_state: EnvState, action_t: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], ...]:
    """See `Agent.unroll_hidden`."""
    return ALL_SLOTS[team.unroll_by](team, networks, observe, env_state, action_t, lambda hidden, q: (hidden, q))


def scanned(
    team: Team, networks: tuple[Params, ...], observe: Observe, env_state: EnvState, action_t: jax.Array, emit: Emit
) -> tuple[Any, ...]:
    """Results of `emit` in all slots, for each network, by a scan."""
    last = last_actions(action_t)

    # Observations are made where they are used, once for all networks: all slots' worth of them would not fit
    # into any cache. Projecting all slots' inputs before the scan was slower for the same reason.
    def scan_step(hiddens: tuple[jax.Array, ...], x: tuple[EnvState, jax.Array]):
        obs = observe(x[0])
        outs = [step(team, params, hidden, obs, x[1]) for params, hidden in zip(networks, hiddens, strict=True)]
        return tuple(hidden for hidden, _ in outs), tuple(emit(*out) for out in outs)

    first = tuple(initial_hidden(team, *action_t.shape[1:-1]) for _ in networks)
    return jax.lax.scan(scan_step, first, (env_state, last))[1]


def by_kernels(
    team: Team, networks: tuple[Params, ...], observe: Observe, env_state: EnvState, action_t: jax.Array, emit: Emit
) -> tuple[Any, ...]:
    """`scanned` by kernels for all slots."""
    slots = (len(action_t) + 1, *action_t.shape[1:])  # (T+1, ..., N)
    inputs = lambda: inputs_of(team, jax.vmap(observe)(env_state), last_actions(action_t))
    rows = lambda: inputs().reshape(slots[0], -1, team.width)
    outs = unroll_by_kernels(networks, rows, to_rows(initial_hidden(team, *slots[1:-1])))
    shaped = lambda x: x.reshape(*slots, x.shape[-1])
    return tuple(emit(shaped(hidden), shaped(q)) for hidden, q in outs)


ALL_SLOTS = {"scan": scanned, "pallas": by_kernels}


def last_actions(action_t: Int[Array, "time ... agents"]) -> Int[Array, "slots ... agents"]:
    """The action before each slot, -1 for none."""
    return jnp.concatenate([jnp.full_like(action_t[:1], -1), action_t])


def to_rows(x: jax.Array) -> jax.Array:
    """(..., X) as (rows, X)."""
    return x.reshape(-1, x.shape[-1])
