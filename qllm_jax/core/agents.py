"""A team's network: its step, and unrolls over whole episodes. The agents share it, or have one each."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qllm_envs import EnvState, Spec
from qllm_jax.core import agent_step
from qllm_jax.core.agent_network import AgentNetwork, unroll_by_kernels
from qllm_jax.core.agent_step import Memory, Step
from qllm_jax.core.types import Params

Observe = Callable[[EnvState], jax.Array]  # states of one slot (...) -> observations (..., N, O), or (..., 1, O)
Actions = Int[Array, "time ... agents"]
Pair = tuple[jax.Array, jax.Array]
Emit = Callable[[jax.Array, jax.Array], Any]  # (hidden, q) -> what an unroll keeps of a slot


class Agent(NamedTuple):
    """A team's network: its options, and the functions that they make. `...` stands for any leading axes.

    `layer_norm`, `kind` and `depth` are those of `AgentNetwork`.
    """

    spec: Spec
    hidden_dim: int
    agent_id: bool = True
    last_action: bool = False  # appended to the observation, one-hot
    # Unrolls by "scan" scan `step`; "pallas" has one kernel for all slots, for GPUs (gru_unroll.py). They compute the
    # same to rounding.
    unroll_by: str = "scan"
    layer_norm: bool = False
    kind: str = "gru"
    depth: int = 1
    # If not, each agent has parameters of its own, with a leading axis N: they read no id, and are unrolled by "scan".
    shared: bool = True

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

    def alike(self, obs_dim: int, n_outputs: int) -> "Agent":
        """The same kind of network for other inputs and outputs, without last actions: a critic."""
        return self._replace(spec=self.spec._replace(obs_dim=obs_dim, n_actions=n_outputs), last_action=False)

    def init(self, key: jax.Array) -> Params:
        """Parameters of the network, or with a leading axis N of one for each agent. The key is consumed."""
        if not self.shared:
            first = (jnp.zeros((1, self.hidden_dim)), jnp.zeros((1, self.width)))
            return jax.vmap(lambda key: self.network.init(key, *first))(jax.random.split(key, self.spec.n_agents))
        return self.network.init(key, self.initial_hidden(), jnp.zeros((self.spec.n_agents, self.width)))

    def initial_hidden(self, *leading: int) -> Float[Array, "*leading agents hidden"]:
        """The memory before the first step."""
        return jnp.zeros((*leading, self.spec.n_agents, self.hidden_dim))

    def inputs(self, obs: jax.Array, last: jax.Array) -> Float[Array, "... agents inputs"]:
        """Inputs of the network, `width` for each agent."""
        return jnp.concatenate([obs, jax.nn.one_hot(last, self.spec.n_actions)], -1) if self.last_action else obs

    def step(
        self,
        params: Params,
        hidden: Float[Array, "... agents hidden"],
        obs: Float[Array, "... rows obs"],
        last: Int[Array, "... agents"],
    ) -> tuple[Float[Array, "... agents hidden"], Float[Array, "... agents actions"]]:
        """The next memory, and values of the actions. `last` are the actions before, -1 for none.

        What all agents of a team read alike may be one row in place of N: it is then multiplied once for all of them.
        """
        if not self.shared:
            obs = jnp.broadcast_to(obs, (*hidden.shape[:-1], obs.shape[-1]))  # for kernels of their own
            own = jax.vmap(lambda params, hidden, x: self.network.apply(params, hidden, x), (0, 1, 1), 1)
            split = lambda x: x.reshape(-1, *x.shape[-2:])  # (teams, N, X)
            new_hidden, q = cast(Pair, own(params, split(hidden), split(self.inputs(obs, last))))
        else:
            new_hidden, q = cast(Pair, self.network.apply(params, to_rows(hidden), to_rows(self.inputs(obs, last))))
        return new_hidden.reshape(hidden.shape), q.reshape(*hidden.shape[:-1], self.spec.n_actions)

    def stepper(self, params: Params) -> tuple[Memory, Step]:
        """`step` for one team, in few kernels: for rollouts on a GPU."""
        if (self.kind, self.depth, self.shared) == ("gru", 1, True):
            return agent_step.stepper(self.spec, self.agent_id, self.last_action, params)
        return agent_step.plain_stepper(self.step, self.initial_hidden, self.spec, params)

    def unroll(
        self, networks: tuple[Params, ...], observe: Observe, env_state: EnvState, action_t: Actions
    ) -> tuple[Float[Array, "slots ... agents actions"], ...]:
        """Values in all slots of `env_state` (T+1, ...), for each of the networks."""
        return all_slots(self)(self, networks, observe, env_state, action_t, lambda hidden, q: q)

    def unroll_hidden(
        self, networks: tuple[Params, ...], observe: Observe, env_state: EnvState, action_t: Actions
    ) -> tuple[tuple[Float[Array, "slots ... agents hidden"], Float[Array, "slots ... agents actions"]], ...]:
        """As `unroll`, with the memories: for a method that reads them."""
        return all_slots(self)(self, networks, observe, env_state, action_t, lambda hidden, q: (hidden, q))


def scanned(
    agent: Agent, networks: tuple[Params, ...], observe: Observe, env_state: EnvState, action_t: jax.Array, emit: Emit
) -> tuple[Any, ...]:
    """Results of `emit` in all slots, for each network, by a scan."""
    last = last_actions(action_t)

    # Observations are made where they are used, once for all networks: all slots' worth of them would not fit
    # into any cache. Projecting all slots' inputs before the scan was slower for the same reason.
    def scan_step(hiddens: tuple[jax.Array, ...], x: tuple[EnvState, jax.Array]):
        obs = observe(x[0])
        outs = [agent.step(params, hidden, obs, x[1]) for params, hidden in zip(networks, hiddens, strict=True)]
        return tuple(hidden for hidden, _ in outs), tuple(emit(*out) for out in outs)

    first = tuple(agent.initial_hidden(*action_t.shape[1:-1]) for _ in networks)
    return jax.lax.scan(scan_step, first, (env_state, last))[1]


def by_kernels(
    agent: Agent, networks: tuple[Params, ...], observe: Observe, env_state: EnvState, action_t: jax.Array, emit: Emit
) -> tuple[Any, ...]:
    """`scanned` by kernels for all slots."""
    slots = (len(action_t) + 1, *action_t.shape[1:])  # (T+1, ..., N)
    inputs = lambda: agent.inputs(jax.vmap(observe)(env_state), last_actions(action_t))
    rows = lambda: inputs().reshape(slots[0], -1, agent.width)
    outs = unroll_by_kernels(networks, rows, to_rows(agent.initial_hidden(*slots[1:-1])))
    shaped = lambda x: x.reshape(*slots, x.shape[-1])
    return tuple(emit(shaped(hidden), shaped(q)) for hidden, q in outs)


def all_slots(agent: Agent) -> Callable[..., tuple[Any, ...]]:
    """`scanned` or `by_kernels`, as the agent is unrolled."""
    return by_kernels if agent.shared and agent.unroll_by == "pallas" else scanned


def last_actions(action_t: Actions) -> Int[Array, "slots ... agents"]:
    """The action before each slot, -1 for none."""
    return jnp.concatenate([jnp.full_like(action_t[:1], -1), action_t])


def to_rows(x: jax.Array) -> jax.Array:
    """(..., X) as (rows, X)."""
    return x.reshape(-1, x.shape[-1])
