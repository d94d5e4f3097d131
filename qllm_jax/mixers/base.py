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

    The `init` of a mixer that chooses among K credit functions takes a third argument, `choice`, a one-hot (K,).
    """

    init: Callable[..., Params]
    apply: Callable[[Params, MixerInputs], Float[Array, ""]]
    sources: tuple[str, ...] = ()  # texts of its credit functions, which are stored with the run
    # Weights (N,) and bias () of each of its credit functions in a state, times `scale`.
    credits: tuple[Callable[[MixerInputs], tuple[Array, Array]], ...] = ()
    programs: tuple[str, ...] = ()  # digests of the traced programs of its credit functions, which it evaluates
    needs_action_values: bool = False  # reads max_q: agents must have a value for each action
    # `apply` with no gradient stopped, where it stops one: its slopes are those of the function itself.
    unstopped: Callable[[Params, MixerInputs], Float[Array, ""]] | None = None


def slopes(mixer: Mixer, params: Params, inputs: MixerInputs) -> Float[Array, " agents"]:
    """Credit weights of all agents, dQ_tot/dq_i at the chosen values with all other inputs held, for one sample.

    Slopes of the function. The gradient of an update differs where `apply` stops a part of it, as QPLEX's does.
    """
    apply = mixer.unstopped or mixer.apply
    team_value = lambda chosen_q: apply(params, inputs._replace(chosen_q=chosen_q))
    return jax.grad(team_value)(inputs.chosen_q)
