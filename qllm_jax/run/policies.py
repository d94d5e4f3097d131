"""The trained policy of one run, as a function of what its agents see."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qllm_envs import Spec
from qllm_jax.core.rollout import Policy as Draw
from qllm_jax.core.types import Params
from qllm_jax.errors import UserError
from qllm_jax.run.load import LoadedRun


class Hidden(NamedTuple):
    """The memory of a team between steps; `...` stands for any leading axes, such as parallel environments."""

    state: Float[Array, "... agents hidden"]  # of the recurrent network
    last_action: Int[Array, "... agents"]  # -1 before the first step


class Policy(NamedTuple):
    """The policy of one trained run. A pure function that can be jitted, vmapped and scanned.

    hidden = policy.initial_hidden()
    action, hidden = policy(obs, hidden, avail)

    Each team has N agents, A actions and O numbers of an observation; `spec` has the sizes.
    """

    spec: Spec
    params: Params  # of the agents' network, without an axis of runs
    step: Callable[..., tuple[jax.Array, jax.Array]]  # (params, hidden, obs, last_action) -> hidden, q: `Agent.step`
    first: Callable[..., jax.Array]  # (*leading) -> the network's first state: `Agent.initial_hidden`
    draw: Draw  # of the run's evaluations
    epsilon: float  # the share of random actions in them

    def __repr__(self) -> str:
        sizes = f"{self.spec.n_agents} agents, {self.spec.n_actions} actions, observations of {self.spec.obs_dim}"
        return f"Policy({self.spec.task}: {sizes})"

    def initial_hidden(self, *leading: int) -> Hidden:
        """The memory at the start of an episode, for teams of the shape `leading`."""
        last_action = jnp.full((*leading, self.spec.n_agents), -1, jnp.int32)
        return Hidden(self.first(*leading), last_action)

    def __call__(
        self,
        obs: Float[Array, "... agents obs"],
        hidden: Hidden,
        avail: Bool[Array, "... agents actions"],
        key: jax.Array | None = None,
    ) -> tuple[Int[Array, "... agents"], Hidden]:
        """Each agent's best available action, and the memory after the step.

        With a key, which is consumed, actions are those of the run's evaluations: drawn by its method, and at random
        with the probability `epsilon`. UserError for teams of another size.
        """
        spec = self.spec
        for name, given, sizes in (
            ("obs", obs, (spec.n_agents, spec.obs_dim)),
            ("avail", avail, (spec.n_agents, spec.n_actions)),
        ):
            if given.shape[-2:] != sizes:
                raise UserError(
                    f"{name} has the shape {given.shape}: the policy of {spec.task} takes (..., {sizes[0]}, {sizes[1]})"
                )
        state, q = self.step(self.params, hidden.state, obs, hidden.last_action)
        if key is None:
            action = jnp.argmax(jnp.where(avail, q, -jnp.inf), -1).astype(jnp.int32)
        else:
            teams = lambda x: jnp.broadcast_to(x, q.shape).reshape(-1, *q.shape[-2:])
            draw = jax.vmap(self.draw, (0, 0, 0, None))
            noise = jax.random.gumbel(key, q.shape)
            action = draw(teams(noise), teams(q), teams(avail), jnp.asarray(self.epsilon)).reshape(q.shape[:-1])
        return action, Hidden(state, action)


def policy_of(run: LoadedRun, index: int) -> Policy:
    """The policy of the run at `index` on the run axis."""
    exp = run.exp
    params: Any = jax.tree.map(lambda x: x[index], run.params["agent"])
    draw, epsilon = exp.learner.act_in_evaluation, exp.config.algo.eval_epsilon
    n_task_inputs = exp.learner.n_task_inputs
    spec = exp.env.spec._replace(obs_dim=exp.env.spec.obs_dim - n_task_inputs)
    step = partial(step_without_task, exp.agent.step, n_task_inputs) if n_task_inputs else exp.agent.step
    return Policy(spec, params, step, exp.agent.initial_hidden, draw, epsilon)


def step_without_task(
    step: Callable[..., tuple[jax.Array, jax.Array]], n_task_inputs: int, params: Params, hidden: jax.Array,
    obs: jax.Array,
    last_action: jax.Array,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """The step of agents that are told no task: see learners/tasks.py."""
    told = jnp.zeros((*obs.shape[:-1], n_task_inputs), obs.dtype)
    return step(params, hidden, jnp.concatenate([obs, told], -1), last_action)
