"""The mixer contract: agents' values in, one team value out, for ONE sample."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Int

from qllm_jax.core.types import Params


class MixerInputs(NamedTuple):
    """All that any mixer of the paper needs of one sample."""

    chosen_q: Float[Array, " agents"]  # value of the action in question
    max_q: Float[Array, " agents"]  # largest available value, no gradient (QPLEX's advantage)
    action: Int[Array, " agents"]
    state: Float[Array, " state"]  # flat global state
    fields: dict[str, Array]  # the same state by name


class Mixer(NamedTuple):
    """`init(key, inputs)` gives parameters (the key is consumed), `apply(params, inputs)` the scalar Q_tot.

    `sources` are the texts of its credit functions, which are stored with the run. `reads_max`: it compares the chosen
    values with the largest ones, so that it needs agents with a value for every action.
    """

    init: Callable[[jax.Array, MixerInputs], Params]
    apply: Callable[[Params, MixerInputs], Float[Array, ""]]
    sources: tuple[str, ...] = ()
    reads_max: bool = False


def slopes(mixer: Mixer, params: Params, inputs: MixerInputs) -> Float[Array, " agents"]:
    """Every agent's credit weight, dQ_tot/dq_i at the chosen values, for one sample."""
    team_value = lambda chosen_q: mixer.apply(params, inputs._replace(chosen_q=chosen_q))
    return jax.grad(team_value)(inputs.chosen_q)
