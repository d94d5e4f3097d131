"""QLLM (arxiv.org/abs/2504.12961), Eq. 3: Q_tot = sum_i w_i(s) q_i + b(s); w and b are LLM-written code."""

import jax
import jax.numpy as jnp

from qllm_envs import Spec
from qllm_jax.errors import UserError
from qllm_jax.mixers.base import Mixer, MixerInputs
from qllm_jax.tfcaf import CreditFunction, load


def make(spec: Spec, *, function: str = "", scale: str | float = "n_agents") -> Mixer:
    """Mix by the credit function `function` (a library name or a file; empty: the one named as the environment).

    `scale` multiplies weights and bias: "n_agents" is the paper's release (undocumented there), 1 is its Eq. 3.
    """
    return from_credit(load(function or spec.name, spec), resolve_scale(scale, spec.n_agents))


def from_credit(credit: CreditFunction, scale: float) -> Mixer:
    """The mixer of a loaded credit function. It has no parameters, so online and target network share it."""

    def apply(params: dict, inputs: MixerInputs) -> jax.Array:
        del params
        weights, bias = credit.credit(inputs.fields, inputs.state)
        if credit.igm:  # Definition 1 of paper v1: the gate keeps dQ_tot/dq_i >= 0
            weights = jnp.maximum(weights, 0.0)
        return scale * (weights @ inputs.chosen_q + bias)

    return Mixer(init=lambda key, inputs: {}, apply=apply, source=credit.source)


def resolve_scale(scale: str | float, n_agents: int) -> float:
    """The number behind the `scale` option. UserError unless it is "n_agents" or a positive number."""
    if scale == "n_agents":
        return float(n_agents)
    if isinstance(scale, str | bool) or not 0 < scale < float("inf"):
        raise UserError(f"mixer 'tfcaf': scale must be 'n_agents' or a positive number, got {scale!r}")
    return float(scale)
