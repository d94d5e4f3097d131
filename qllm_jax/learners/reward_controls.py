"""Controls of reward credit: the same learner with the credit of a function replaced or spoiled, for experiments.

`NAME:CONTROL` in place of the name of a function. `team` gives each agent the team's reward (independent Q-learning),
`equal` an equal share of it; `shuffled` gives the credit of each agent to another one; `random` gives random credit of
the same size at the same steps.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_envs.parts import suggest
from qllm_jax.core.types import Params
from qllm_jax.errors import UserError
from qllm_jax.mixers.controls import draw_cycle, draw_salt, hash_of, no_params
from qllm_jax.tfcaf.contract import Fields

Factors = Float[Array, "agents factors"]
Reward = Float[Array, ""]


class RewardControl(NamedTuple):
    """`init(key, n_agents)` draws what is fixed in a run; `apply(params, factors, reward, fields)` spoils one step."""

    init: Callable[[jax.Array, int], Params]
    apply: Callable[[Params, Factors, Reward, Fields], Factors]
    ignores_factors: bool = False  # its outcome is credit, (N, 1), whatever the function gives


def find(name: str) -> RewardControl:
    """Return the control `name`. UserError if there is none."""
    if name not in CONTROLS:
        raise UserError(f"control {name!r} of reward credit does not exist: {suggest(name, CONTROLS)}")
    return CONTROLS[name]


def team(params: Params, factors: Factors, reward: Reward, fields: Fields) -> Factors:
    """Each agent has the team's reward."""
    del params, fields
    return jnp.full((len(factors), 1), reward)


def equal(params: Params, factors: Factors, reward: Reward, fields: Fields) -> Factors:
    """Each agent has an equal share of the team's reward.

    Standardized, that is the team's reward: with algo.standardize_rewards it differs from `team` by rounding alone.
    """
    return team(params, factors, reward, fields) / len(factors)


def shuffled(params: Params, factors: Factors, reward: Reward, fields: Fields) -> Factors:
    """Each agent has the credit of another agent, the same one throughout a run."""
    del reward, fields
    return factors[jnp.round(params["source"]).astype(jnp.int32)]


def random(params: Params, factors: Factors, reward: Reward, fields: Fields) -> Factors:
    """Normal noise times the root mean square of the credit of all agents at the step.

    One draw for each state, whatever the actions: the same whenever a run meets the state.
    """
    del reward
    salt = jnp.round(params["salt"]).astype(jnp.uint32)
    state = jnp.concatenate([jnp.ravel(jnp.asarray(fields[name], jnp.float32)) for name in sorted(fields)])
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(1), salt), hash_of(state))
    size = jnp.sqrt(jnp.mean(jnp.square(factors), 0, keepdims=True))
    return size * jax.random.normal(key, factors.shape)


CONTROLS = {
    "team": RewardControl(no_params, team, ignores_factors=True),
    "equal": RewardControl(no_params, equal, ignores_factors=True),
    "shuffled": RewardControl(draw_cycle, shuffled),
    "random": RewardControl(draw_salt, random),
}
